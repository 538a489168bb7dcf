// On a tool's page: picking from the library, the live quote, the live frame.
import "./behaviours/listen.js";
import "./behaviours/picks.js";
import "./behaviours/picker.js";
import "./behaviours/quote.js";
import "./behaviours/frame.js";
import "./behaviours/cells.js";
import "./behaviours/folds.js";
import "./behaviours/wrong.js";
import "./behaviours/presets.js";
import "./behaviours/consent.js";
