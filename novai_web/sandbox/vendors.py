"""A SANDBOX of all vendors that are paid: one process in the place of each, under an address of its own.

`python -m novai_web.sandbox.vendors --port 54330 --folder data/sandbox`. Its runs are kept in the folder, so that it
may be killed and started again in the middle of one. Under each address `/sandbox/faults` makes trouble and
`/sandbox/requests` shows what came; `/sandbox/bill`, under the address that takes requests, what would be billed.
"""

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from novai_web.sandbox import fal, gemini, picsi, wavespeed
from novai_web.sandbox.book import Book
from novai_web.sandbox.faults import Faults
from novai_web.sandbox.serving import Handler, options, serve

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

NOTICE = "SANDBOX: this is not fal, Gemini, WaveSpeed or Picsi. What it makes is for trials, and costs nobody anything."
PORT = 54330
SECONDS = 3.0


def create_app(folder: Path, seconds: float = SECONDS) -> "WSGIApplication":
    """All vendors, with one book in `folder`, which it makes. A run takes `seconds` unless it says otherwise."""
    book = Book(folder, seconds)
    apps: dict[str, Flask] = {
        **fal.create_apps(book),
        "/gemini": gemini.create_app(book),
        "/wavespeed": wavespeed.create_app(book),
        "/wavespeed-media": wavespeed.create_media(book),
        "/picsi": picsi.create_app(book),
    }
    return DispatcherMiddleware(_front(book), {mount: Faults(app.wsgi_app) for mount, app in apps.items()})


def _front(book: Book) -> Flask:
    app = Flask(__name__, static_folder=None)

    @app.get("/")
    def about() -> ResponseReturnValue:
        return jsonify({"sandbox": True, "notice": NOTICE})

    @app.get("/health")
    def health() -> ResponseReturnValue:
        return jsonify({"sandbox": True, "runs": len(book.all())})

    return app


class _Handler(Handler):
    stands_for = "a vendor that is paid"


def main() -> None:
    parser = options(__doc__, PORT)
    parser.add_argument("--folder", type=Path, required=True, help="folder of its runs and files, made if missing")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long a run takes")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is lost by it: what counts is in the folder

    def said(address: str) -> list[str]:
        return [NOTICE, f"NOVAI_SANDBOX_URL={address}"]

    app = create_app(given.folder.absolute(), given.seconds)
    serve(app, given.port, said, _Handler, attached=given.attached, host=given.host)


if __name__ == "__main__":
    main()
