"""Trouble on request: what a sandbox does wrong next, and what it was asked so far."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from io import RawIOBase
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUESTS_KEPT = 10_000


class Fault(BaseModel, frozen=True):
    """One kind of trouble for the next `times` requests of this method whose path contains `path`."""

    fault: Literal["status", "slow", "cut", "lost", "garbled", "trickle"]
    times: int = Field(1, ge=1)
    method: str = ""
    path: str = ""
    status: int = Field(503, ge=400, le=599, description="status: answered instead of doing anything.")
    body: str = Field("", description="status, garbled: what is said.")
    retry_after: int | None = None
    seconds: float = Field(
        1.0, ge=0, le=600, description="slow: how long nothing happens first. trickle: between bytes."
    )
    after_bytes: int = Field(0, ge=0, description="cut: of the body sent, or if there is none, of the answer.")


class Faults:
    """Wraps a WSGI application. `/sandbox/faults` takes them, `/sandbox/requests` shows what came.

    status: answers so. slow: waits first. garbled: HTML as 200. lost: does the work, then hangs up without an
    answer. trickle: sends its answer byte by byte. cut: hangs up in the middle of the request's body or of the
    answer's. The header `x-sandbox-fault` (a Fault as JSON) is for that one request.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._requests: list[dict[str, str]] = []

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path in ("/sandbox/faults", "/sandbox/requests"):
            return self._administer(environ, start_response)
        if path.startswith("/sandbox/"):  # what only tests ask
            return self._app(environ, start_response)
        try:
            fault = self._next(environ)
        except ValidationError as error:
            return _answer(start_response, 422, error.json(include_url=False))
        with self._lock:
            self._requests.append(
                {"method": environ["REQUEST_METHOD"], "path": path, "fault": fault.fault if fault else ""}
            )
            del self._requests[:-REQUESTS_KEPT]
        return self._misbehave(fault, environ, start_response) if fault else self._app(environ, start_response)

    def _administer(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        faults, method = environ["PATH_INFO"] == "/sandbox/faults", environ["REQUEST_METHOD"]
        with self._lock:
            if method == "DELETE":
                (self._faults if faults else self._requests).clear()
            elif method == "POST" and faults:
                try:
                    body = environ["wsgi.input"].read(_body_bytes(environ))
                    self._faults += TypeAdapter(list[Fault]).validate_json(body)
                except ValidationError as error:
                    return _answer(start_response, 422, error.json(include_url=False))
            now: list[Any] = [fault.model_dump() for fault in self._faults] if faults else list(self._requests)
        return _answer(start_response, 200, json.dumps(now))

    def _next(self, environ: "WSGIEnvironment") -> Fault | None:
        """The first fault that fits, counted down."""
        if header := environ.get("HTTP_X_SANDBOX_FAULT"):
            return Fault.model_validate_json(header)
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.method in ("", environ["REQUEST_METHOD"]) and fault.path in environ["PATH_INFO"]:
                    left = fault.model_copy(update={"times": fault.times - 1})
                    self._faults[index : index + 1] = [left] if left.times else []
                    return fault
        return None

    def _misbehave(self, fault: Fault, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if fault.fault in ("status", "garbled"):
            environ["wsgi.input"].read(_body_bytes(environ))  # else hanging up would overtake the answer
        if fault.fault == "status":
            return _answer(start_response, fault.status, fault.body, fault.retry_after)
        if fault.fault == "garbled":
            return _answer(start_response, 200, fault.body or "<html><body>Welcome</body></html>", kind="text/html")
        if fault.fault == "slow":
            time.sleep(fault.seconds)
            return self._app(environ, start_response)
        if fault.fault == "trickle":
            return _trickled(self._app(environ, start_response), fault.seconds)
        if fault.fault == "cut" and not _body_bytes(environ):
            return _cut(self._app(environ, start_response), fault.after_bytes)
        if fault.fault == "cut":
            environ["wsgi.input"] = _CutInput(environ["wsgi.input"], fault.after_bytes)
        for _ in self._app(environ, start_response):
            pass
        raise ConnectionResetError("sandbox: no answer")  # the server hangs up


class _CutInput(RawIOBase):
    """A request body whose sender hangs up."""

    def __init__(self, body: Any, after_bytes: int) -> None:
        self._body, self._left = body, after_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._left:
            raise ConnectionResetError("sandbox: the request is cut")
        chunk = self._body.read(min(len(buffer), self._left))
        self._left -= len(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _trickled(answer: Iterable[bytes], seconds: float) -> Iterator[bytes]:
    for chunk in answer:
        for at in range(len(chunk)):
            time.sleep(seconds)
            yield chunk[at : at + 1]


def _cut(answer: Iterable[bytes], after_bytes: int) -> Iterator[bytes]:
    left = after_bytes
    for chunk in answer:
        yield chunk[:left]
        left -= len(chunk[:left])
        if not left:
            raise ConnectionResetError("sandbox: the answer is cut")


def _body_bytes(environ: "WSGIEnvironment") -> int:
    return int(environ.get("CONTENT_LENGTH") or 0)


def _answer(
    start_response: "StartResponse",
    status: int,
    body: str,
    retry_after: int | None = None,
    kind: str = "application/json",
) -> Iterable[bytes]:
    content = body.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(content)))]
    if retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    start_response(f"{status} {HTTPStatus(status).phrase if status in list(HTTPStatus) else 'Sandbox'}", headers)
    return [content]
