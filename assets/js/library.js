// On the pages that list assets: selecting, uploading, listening.
import "./behaviours/selection.js";
import "./behaviours/upload.js";
import "./behaviours/listen.js";
import "./behaviours/neighbours.js";
