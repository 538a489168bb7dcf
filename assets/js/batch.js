// On the page of a batch: selecting, keeping, throwing away.
import "./behaviours/selection.js";
import "./behaviours/approve.js";
