"""The line to a vendor: one request, one answer, within a time and a size that nobody on the other side can stretch."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError

from novai_web import failpoints

ANSWER_BYTES_MAX = 1024 * 1024
CONNECT_SECONDS_MAX = 5.0
CHUNK_BYTES = 64 * 1024


class NoAnswer(Exception):
    """No answer, or half of one, or too much of one, or one that took too long."""

    def __init__(self, why: str, *, was_sent: bool) -> None:
        """`was_sent`: something of the request may have reached the other side."""
        super().__init__(why)
        self.was_sent = was_sent


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    retry_after: float | None


def ask(method: str, url: str, *, seconds: float, bytes_max: int = ANSWER_BYTES_MAX, body: object = None) -> Answer:
    """One request, never repeated, over within `seconds`. Raises NoAnswer."""
    with _asked(method, url, seconds, body) as answer:
        content = b"".join(_chunks(answer, bytes_max))
        return Answer(answer.status_code, content, _seconds(answer.headers.get("Retry-After")))


def download(url: str, path: Path, *, seconds: float, bytes_max: int, heard: Callable[[], None]) -> None:
    """Write what is at `url` to `path`. Raises NoAnswer, also when it is not there; then nothing is left behind."""
    arriving = path.with_name(f"{path.name}.arriving")
    try:
        with _asked("GET", url, seconds, None) as answer, arriving.open("wb") as file:
            if answer.status_code != 200:
                raise NoAnswer(f"status {answer.status_code}", was_sent=True)
            for chunk in _chunks(answer, bytes_max):
                file.write(chunk)
                failpoints.hit("fetch.mid")
                heard()
        arriving.replace(path)
    finally:
        arriving.unlink(missing_ok=True)


@contextmanager
def _asked(method: str, url: str, seconds: float, body: object) -> Iterator[requests.Response]:
    """The answer while it comes in. No session: it would follow its environment, and read redirects to their end.

    A fresh connection each time, because one that was kept may be dead already, and then nobody knows what was heard.
    """
    headers = {"Accept-Encoding": "identity", "User-Agent": "NOVAI"}
    request = requests.Request(method, url, json=body, headers=headers).prepare()
    line = _Line()
    adapter = _Watched(line)
    try:
        with line.cut_after(seconds):
            timeouts = (min(CONNECT_SECONDS_MAX, seconds), seconds)
            with adapter.send(request, stream=True, timeout=timeouts) as answer:
                yield answer
    except (requests.RequestException, HTTPError) as problem:
        raise NoAnswer(type(problem).__name__, was_sent=not _never_connected(problem)) from problem
    finally:
        adapter.close()
    if line.is_cut:  # which can look like the end of an answer without a length
        raise NoAnswer("too slow", was_sent=True)


def _chunks(answer: requests.Response, bytes_max: int) -> Iterator[bytes]:
    """The body as it was sent: what is packed could be small here and endless when unpacked."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise NoAnswer("a packed answer", was_sent=True)
    got = 0
    for chunk in answer.raw.stream(CHUNK_BYTES, decode_content=False):
        got += len(chunk)
        if got > bytes_max:
            raise NoAnswer("too large an answer", was_sent=True)
        yield chunk


def _seconds(said: str | None) -> float | None:
    """Retry-After in seconds; a date there is passed over, because clocks differ."""
    return float(said) if said and said.isascii() and said.isdigit() and len(said) < 10 else None


def _never_connected(problem: BaseException) -> bool:
    """Nobody was there to hear it: no connection came to be, so nothing was sent."""
    if isinstance(problem, requests.ConnectTimeout):
        return True
    return any(isinstance(getattr(cause, "reason", None), NewConnectionError) for cause in problem.args)


class _Line:
    """The socket of one request, and a watch that closes it when the time is up, however busy it looks."""

    def __init__(self) -> None:
        self.is_cut = False
        self._socket: socket.socket | None = None
        self._until = float("inf")

    def hold(self, connected: socket.socket) -> None:
        self._socket = connected
        if time.monotonic() > self._until:
            self._cut()

    @contextmanager
    def cut_after(self, seconds: float) -> Iterator[None]:
        self._until = time.monotonic() + seconds
        watch = threading.Timer(seconds, self._cut)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def _cut(self) -> None:
        self.is_cut = True
        if self._socket is not None:
            with suppress(OSError):  # closed already
                self._socket.shutdown(socket.SHUT_RDWR)


class _Watched(HTTPAdapter):
    """Connections whose sockets are held by a line."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        line = self._line

        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                line.hold(self.sock)

        class Secure(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                line.hold(self.sock)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
