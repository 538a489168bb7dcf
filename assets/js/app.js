// On every page.
import "htmx.org/dist/htmx.esm.js";
import "./behaviours/theme-switch.js";
import "./behaviours/sidebar.js";
import "./behaviours/menus.js";
import "./behaviours/dialogs.js";
import "./behaviours/forms.js";
import "./behaviours/toasts.js";
import "./behaviours/shortcuts.js";
import "./behaviours/live.js";
import "./behaviours/times.js";
import "./behaviours/hover-clip.js";
