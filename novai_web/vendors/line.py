"""The line to a vendor: one request, one answer, within a time and a size that nobody on the other side can stretch."""

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError

from novai_web import failpoints

ANSWER_BYTES_MAX = 1024 * 1024
CONNECT_SECONDS_MAX = 5.0
LIST_SECONDS_MAX = (
    12.0  # of a list of many pages: who waits for it may hold a lease, and somebody who cancels waits too
)
SILENCE_SECONDS_MAX = 30.0  # in the middle of a file: whoever waits must look up now and then
CHUNK_BYTES = 64 * 1024
KEY_HEADERS = ("authorization", "x-goog-api-key", "x-api-key")
KEY_CHARACTERS_MIN = 8
SAID_BACK = "[key]"
COME_BACK = (408, 425, 429)  # answers of somebody who may say something else later


class NoAnswer(Exception):
    """No answer, or half of one, or too much of one, or one that took too long."""

    def __init__(self, why: str, *, was_sent: bool, is_final: bool = False) -> None:
        """`was_sent`: something of the request may have reached the other side. `is_final`: it was an answer after
        all, and asking again gets the same; then `why` is a sentence about the other side."""
        super().__init__(why)
        self.was_sent = was_sent
        self.is_final = is_final


@dataclass(frozen=True)
class Answer:
    """What came back. Names in `headers` are in small letters; a redirect is an answer like any other."""

    status: int
    body: bytes
    retry_after: float | None
    headers: Mapping[str, str] = field(default_factory=dict)


def ask(
    method: str,
    url: str,
    *,
    seconds: float,
    bytes_max: int = ANSWER_BYTES_MAX,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request, never repeated, over within `seconds`. Raises NoAnswer."""
    with _asked(method, url, seconds, json=body, headers=headers) as answer:
        return _whole(answer, bytes_max, headers or {})


def send(
    url: str,
    path: Path,
    *,
    seconds: float,
    heard: Callable[[], None],
    headers: Mapping[str, str],
    method: str = "PUT",
    is_public: bool = True,
) -> Answer:
    """Send the file at `path` as the body; `heard` is called now and then and may raise.

    `is_public`: not to an address of a private network, whatever a name is said to mean. Raises NoAnswer.
    """
    with path.open("rb") as file:
        body = _Heard(file, path.stat().st_size, heard)
        with _asked(method, url, seconds, data=body, headers=headers, is_public=is_public) as answer:
            return _whole(answer, ANSWER_BYTES_MAX, headers)


def download(
    url: str,
    path: Path,
    *,
    seconds: float,
    bytes_max: int,
    heard: Callable[[], None],
    is_public: bool = False,
) -> None:
    """Write what is at `url` to `path`. Raises NoAnswer, also when it is not there; then nothing is left behind.

    `is_public`: not from an address of a private network, whatever a name is said to mean.
    """
    arriving = path.with_name(f"{path.name}.arriving")
    try:
        with (
            _asked("GET", url, seconds, is_public=is_public, silence_seconds=SILENCE_SECONDS_MAX) as answer,
            arriving.open("wb") as file,
        ):
            if answer.status_code != 200:
                raise _not_there(answer.status_code)
            for chunk in _chunks(answer, bytes_max):
                file.write(chunk)
                failpoints.hit("fetch.mid")
                heard()
        arriving.replace(path)
    finally:
        arriving.unlink(missing_ok=True)


def _not_there(status: int) -> NoAnswer:
    """Who is busy may have it later; whoever says no, or sends us elsewhere, will say so again."""
    if 300 <= status < 400:
        return NoAnswer("It sent us elsewhere for its file.", was_sent=True, is_final=True)
    if 400 <= status < 500 and status not in COME_BACK:
        return NoAnswer("Its file is no longer there.", was_sent=True, is_final=True)
    return NoAnswer(f"status {status}", was_sent=True)


@contextmanager
def _asked(
    method: str,
    url: str,
    seconds: float,
    *,
    json: object = None,
    data: "_Heard | None" = None,
    headers: Mapping[str, str] | None = None,
    is_public: bool = False,
    silence_seconds: float = float("inf"),
) -> Iterator[requests.Response]:
    """The answer while it comes in. No session: it would follow its environment, and read redirects to their end.

    A fresh connection each time, because one that was kept may be dead already, and then nobody knows what was heard.
    """
    said = {"Accept-Encoding": "identity", "User-Agent": "NOVAI", **(headers or {})}
    line = _Line(is_public=is_public)
    adapter = _Watched(line)
    try:
        request = requests.Request(method, url, json=json, data=data, headers=said).prepare()
        with line.cut_after(seconds):
            timeouts = (min(CONNECT_SECONDS_MAX, seconds), min(silence_seconds, seconds))
            with adapter.send(request, stream=True, timeout=timeouts) as answer:
                yield answer
    except (requests.RequestException, HTTPError) as problem:
        raise NoAnswer(type(problem).__name__, was_sent=not _never_connected(problem)) from problem
    except UnicodeError as problem:  # a header that somebody else gave us, with letters that no header has
        raise NoAnswer(type(problem).__name__, was_sent=False) from problem
    finally:
        adapter.close()
    if line.is_cut:  # which can look like the end of an answer without a length
        raise NoAnswer("too slow", was_sent=True)


def _whole(answer: requests.Response, bytes_max: int, sent: Mapping[str, str]) -> Answer:
    """Without the key that was sent: some vendors say it back, and what they say is shown to people and logged."""
    content = b"".join(_chunks(answer, bytes_max))
    named = {name.lower(): value for name, value in answer.headers.items()}
    for secret in _secrets(sent):
        content = content.replace(secret.encode(), SAID_BACK.encode())
        named = {name: value.replace(secret, SAID_BACK) for name, value in named.items()}
    return Answer(answer.status_code, content, _seconds(answer.headers.get("Retry-After")), named)


def _secrets(sent: Mapping[str, str]) -> list[str]:
    """The words of the headers that hold a key; shorter ones, such as "Bearer", are no key."""
    words = [word for name, value in sent.items() if name.lower() in KEY_HEADERS for word in re.split(r"[\s:]+", value)]
    return [word for word in words if len(word) >= KEY_CHARACTERS_MIN]


class _Heard:
    """A body of known length that says each time that some of it was read."""

    def __init__(self, file: IO[bytes], size: int, heard: Callable[[], None]) -> None:
        self._file, self._size, self._heard = file, size, heard

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        self._heard()
        return self._file.read(min(size, CHUNK_BYTES) if size > 0 else CHUNK_BYTES)


def _chunks(answer: requests.Response, bytes_max: int) -> Iterator[bytes]:
    """The body as it was sent: what is packed could be small here and endless when unpacked."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise NoAnswer("What it sent is packed, which nobody asked for.", was_sent=True, is_final=True)
    announced = answer.headers.get("Content-Length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > 18 or int(announced) > bytes_max):
        raise _too_large()
    got = 0
    # As soon as there is some: whoever waits for a whole chunk that comes drop by drop hears of nothing else.
    while chunk := answer.raw.read1(CHUNK_BYTES, decode_content=False):
        got += len(chunk)
        if got > bytes_max:
            raise _too_large()
        yield chunk


def _too_large() -> NoAnswer:
    return NoAnswer("What it sent is too large.", was_sent=True, is_final=True)


def _seconds(said: str | None) -> float | None:
    """Retry-After in seconds; a date there is passed over, because clocks differ."""
    return float(said) if said and said.isascii() and said.isdigit() and len(said) < 10 else None


def _never_connected(problem: BaseException) -> bool:
    """Nobody was there to hear it: no connection came to be, so nothing was sent."""
    if isinstance(problem, requests.ConnectTimeout | requests.exceptions.InvalidURL):
        return True
    return any(isinstance(getattr(cause, "reason", None), NewConnectionError) for cause in problem.args)


class _Line:
    """The socket of one request, and a watch that closes it when the time is up, however busy it looks."""

    def __init__(self, *, is_public: bool = False) -> None:
        self._is_public = is_public
        self.is_cut = False
        self._socket: socket.socket | None = None
        self._until = float("inf")

    def hold(self, connected: socket.socket) -> None:
        self._socket = connected
        if time.monotonic() > self._until:
            self._cut()

    def check(self, connected: socket.socket) -> socket.socket:
        """Before anything is said: a name that leads into a private network is not followed there."""
        if self._is_public and not ipaddress.ip_address(connected.getpeername()[0].partition("%")[0]).is_global:
            connected.close()
            raise NoAnswer("It sent us to an address that is not public.", was_sent=False, is_final=True)
        return connected

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
            def _new_conn(self) -> socket.socket:
                return line.check(super()._new_conn())

            def connect(self) -> None:
                super().connect()
                line.hold(self.sock)

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return line.check(super()._new_conn())

            def connect(self) -> None:
                super().connect()
                line.hold(self.sock)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
