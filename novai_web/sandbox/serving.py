"""How a sandbox serves: on a port of this machine, with its address as the last line it says at its start."""

import os
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class Handler(WSGIRequestHandler):
    """Says what it is in every answer, and puts no line on the terminal for each."""

    protocol_version = "HTTP/1.1"
    stands_for = "a vendor"

    def version_string(self) -> str:
        return f"NOVAI-sandbox (not {self.stands_for})"

    def connection_dropped(self, error: BaseException, environ: object = None) -> None:
        self.close_connection = True  # a fault: hang up, do not wait for another request

    def log(self, type: str, message: str, *args: object) -> None:
        if type == "error":
            super().log(type, message, *args)


def options(about: str | None, port: int) -> ArgumentParser:
    """What every sandbox is told on its command line."""
    parser = ArgumentParser(description=about)
    parser.add_argument("--port", type=int, default=port, help="0: any free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--attached", action="store_true", help="stop when standard input closes")
    return parser


def serve(
    app: "WSGIApplication",
    port: int,
    lines: Callable[[str], Sequence[str]],
    handler: type[Handler],
    *,
    attached: bool,
    host: str = "127.0.0.1",
) -> None:
    """Serve until killed. `lines` of the address are said first, then the address."""
    server = make_server(host, port, app, threaded=True, request_handler=handler)
    address = f"http://127.0.0.1:{server.port}"
    sys.stdout.write("\n".join([*lines(address), address, ""]))
    sys.stdout.flush()
    if attached:
        threading.Thread(target=_stop_with_parent, daemon=True).start()
    server.serve_forever()


def _stop_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)
