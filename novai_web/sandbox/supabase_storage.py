"""A SANDBOX that stands in for Supabase Storage: the same answers, on this machine, for tests and trials."""

from contextlib import suppress
from pathlib import Path

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from novai_web.sandbox import supabase_buckets, supabase_files, supabase_resumable
from novai_web.sandbox.faults import Faults
from novai_web.sandbox.serving import Handler, options, serve
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


class _Handler(Handler):
    stands_for = "Supabase"


def main() -> None:
    parser = options(__doc__, 54321)
    parser.add_argument("--data", type=Path, required=True, help="folder of its files, made if missing")
    given = parser.parse_args()

    def said(address: str) -> list[str]:
        return [NOTICE, f"SUPABASE_URL={address}", f"SUPABASE_SERVICE_ROLE_KEY={project_key()}"]

    serve(create_app(given.data), given.port, said, _Handler, attached=given.attached)


if __name__ == "__main__":
    main()
