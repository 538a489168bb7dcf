"""A SANDBOX in place of fal: its queue, its list of requests, its uploads and its media; odd ways included, no bill.

What to write into a prompt, a trigger phrase or the name of a file that is sent, for trouble: `[sandbox:refuse]` (a
content checker objects), `[sandbox:face]` (no face is found), `[sandbox:broken]` and `[sandbox:slow]` (the model fails,
and nobody is billed), `[sandbox:fail]` (its machine does), `[sandbox:nothing]` (an output without files),
`[sandbox:pickle]` (weights that are a pickle), `[sandbox:html]` (a web page for a file), `[sandbox:moved]` (a file that
redirects to a private address), `[sandbox:elsewhere]` (an output that names a private address), `[sandbox:endless]` (a
file without an end), `[sandbox:gone]` (a file that is not there), `[sandbox:expired]` (a result that has expired),
`[sandbox:never]` (it is never over), `[sandbox:stubborn]` (it takes note of a cancel and finishes all the same). A key
that begins with `wrong` is not known, one that begins with `poor` has no money; `sandbox` is a key.
"""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, jsonify, redirect, request, send_file
from flask.typing import ResponseReturnValue

from novai_web.sandbox import bells, fal_models
from novai_web.sandbox.book import Book, Run
from novai_web.sandbox.fal_stall import INFRASTRUCTURE, KEPT_SECONDS, VENDOR, Stall, check_key, media_url

LISTED_LATE_SECONDS = 1.0
PAGE_MAX = 100


def create_apps(book: Book) -> dict[str, Flask]:
    """The four addresses of fal, by where they are mounted."""
    stall = Stall(book)
    return {
        "/fal-queue": _queue(stall),
        "/fal-api": _api(stall),
        "/fal-rest": _rest(stall),
        "/fal-media": _media(stall),
    }


def _app(*, takes_keys: bool = True) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config.update(PROPAGATE_EXCEPTIONS=True)
    app.url_map.merge_slashes = False
    if takes_keys:
        app.before_request(check_key)
    return app


def _queue(stall: Stall) -> Flask:
    app = _app()

    @app.post("/<path:endpoint>")
    def submit(endpoint: str) -> ResponseReturnValue:
        given = request.get_json(force=True, silent=True)
        if endpoint not in fal_models.MODELS:
            return jsonify(detail=f"Application '{endpoint}' not found"), 404
        if not isinstance(given, dict):
            return jsonify(detail="The body is not a JSON object.", error_type="bad_request"), 400
        webhook, media = request.args.get("fal_webhook", ""), media_url()
        run = stall.start(endpoint, given, webhook)
        if webhook:
            bells.ring_when_over(run, webhook, lambda: _bell(stall, run, media))
        return jsonify({"status": "IN_QUEUE", "queue_position": 0, **_urls(run)})

    @app.get("/<owner>/<alias>/requests/<run_id>/status")
    def status(owner: str, alias: str, run_id: str) -> ResponseReturnValue:
        run = _found(stall, owner, alias, run_id)
        return _status(stall, run) if run else (jsonify(detail="Request not found"), 404)

    @app.get("/<owner>/<alias>/requests/<run_id>")
    def result(owner: str, alias: str, run_id: str) -> ResponseReturnValue:
        run = _found(stall, owner, alias, run_id)
        return _result(stall, run) if run else (jsonify(detail="Request not found"), 404)

    @app.put("/<owner>/<alias>/requests/<run_id>/cancel")
    def cancel(owner: str, alias: str, run_id: str) -> ResponseReturnValue:
        run = _found(stall, owner, alias, run_id)
        if run is None:
            return jsonify(status="NOT_FOUND"), 404
        if stall.is_over(run):
            return jsonify(status="ALREADY_COMPLETED"), 400
        if run.wanted["wish"] != "stubborn":
            stall.book.cancel(run)
        return jsonify(status="CANCELLATION_REQUESTED"), 202

    @app.get("/sandbox/bill")
    def bill() -> ResponseReturnValue:
        return jsonify([run.billed(is_billed=stall.is_billed(run)) for run in stall.book.all(VENDOR)])

    return app


def _found(stall: Stall, owner: str, alias: str, run_id: str) -> Run | None:
    """Under the first two parts of its endpoint only, as fal has it."""
    run = stall.book.find(run_id)
    if run is None or run.vendor != VENDOR or not run.model.startswith(f"{owner}/{alias}"):
        return None
    stall.see_to(run)
    return run


def _urls(run: Run) -> dict[str, str]:
    owner, alias = run.model.split("/")[:2]
    url = f"{request.host_url.rstrip('/')}{request.script_root}/{owner}/{alias}/requests/{run.id}"
    return {"request_id": run.id, "response_url": url, "status_url": f"{url}/status", "cancel_url": f"{url}/cancel"}


def _status(stall: Stall, run: Run) -> ResponseReturnValue:
    if not stall.is_over(run):
        if run.is_queued:
            return jsonify({"status": "IN_QUEUE", "queue_position": 0, **_urls(run)}), 202
        logs = _logs(run) if request.args.get("logs") in ("1", "true") else None
        return jsonify({"status": "IN_PROGRESS", "logs": logs, **_urls(run)}), 202
    said: dict[str, Any] = {"status": "COMPLETED", "logs": None, "metrics": {"inference_time": run.seconds}}
    if run.is_cancelled:
        said |= {"error": "Request cancelled", "error_type": "client_cancelled"}
    elif found := INFRASTRUCTURE.get(run.wanted["wish"]):
        said |= {"error": found[0], "error_type": found[1]}
    return jsonify({**said, **_urls(run)})


def _logs(run: Run) -> list[dict[str, str]]:
    steps = int(run.wanted.get("steps", 1000)) if run.model == fal_models.TRAINER else 20
    message = f"step {int(run.progress * steps)}/{steps}"
    return [{"message": message, "level": "INFO", "source": "USER", "timestamp": datetime.now(UTC).isoformat()}]


def _result(stall: Stall, run: Run) -> ResponseReturnValue:
    if not stall.is_over(run):
        return jsonify(detail="Request is still in progress"), 400
    if run.age - run.seconds > KEPT_SECONDS or run.wanted["wish"] == "expired":
        return jsonify(detail="Request not found"), 404
    if run.is_cancelled:
        return jsonify(detail="Request cancelled", error_type="client_cancelled"), 400
    units = fal_models.MODELS[run.model].units(run.wanted) if stall.is_billed(run) else 0
    headers = {"x-fal-request-id": run.id, "x-fal-billable-units": f"{units:g}"}
    if found := INFRASTRUCTURE.get(run.wanted["wish"]):
        return jsonify(detail=found[0], error_type=found[1]), 503, {**headers, "X-Fal-Error-Type": found[1]}
    if failure := stall.failure(run):
        retryable = "true" if failure[0] >= 500 else "false"
        return jsonify(detail=failure[1]), failure[0], {**headers, "X-Fal-Retryable": retryable}
    return jsonify(stall.output(run, media_url())), 200, headers


def _bell(stall: Stall, run: Run, media: str) -> tuple[bytes, dict[str, str]]:
    now = stall.book.find(run.id) or run
    body = json.dumps(stall.bell(now, media)[0]).encode()
    return body, stall.signed(now, body)


def _api(stall: Stall) -> Flask:
    app = _app()

    @app.get("/models/requests/by-endpoint")
    def listed() -> ResponseReturnValue:
        """Those that have finished, the newest first, with their inputs if that is asked for."""
        limit, at = request.args.get("limit", 50, int), int(request.args.get("cursor") or 0)
        if not 1 <= limit <= PAGE_MAX:
            return jsonify(detail="limit must be between 1 and 100"), 400
        over = [run for run in reversed(stall.book.all(VENDOR)) if run.model == request.args.get("endpoint_id")]
        over = [run for run in over if run.is_over and run.age >= run.seconds + LISTED_LATE_SECONDS]
        items = [_item(run, with_input="payloads" in request.args.getlist("expand")) for run in over[at : at + limit]]
        more = at + limit < len(over)
        return jsonify(items=items, has_more=more, next_cursor=str(at + limit) if more else None)

    return app


def _item(run: Run, *, with_input: bool) -> dict[str, Any]:
    ended = datetime.fromtimestamp(run.ended_at, UTC).isoformat()
    said = {"request_id": run.id, "endpoint_id": run.model, "ended_at": ended, "status_code": 200}
    given = {name: value for name, value in run.wanted.items() if name != "wish"}
    return {**said, "json_input": given} if with_input else said


def _rest(stall: Stall) -> Flask:
    app = _app()

    @app.post("/storage/upload/initiate")
    def initiate() -> ResponseReturnValue:
        given = request.get_json(force=True, silent=True)
        name, mime = (given or {}).get("file_name"), (given or {}).get("content_type")
        if not (isinstance(name, str) and isinstance(mime, str)):
            return jsonify(detail="file_name and content_type are required"), 422
        kept = stall.shelf.promise(name, mime)
        plain = "".join(each if each.isascii() and (each.isalnum() or each in "._-") else "_" for each in name)
        return jsonify(
            upload_url=f"{media_url()}/upload/{kept.id}?X-Signature=sandbox",
            file_url=f"{media_url()}/files/{kept.id}/{plain}",
        )

    @app.post("/storage/auth/token")
    def token() -> ResponseReturnValue:
        said = {"token": "sandbox", "token_type": "Bearer", "expires_at": "2099-01-01T00:00:00Z"}
        return jsonify({**said, "base_url": media_url()})

    @app.get("/.well-known/jwks.json")
    def keys() -> ResponseReturnValue:
        x = base64.urlsafe_b64encode(stall.public_key).decode().rstrip("=")
        return jsonify(keys=[{"kty": "OKP", "crv": "Ed25519", "kid": "sandbox", "x": x}])

    return app


def _media(stall: Stall) -> Flask:
    """Another host, which knows no keys."""
    app = _app(takes_keys=False)

    @app.put("/upload/<file_id>")
    def receive(file_id: str) -> ResponseReturnValue:
        kept, size = stall.shelf.find(file_id), request.content_length
        if kept is None or "Authorization" in request.headers or request.headers.get("Content-Type") != kept.mime:
            return Response("<Error><Code>SignatureDoesNotMatch</Code></Error>", 403, mimetype="application/xml")
        if size is None or not stall.shelf.receive(kept, request.stream, size):
            return Response("<Error><Code>IncompleteBody</Code></Error>", 400, mimetype="application/xml")
        return "", 200

    @app.get("/files/<file_id>/<name>")
    def uploaded(file_id: str, name: str) -> ResponseReturnValue:
        kept = stall.shelf.find(file_id)
        return send_file(kept.path, mimetype=kept.mime) if kept and kept.is_whole else ("", 404)

    @app.get("/made/<run_id>/<key>/<name>")
    def made(run_id: str, key: str, name: str) -> ResponseReturnValue:
        run = stall.book.find(run_id)
        if run is None or not stall.is_over(run) or run.wanted["wish"] == "gone":
            return "", 404
        found = next((each for each in fal_models.MODELS[run.model].makes(run.wanted) if each.key == key), None)
        return _file(stall, run, found) if found else ("", 404)

    return app


def _file(stall: Stall, run: Run, made: fal_models.Made) -> ResponseReturnValue:
    wanted = run.wanted["wish"]
    if wanted == "html":
        return Response("<!doctype html><title>Not here</title>", mimetype="text/html")
    if wanted == "moved":
        return redirect("http://169.254.169.254/latest/meta-data/", 302)
    if wanted == "endless":
        return Response(_endless(), mimetype=made.mime)
    if path := stall.workshop.made(run.id):
        return send_file(path, mimetype=made.mime)
    return Response(fal_models.content(run, made), mimetype=made.mime)


def _endless() -> Iterator[bytes]:
    while True:
        yield bytes(64 * 1024)
