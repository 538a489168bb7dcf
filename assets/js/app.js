// On every page.
import "htmx.org/dist/htmx.esm.js";
import "./behaviours/theme-switch.js";
import "./behaviours/sidebar.js";
import "./behaviours/menus.js";
import "./behaviours/dialogs.js";
import "./behaviours/forms.js";
import "./behaviours/toasts.js";
import "./behaviours/shortcuts.js";
import "./behaviours/search.js";
import "./behaviours/focus.js";
import "./behaviours/announce.js";
import "./behaviours/live.js";
import "./behaviours/offline.js";
import "./behaviours/times.js";
import "./behaviours/endless.js";
import "./behaviours/hover-clip.js";
