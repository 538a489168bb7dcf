"""A vendor that answers what it was told to, and remembers what it was asked; and whether two answers are alike."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request. Names of headers are in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Scripted:
    """`answers` are given in turn, the last one over and over: a status, a body (JSON unless it is bytes), headers."""

    url: str = ""
    answers: list[tuple[int, Any, Mapping[str, str]]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def says(self, body: Any, status: int = 200, **headers: str) -> None:
        self.answers.append((status, body, {name.replace("_", "-"): value for name, value in headers.items()}))

    def next(self) -> tuple[int, bytes, Mapping[str, str]]:
        status, body, headers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return status, body if isinstance(body, bytes) else json.dumps(body).encode(), headers


@contextmanager
def scripted() -> Iterator[Scripted]:
    script = Scripted()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            named = {name.lower(): value for name, value in self.headers.items()}
            script.asked.append(Asked(self.command, self.path, named, body))
            status, content, headers = script.next()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 (what http.server looks for)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        script.url = f"http://127.0.0.1:{server.server_port}"
        yield script
        server.shutdown()


@contextmanager
def talking(says: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of somebody who speaks no HTTP of its own accord: `says` is handed each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=speak, args=(connection,), daemon=True).start()

        def speak(connection: socket.socket) -> None:
            with connection:
                try:
                    if connection.recv(65536):
                        says(connection)
                except OSError:
                    return  # hung up on, as it deserves

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def differences(example: Any, said: Any, at: str = "$") -> list[str]:
    """Where `said` lacks something of `example`, or has it of another kind. What it has besides is no difference."""
    if isinstance(example, dict):
        if not isinstance(said, dict):
            return [f"{at} is no object"]
        lacking = [f"{at}.{key} is missing" for key in example if key not in said]
        return lacking + [
            each for key in example if key in said for each in differences(example[key], said[key], f"{at}.{key}")
        ]
    if isinstance(example, list):
        if not isinstance(said, list) or (example and not said):
            return [f"{at} is no list, or an empty one"]
        return [each for one, other in zip(example, said, strict=False) for each in differences(one, other, f"{at}[]")]
    if isinstance(example, bool) or example is None or isinstance(example, str):
        return [] if type(example) is type(said) else [f"{at} is a {type(said).__name__}"]
    return [] if isinstance(said, int | float) and not isinstance(said, bool) else [f"{at} is no number"]
