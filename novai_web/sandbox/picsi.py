"""A SANDBOX in place of Picsi, whose contract is not public: it speaks what one client that was seen in public claims.

So it shows that our adapter works, not that Picsi would. What to write into the name of a file that is sent for
trouble: `[sandbox:refuse]`, `[sandbox:fail]`, `[sandbox:nothing]` (done, and gave nothing back), `[sandbox:odd]` (a
status that nobody knows comes first), `[sandbox:elsewhere]` (its result lies at a private address), `[sandbox:html]`
(its result is a web page), `[sandbox:busy]` (429), `[sandbox:never]`. A key that begins with `wrong` is not accepted,
one that begins with `poor` has no credits.
"""

from typing import Any
from urllib.parse import unquote

from flask import Flask, Response, jsonify, request, send_file
from flask.typing import ResponseReturnValue

from novai_web.sandbox.book import Book, Run
from novai_web.sandbox.shelf import Shelf
from novai_web.sandbox.wishes import wish
from novai_web.sandbox.workshop import BROKEN, Workshop

VENDOR = "picsi"
CREDITS = 100
NEVER_SECONDS = 365 * 24 * 3600.0
FAILURES = {
    "refuse": ("refused", "This face may not be used."),
    "fail": ("failed", "The swap failed."),
    BROKEN: ("failed", "The video could not be read."),
}


class Wrong(Exception):
    """Answered with this status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def create_app(book: Book) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config.update(PROPAGATE_EXCEPTIONS=True)
    shelf, workshop = Shelf(book.folder / f"{VENDOR}-files"), Workshop(book, VENDOR)

    @app.errorhandler(Wrong)
    def wrong(problem: Wrong) -> ResponseReturnValue:
        return jsonify({"error_message": problem.message}), problem.status

    @app.before_request
    def check_key() -> None:
        if request.path.startswith(("/sandbox/", "/files/", "/results/")):
            return
        kind, _, key = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not key or key.startswith("wrong"):
            raise Wrong(401, "invalid token")
        if key.startswith("poor") and request.method == "POST":
            raise Wrong(402, "no credits left")

    _with_files(app, shelf)
    _with_jobs(app, book, shelf, workshop)

    @app.get("/account")
    def account() -> ResponseReturnValue:
        return jsonify({"credits": CREDITS, "plan": "sandbox"})

    @app.get("/sandbox/bill")
    def bill() -> ResponseReturnValue:
        return jsonify([run.billed(is_billed=_failure(run) is None) for run in book.all(VENDOR)])

    return app


def _with_files(app: Flask, shelf: Shelf) -> None:
    @app.post("/uploads")
    def receive() -> ResponseReturnValue:
        name, size = unquote(request.headers.get("X-File-Name", "file")), request.content_length
        kept = shelf.promise(name, request.headers.get("Content-Type", "application/octet-stream"), size)
        if size is None or not shelf.receive(kept, request.stream, size):
            raise Wrong(400, "the file did not arrive whole")
        return jsonify({"url": f"{_address()}/files/{kept.id}/file"}), 201

    @app.get("/files/<file_id>/<name>")
    def uploaded(file_id: str, name: str) -> ResponseReturnValue:
        kept = shelf.find(file_id)
        return send_file(kept.path, mimetype=kept.mime) if kept and kept.is_whole else ("", 404)


def _with_jobs(app: Flask, book: Book, shelf: Shelf, workshop: Workshop) -> None:
    def see_to(run: Run) -> None:
        video, face = (shelf.named(run.wanted[name]) for name in ("source_video_url", "face_image_url"))
        if video and face and run.wanted["wish"] not in FAILURES:
            workshop.swap(run, video, face, int(run.wanted["target_face_index"]))

    @app.post("/video/face-swap")
    def start() -> ResponseReturnValue:
        given = request.get_json(force=True, silent=True)
        given = given if isinstance(given, dict) else {}
        kept = [shelf.named(given.get(name)) for name in ("source_video_url", "face_image_url")]
        which = given.get("target_face_index", 0)
        if None in kept or not isinstance(which, int) or not 0 <= which <= 10:
            raise Wrong(422, "source_video_url, face_image_url and target_face_index are needed")
        wanted = wish(*(each.name for each in kept if each))
        if wanted == "busy":
            raise Wrong(429, "too many jobs")
        asked = {**given, "target_face_index": which, "wish": wanted}
        seconds = NEVER_SECONDS if wanted == "never" else None
        marker = request.headers.get("X-Novai-Run", "")
        run = book.start(VENDOR, str(given.get("model", "")), asked, seconds, marker)
        see_to(run)
        return jsonify({"job_id": run.id, "status": "queued", "created_at": run.started_at})

    @app.get("/jobs/<run_id>")
    def show(run_id: str) -> ResponseReturnValue:
        run = book.find(run_id)
        if run is None or run.vendor != VENDOR:
            raise Wrong(404, "no such job")
        see_to(run)
        return jsonify(_shown(run, workshop))

    @app.get("/results/<run_id>.mp4")
    def result(run_id: str) -> ResponseReturnValue:
        run, path = book.find(run_id), workshop.made(run_id)
        if run is None or path is None:
            return "", 404
        if run.wanted["wish"] == "html":
            return Response("<!doctype html><title>Not here</title>", mimetype="text/html")
        return send_file(path, mimetype="video/mp4")


def _failure(run: Run) -> tuple[str, str] | None:
    return FAILURES[BROKEN] if run.notes.get(BROKEN) else FAILURES.get(run.wanted["wish"])


def _shown(run: Run, workshop: Workshop) -> dict[str, Any]:
    said = {"job_id": run.id, "progress": round(100 * run.progress), "result_url": None, "error_message": None}
    if not run.is_over:
        status = "queued" if run.is_queued else "processing"
        return {**said, "status": "reticulating" if run.wanted["wish"] == "odd" else status}
    if failure := _failure(run):
        return {**said, "status": failure[0], "error_message": failure[1]}
    if not workshop.made(run.id):
        return {**said, "status": "processing"}
    place = "http://169.254.169.254/1.mp4" if run.wanted["wish"] == "elsewhere" else _result(run)
    return {**said, "status": "completed", "result_url": None if run.wanted["wish"] == "nothing" else place}


def _result(run: Run) -> str:
    return f"{_address()}/results/{run.id}.mp4"


def _address() -> str:
    """Where this is mounted."""
    return f"{request.host_url.rstrip('/')}{request.script_root}"
