// Many files at once, each resumable over a cut connection (tus 1.0), with one row a file.
import { Upload, isSupported } from "tus-js-client";

const AT_ONCE = 3;
const PART_BYTES = 64 * 1024 * 1024; // proxies commonly refuse bodies of 100 MB and more
const HASHED_BYTES_MAX = 256 * 1024 * 1024; // hashing here needs the whole file in memory

const panel = document.getElementById("uploads");
const waiting = [];
let running = 0;

const settings = () => document.querySelector("[data-uploader]")?.dataset;
const csrf = () => document.querySelector('meta[name="csrf-token"]').content;

function bytes(count) {
  const units = ["B", "KB", "MB", "GB"];
  let unit = 0;
  while (count >= 1000 && unit < 3) [count, unit] = [count / 1024, unit + 1];
  return `${count < 10 && unit ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

function makeRow(file) {
  const row = document.getElementById("upload-row").content.firstElementChild.cloneNode(true);
  const find = (name) => row.querySelector(`[data-${name}]`);
  find("name").textContent = file.name;
  find("state").textContent = `${bytes(file.size)} · waiting`;
  panel.querySelector("[data-uploads-list]").append(row);
  panel.hidden = false;
  return { row, find, bar: row.querySelector("progress") };
}

function title() {
  const rows = [...panel.querySelectorAll(".upload")];
  const [done, failed] = ["done", "failed"].map((tone) => rows.filter((row) => row.dataset.tone === tone).length);
  const over = done + failed === rows.length;
  const words = over ? `${done} uploaded${failed ? `, ${failed} not` : ""}` : `Uploading ${done} of ${rows.length}`;
  panel.querySelector("[data-uploads-title]").textContent = words;
}

function mark(item, tone, words) {
  item.row.dataset.tone = tone;
  item.bar.dataset.tone = tone;
  item.find("state").textContent = words;
  item.find("speed").textContent = "";
  item.find("retry").hidden = tone !== "failed";
  title();
}

/** The server's own sentence, when it sent one. */
function reason(error) {
  const body = error.originalResponse?.getBody();
  try {
    return JSON.parse(body).detail;
  } catch {
    return error.originalResponse ? `The server answered ${error.originalResponse.getStatus()}. Try again.` : "The connection was cut. Try again: it goes on where it stopped.";
  }
}

async function fingerprint(file) {
  if (!crypto.subtle || file.size > HASHED_BYTES_MAX) return {};
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return { sha256: [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("") };
}

/** An empty tile that asks for itself until the file was looked at. */
function place(id) {
  const { tiles, view } = settings();
  const known = document.getElementById(`asset-${id}`);
  if (known) return known.classList.add("is-new");
  const items = document.querySelector("[data-items]") ?? document.querySelector("[data-new-items]");
  const tile = document.createElement(view === "list" && items.tagName === "TBODY" ? "tr" : "article");
  tile.id = `asset-${id}`;
  tile.className = "tile is-new";
  Object.assign(tile.dataset, { live: view === "list" && tile.tagName !== "TR" ? tiles.replace("list", "grid") : tiles, liveId: id });
  items.hidden = false;
  items.prepend(tile);
  document.querySelector("#results > .empty")?.remove();
  const count = document.getElementById("count");
  count.textContent = (Number(count.textContent.replaceAll(",", "")) + 1).toLocaleString("en");
  document.dispatchEvent(new Event("live:hurry"));
}

const FILED = { video: "Videos", audio: "Audios", image: "Images" };

/** The page of another kind that this file went to, if its type says so. */
function elsewhere(file) {
  const [kind] = file.type.split("/");
  return kind === settings().kind ? undefined : FILED[kind];
}

function finish(item, file, answer) {
  const page = elsewhere(file);
  if (answer.twin) mark(item, "done", "You had this already; nothing was stored twice.");
  else mark(item, "done", `${bytes(file.size)} · ${page ? `in ${page}` : "done"}`);
  item.bar.value = 100;
  if (answer.asset && !page) place(answer.asset);
}

function drop(item) {
  item.row.remove();
  if (!panel.querySelector(".upload")) panel.hidden = true;
  else title();
}

function upload(item, file) {
  const answer = {};
  let [at, sent] = [performance.now(), 0];
  return new Promise((resolve) => {
    const task = new Upload(file, {
      endpoint: settings().uploader,
      chunkSize: PART_BYTES,
      retryDelays: [0, 1000, 3000, 8000, 20_000],
      removeFingerprintOnSuccess: true,
      metadata: item.metadata,
      headers: { "X-CSRFToken": csrf() },
      onAfterResponse(request, response) {
        answer.asset = response.getHeader("Novai-Asset") ?? answer.asset;
        answer.twin = response.getHeader("Novai-Duplicate") ?? answer.twin;
      },
      onProgress(done, total) {
        const now = performance.now();
        item.bar.value = (100 * done) / total;
        item.find("state").textContent = `${bytes(done)} of ${bytes(total)}`;
        if (now - at < 700) return;
        item.find("speed").textContent = `${bytes(((done - sent) * 1000) / (now - at))}/s`;
        [at, sent] = [now, done];
      },
      onError(error) {
        mark(item, "failed", reason(error));
        resolve();
      },
      onSuccess() {
        finish(item, file, answer);
        item.find("abort").hidden = true;
        resolve();
      },
    });
    item.find("abort").onclick = () => task.abort(true).then(() => (drop(item), resolve()));
    task.findPreviousUploads().then((earlier) => {
      if (earlier.length) task.resumeFromPreviousUpload(earlier[0]);
      task.start();
    });
  });
}

async function work() {
  if (running >= AT_ONCE || !waiting.length) return;
  running += 1;
  const { item, file } = waiting.shift();
  const { kind, collection } = settings();
  item.row.dataset.tone = "running";
  item.metadata ??= { filename: file.name, kind, ...(collection && { collection_id: collection }), ...(await fingerprint(file).catch(() => ({}))) };
  await upload(item, file);
  running -= 1;
  work();
}

function add(file) {
  const item = makeRow(file);
  const most = Number(settings().bytesMax);
  const begin = () => {
    waiting.push({ item, file });
    work();
  };
  item.find("retry").onclick = () => {
    mark(item, "waiting", "waiting");
    begin();
  };
  item.find("abort").onclick = () => {
    const place = waiting.findIndex((one) => one.item === item);
    if (place >= 0) waiting.splice(place, 1);
    drop(item);
  };
  if (file.size > most) mark(item, "failed", `Larger than the ${bytes(most)} this installation accepts.`);
  else if (!file.size) mark(item, "failed", "This file is empty.");
  else begin();
  title();
}

export function addAll(files) {
  if (!isSupported) return document.dispatchEvent(new CustomEvent("toast:say", { detail: { text: "This browser cannot upload in parts. Use a newer one.", tone: "failed" } }));
  for (const file of files) add(file);
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-upload-button]")) document.getElementById("upload-files").click();
  if (event.target.closest("[data-uploads-close]")) panel.hidden = true;
  const fold = event.target.closest("[data-uploads-fold]");
  if (fold) fold.setAttribute("aria-expanded", String(!panel.classList.toggle("is-folded")));
});
document.addEventListener("change", (event) => {
  if (event.target.id !== "upload-files") return;
  addAll([...event.target.files]);
  event.target.value = "";
});

const zone = document.getElementById("dropzone");
const carriesFiles = (event) => zone && event.dataTransfer?.types.includes("Files");
let depth = 0;
addEventListener("dragenter", (event) => carriesFiles(event) && ((depth += 1), (zone.hidden = false)));
addEventListener("dragleave", (event) => carriesFiles(event) && (zone.hidden = (depth -= 1) <= 0));
addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  [depth, zone.hidden] = [0, true];
  addAll([...event.dataTransfer.files]);
});
addEventListener("beforeunload", (event) => running && event.preventDefault());
