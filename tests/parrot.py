"""A server that says what it was told to say, word for word, and remembers what it was asked."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Parrot:
    """At `url`. `say` puts an answer at a method and a path without its query; the last one said is repeated."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    _answers: dict[tuple[str, str], list[tuple[int, bytes, dict[str, str]]]] = field(default_factory=dict)

    def say(self, method: str, path: str, status: int, body: Any, **headers: str) -> None:
        """`body`: bytes as they are, anything else as JSON; `{here}` in it is this server's address."""
        said = body if isinstance(body, bytes) else json.dumps(body).replace("{here}", self.url).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers.setdefault((method, path), []).append((status, said, named))

    def forget(self) -> None:
        self.asked.clear()
        self._answers.clear()

    def answer(self, asked: Asked) -> tuple[int, bytes, dict[str, str]]:
        self.asked.append(asked)
        said = self._answers.get((asked.method, asked.path.partition("?")[0]))
        if not said:
            return 404, b"nobody told me", {}
        return said.pop(0) if len(said) > 1 else said[0]


@contextmanager
def parrot(port: int = 0) -> Iterator[Parrot]:
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.parrot = Parrot(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.parrot  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _speak(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, self.path, dict(self.headers), body)
        status, said, headers = self.server.parrot.answer(asked)  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(said))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_DELETE = _speak  # noqa: N815 - what http.server looks for

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""
