"""A SANDBOX that stands in for Supabase Storage: the same answers, on this machine, for tests and trials."""

import argparse
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server

from novai_web.sandbox import supabase_buckets, supabase_files, supabase_resumable
from novai_web.sandbox.faults import Faults
from novai_web.sandbox.supabase_access import Refusal, refused, sign, unrouted
from novai_web.sandbox.supabase_objects import Objects

MEGABYTE = 1024 * 1024
KEY_SECONDS = 10 * 365 * 86400
SECRET = "sandbox-secret-that-protects-nothing"  # noqa: S105
NOTICE = "SANDBOX: this is not Supabase. Files here are for trials, and anyone with the address may break it."


def create_app(folder: Path, secret: str = SECRET) -> Flask:
    """The stand-in; its files and its index are in `folder`, which it makes."""
    app = Flask(__name__, static_folder=None)
    app.config.update(JWT_SECRET=secret, PROPAGATE_EXCEPTIONS=True)  # a cut connection must reach the server
    app.url_map.merge_slashes = False
    app.extensions["objects"] = Objects(folder.absolute())
    for routes in (supabase_buckets.routes, supabase_files.routes, supabase_resumable.routes):
        app.register_blueprint(routes)
    app.register_error_handler(Refusal, refused)
    app.register_error_handler(HTTPException, unrouted)

    @app.get("/")
    def about() -> ResponseReturnValue:
        return jsonify({"sandbox": True, "notice": NOTICE})

    @app.after_request
    def drain(answer: Response) -> Response:
        """Hanging up on a body that is still coming would overtake the answer."""
        with suppress(HTTPException):
            while request.stream.read(MEGABYTE):
                pass
        return answer

    app.wsgi_app = Faults(app.wsgi_app)  # type: ignore[method-assign]
    return app


def project_key(role: str = "service_role", secret: str = SECRET, seconds: int = KEY_SECONDS) -> str:
    """The key of a Supabase project for this role, as its settings page shows it."""
    return sign({"role": role, "iss": "sandbox"}, seconds, secret)


class _Handler(WSGIRequestHandler):
    """Says what it is in every answer, and puts no line on the terminal for each."""

    protocol_version = "HTTP/1.1"

    def version_string(self) -> str:
        return "NOVAI-sandbox (not Supabase)"

    def connection_dropped(self, error: BaseException, environ: object = None) -> None:
        self.close_connection = True  # a fault: hang up, do not wait for another request

    def log(self, type: str, message: str, *args: object) -> None:
        if type == "error":
            super().log(type, message, *args)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=54321, help="0: any free one")
    parser.add_argument("--data", type=Path, required=True, help="folder of its files, made if missing")
    parser.add_argument("--attached", action="store_true", help="stop when standard input closes")
    options = parser.parse_args()
    app = create_app(options.data)
    server = make_server("127.0.0.1", options.port, app, threaded=True, request_handler=_Handler)
    address = f"http://127.0.0.1:{server.port}"
    lines = [NOTICE, f"SUPABASE_URL={address}", f"SUPABASE_SERVICE_ROLE_KEY={project_key()}", address]
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()
    if options.attached:
        threading.Thread(target=_stop_with_parent, daemon=True).start()
    server.serve_forever()


def _stop_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
