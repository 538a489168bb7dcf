"""A SANDBOX in place of WaveSpeed's API v3: one envelope around everything, odd ways included, and bills nobody.

What to write into the name of a file that is sent for trouble: `[sandbox:refuse]` (the task fails with code 1200),
`[sandbox:fail]` (1403), `[sandbox:lost]` (1402, its file cannot be fetched), `[sandbox:nothing]` (completed, and gave
nothing back), `[sandbox:odd]` (a status that nobody knows comes first), `[sandbox:elsewhere]` (its result lies at a
private address), `[sandbox:moved]` (a file that redirects to a private address), `[sandbox:gone]` (a file that is not
there), `[sandbox:picture]` (a PNG for a video), `[sandbox:html]` (a web page for a video), `[sandbox:busy]` (429),
`[sandbox:never]` (it is never over). A key that begins with `wrong` is not accepted, one that begins with `poor` has
no balance. Results and uploads are gone after seven days. Lists do not show what was asked.
"""

import json
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from flask import Flask, Response, jsonify, redirect, request, send_file
from flask.typing import ResponseReturnValue

from novai_web.sandbox import bells, pictures
from novai_web.sandbox.book import Book, Run
from novai_web.sandbox.shelf import Kept
from novai_web.sandbox.wavespeed_tasks import KEPT_SECONDS, MODEL, VENDOR, Tasks, Wrong, moment
from novai_web.vendors.wavespeed import SANDBOX_SECRET, sign

UPLOAD_BYTES_MAX = 200 * 1024 * 1024
DOLLARS_FOR_FIVE_SECONDS = 0.05
BALANCE_DOLLARS = 12.34
PAGE_SIZE_MAX = 100
NAME_CHARACTERS_MAX = 80


def create_app(book: Book) -> Flask:
    """The API itself."""
    app, tasks = _app(), Tasks(book)

    @app.before_request
    def check_key() -> None:
        if request.path.startswith("/sandbox/"):
            return
        kind, _, key = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not key or key.startswith("wrong"):
            raise Wrong(401, "Invalid API key")
        if key.startswith("poor") and request.method == "POST" and "/predictions" not in request.path:
            raise Wrong(402, "Insufficient balance, please top up your account")

    _with_predictions(app, tasks)
    _with_the_end_of_predictions(app, tasks)
    _with_uploads(app, tasks)
    _with_the_rest(app, tasks)
    return app


def create_media(book: Book) -> Flask:
    """Where files are sent to and fetched from: another host, which knows no keys."""
    app, tasks = _app(), Tasks(book)

    @app.put("/upload/<file_id>")
    def receive(file_id: str) -> ResponseReturnValue:
        kept = tasks.shelf.find(file_id)
        if kept is None or "Authorization" in request.headers or request.headers.get("Content-Type") != kept.mime:
            return Response("<Error><Code>SignatureDoesNotMatch</Code></Error>", 403, mimetype="application/xml")
        size = request.content_length
        if size is None or size != kept.size or not tasks.shelf.receive(kept, request.stream, size):
            return Response("<Error><Code>IncompleteBody</Code></Error>", 400, mimetype="application/xml")
        return "", 200

    @app.get("/files/<file_id>/<name>")
    def uploaded(file_id: str, name: str) -> ResponseReturnValue:
        kept = tasks.shelf.find(file_id)
        if kept is None or not kept.is_whole or time.time() - kept.path.stat().st_mtime > KEPT_SECONDS:
            return "", 404
        return send_file(kept.path, mimetype=kept.mime)

    @app.get("/predictions/<run_id>/<name>")
    def result(run_id: str, name: str) -> ResponseReturnValue:
        run, path = book.find(run_id), tasks.workshop.made(run_id)
        if run is None or path is None or run.age > KEPT_SECONDS or tasks.state(run) != "completed":
            return "", 403
        wanted = run.wanted["wish"]
        if wanted == "gone":
            return "", 404
        if wanted == "moved":
            return redirect("http://169.254.169.254/latest/meta-data/1.mp4")
        if wanted == "picture":
            return Response(pictures.picture(64, 64, run.seed, ""), mimetype="image/png")
        if wanted == "html":
            return Response("<!doctype html><title>Not here</title>", mimetype="text/html")
        return send_file(path, mimetype="video/mp4")

    return app


def _app() -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config.update(PROPAGATE_EXCEPTIONS=True)

    @app.errorhandler(Wrong)
    def wrong(problem: Wrong) -> ResponseReturnValue:
        return jsonify({"code": problem.status, "message": problem.message}), problem.status

    return app


def _with_predictions(app: Flask, tasks: Tasks) -> None:
    @app.post("/api/v3/<path:model>")
    def start(model: str) -> ResponseReturnValue:
        run = tasks.start(model, _body(), request.headers.get("X-Novai-Run", ""))
        address = _address()
        if webhook := request.args.get("webhook"):
            bells.ring_when_over(run, webhook, lambda: _bell(tasks, run.id, address))
        return _said(tasks.shown(run, address))

    @app.get("/api/v3/predictions/<run_id>/result")
    @app.get("/api/v3/predictions/<run_id>")
    def show(run_id: str) -> ResponseReturnValue:
        run = tasks.find(run_id)
        tasks.see_to(run)
        return _said(tasks.shown(run, _address()))

    @app.post("/api/v3/predictions")
    def listed() -> ResponseReturnValue:
        wanted = _body()
        page, size = wanted.get("page", 1), wanted.get("page_size", PAGE_SIZE_MAX)
        if not (isinstance(page, int) and isinstance(size, int) and page >= 1 and 1 <= size <= PAGE_SIZE_MAX):
            raise Wrong(400, "page must be at least 1, page_size between 1 and 100")
        shown = [tasks.shown(run, _address()) for run in tasks.all() if _is_wanted(run, wanted)]
        shown = [each for each in shown if wanted.get("status") in (None, each["status"])]
        return _said({"page": page, "total": len(shown), "items": shown[(page - 1) * size : page * size]})


def _with_the_end_of_predictions(app: Flask, tasks: Tasks) -> None:
    """A task is not stopped by being deleted: nothing here promises that."""

    @app.post("/api/v3/predictions/delete")
    def delete() -> ResponseReturnValue:
        ids = _body().get("ids")
        if not isinstance(ids, list):
            raise Wrong(400, "ids is required")
        return _said({"deleted_count": sum(tasks.delete(str(each)) for each in ids)})

    @app.delete("/api/v3/predictions/<run_id>")
    def delete_one(run_id: str) -> ResponseReturnValue:
        if not tasks.delete(run_id):
            raise Wrong(404, "prediction not found")
        return _said({"id": run_id, "status": "deleted"})


def _with_uploads(app: Flask, tasks: Tasks) -> None:
    @app.post("/api/v3/media/uploads")
    def promise() -> ResponseReturnValue:
        given = _body()
        name, size, mime = given.get("filename"), given.get("size"), given.get("content_type")
        if not (isinstance(name, str) and isinstance(mime, str) and isinstance(size, int) and size > 0):
            raise Wrong(400, "filename, size and content_type are required")
        if size > UPLOAD_BYTES_MAX:
            raise Wrong(413, "file too large")
        kept = tasks.shelf.promise(name, mime, size)
        target = f"{_address()}-media/upload/{kept.id}?signature={uuid4().hex}"
        upload = {"method": "PUT", "url": target, "headers": {"Content-Type": mime}}
        return _said({**_described(kept, size), "upload": upload})

    @app.post("/api/v3/media/upload/binary")
    def whole() -> ResponseReturnValue:
        """The older way, which some still use."""
        file = request.files.get("file")
        if file is None:
            raise Wrong(400, "file is required")
        kept = tasks.shelf.promise(file.filename or "file", file.mimetype)
        file.save(kept.path)
        return _said(_described(kept, kept.path.stat().st_size))


def _with_the_rest(app: Flask, tasks: Tasks) -> None:
    @app.get("/api/v3/balance")
    def balance() -> ResponseReturnValue:
        is_poor = request.headers["Authorization"].startswith("Bearer poor")
        return _said({"balance": 0.0 if is_poor else BALANCE_DOLLARS})

    @app.get("/api/v3/models")
    def models() -> ResponseReturnValue:
        texts = {name: {"type": "string"} for name in ("video", "face_image", "target_gender")}
        schema = {"properties": {**texts, "target_index": {"type": "integer", "minimum": 0, "maximum": 10}}}
        return _said([{"model_id": MODEL, "api_schema": schema}])

    @app.post("/api/v3/model/price")
    def price() -> ResponseReturnValue:
        if _body().get("model_id") != MODEL:
            raise Wrong(404, "model not found")
        dollars = DOLLARS_FOR_FIVE_SECONDS
        return _said({"price": dollars, "discounted_price": dollars, "discount_rate": 1, "currency": "USD"})

    @app.get("/api/v3/webhook/secret")
    def secret() -> ResponseReturnValue:
        return _said({"secret": SANDBOX_SECRET})

    @app.get("/sandbox/bill")
    def bill() -> ResponseReturnValue:
        """Whatever was begun is billed, unless it failed: a deleted one goes on until its end."""
        return jsonify([run.billed(is_billed=tasks.failure(run) is None) for run in tasks.book.all(VENDOR)])


def _is_wanted(run: Run, wanted: Mapping[str, Any]) -> bool:
    since, until = (str(wanted.get(name) or "") for name in ("created_after", "created_before"))
    at = moment(run.started_at)
    return at >= since and (not until or at < until) and wanted.get("model") in (None, run.model)


def _described(kept: Kept, size: int) -> dict[str, Any]:
    plain = "".join(each if each.isascii() and (each.isalnum() or each in "._-") else "_" for each in kept.name)
    return {
        "type": kept.mime.partition("/")[0],
        "download_url": f"{_address()}-media/files/{kept.id}/{plain[-NAME_CHARACTERS_MAX:] or 'file'}",
        "filename": kept.name,
        "size": size,
    }


def _bell(tasks: Tasks, run_id: str, address: str) -> tuple[bytes, Mapping[str, str]] | None:
    """A webhook: the prediction, and a signature with the secret as it is written; None: it is not over yet."""
    run = tasks.book.find(run_id)
    if run is None or tasks.state(run) not in ("completed", "failed"):
        return None
    body, webhook_id, sent_at = json.dumps(tasks.shown(run, address)).encode(), f"msg_{uuid4().hex}", int(time.time())
    return body, {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": f"v3,{sign(SANDBOX_SECRET, webhook_id, str(sent_at), body)}",
    }


def _body() -> dict[str, Any]:
    given = request.get_json(force=True, silent=True)
    if not isinstance(given, dict):
        raise Wrong(400, "invalid JSON body")
    return given


def _said(data: Any) -> ResponseReturnValue:
    return jsonify({"code": 200, "message": "success", "data": data})


def _address() -> str:
    """Where this API is mounted; its media are mounted beside it, under the same name and `-media`."""
    return f"{request.host_url.rstrip('/')}{request.script_root}"
