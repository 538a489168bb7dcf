"""One way of talking to Supabase Storage: the key, the limits of patience, and what its answers mean."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from secrets import SystemRandom
from typing import Any, TypeVar

import requests
from pydantic import SecretStr

from novai_web.errors import DiskFull, NotFound, NovaiError, StoreFailed, TooLarge

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
ATTEMPTS = 5
_WAIT_SECONDS = 0.5
_WAIT_SECONDS_MAX = 8.0
_RETRY_AFTER_SECONDS_MAX = 15.0  # a longer wish is passed on to the caller instead of slept through
_IDEMPOTENT = {"GET", "HEAD", "PUT", "DELETE"}  # as RFC 9110 has it
_jitter = SystemRandom()
T = TypeVar("T")


@dataclass(eq=False)
class Refused(Exception):
    """An answer that is not a success; the code in its body is truer than the HTTP one."""

    status: int
    code: str
    message: str
    retry_after: float | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


class Unreachable(Exception):
    """No answer, or half of one, or one that is not in Supabase's language."""


class Api:
    """Requests with the service role key, which appears nowhere but in the two headers."""

    def __init__(self, url: str, key: SecretStr) -> None:
        self.base = f"{url.rstrip('/')}/storage/v1"
        self._key = SecretStr(key.get_secret_value().strip())
        if not self._key.get_secret_value().isascii() or not self._key.get_secret_value().isprintable():
            # requests would put a header it cannot send, and with it the key, into its error.
            raise ValueError("SUPABASE_SERVICE_ROLE_KEY has characters no key has; copy it again")
        self._own = threading.local()

    def __repr__(self) -> str:
        return f"Api({self.base!r})"

    @property
    def headers(self) -> dict[str, str]:
        key = self._key.get_secret_value()
        return {"Authorization": f"Bearer {key}", "apikey": key}

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """`ask`, for those who want the whole answer."""
        return self.ask(lambda answer: answer, method, path, **options)

    def ask(
        self,
        read: Callable[[requests.Response], T],
        method: str,
        path: str,
        *,
        attempts: int = ATTEMPTS,
        read_seconds: float = READ_SECONDS,
        repeatable: bool = False,
        **options: Any,
    ) -> T:
        """One call below /storage/v1, and what `read` finds in its answer; repeated when that is safe.

        Raises Refused or Unreachable; so may `read`, to say that an answer is none.
        """
        safe = repeatable or method in _IDEMPOTENT
        return patiently(lambda: read(self._once(method, path, read_seconds, options)), attempts, repeatable=safe)

    def _once(self, method: str, path: str, read_seconds: float, options: dict[str, Any]) -> requests.Response:
        options = {"timeout": (CONNECT_SECONDS, read_seconds), "allow_redirects": False, **options}
        options["headers"] = {"Accept-Encoding": "identity", **options.get("headers", {})}
        try:
            answer = self._session().request(method, f"{self.base}/{path}", **options)
            if not answer.ok or answer.is_redirect:
                with answer:
                    raise self._refused(answer)
        except requests.RequestException as error:
            raise Unreachable(type(error).__name__) from error
        return answer

    def refused(self, status: int, code: str, message: str, retry_after: str | None) -> Refused:
        """The error to raise; whatever the server echoed, our key is not in it."""
        seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
        return Refused(status, code, message.replace(self._key.get_secret_value(), "[key]")[:300], seconds)

    def _refused(self, answer: requests.Response) -> Refused:
        """Reads {"statusCode", "error", "message", "code"}; gateways and TUS answer in their own ways."""
        status, code, message = answer.status_code, "", answer.text
        with suppress(ValueError, TypeError, AttributeError):  # not Supabase's shape: the HTTP code stands
            body = answer.json()
            status = int(body.get("statusCode", status))
            code, message = str(body.get("code") or body.get("error") or ""), str(body.get("message", ""))
        return self.refused(status, code, message, answer.headers.get("Retry-After"))

    def _session(self) -> requests.Session:
        """One a thread, and none inherited through a fork: two processes must not share a connection."""
        if getattr(self._own, "process", None) != os.getpid():
            self._own.process, self._own.session = os.getpid(), requests.Session()
            self._own.session.auth = self._authorize  # also keeps a .netrc from putting its own there
        session: requests.Session = self._own.session
        return session

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self.headers)
        return request


class Patience:
    """Counts failures without progress and waits between them: full jitter, Retry-After as a floor."""

    def __init__(self, attempts: int = ATTEMPTS) -> None:
        self._attempts = attempts
        self._failures = 0

    def progress(self) -> None:
        self._failures = 0

    def failed(self, error: Refused | Unreachable, *, repeatable: bool = True) -> None:
        """Wait, or raise `error` when waiting is useless, unsafe or has lasted long enough."""
        self._failures += 1
        asked = (error.retry_after or 0) if isinstance(error, Refused) else 0
        if self._failures >= self._attempts or asked > _RETRY_AFTER_SECONDS_MAX or not _passing(error, repeatable):
            raise error
        time.sleep(max(asked, _jitter.uniform(0, min(_WAIT_SECONDS_MAX, _WAIT_SECONDS * 2**self._failures))))


def patiently(call: Callable[[], T], attempts: int = ATTEMPTS, *, repeatable: bool = True) -> T:
    patience = Patience(attempts)
    while True:
        try:
            return call()
        except (Refused, Unreachable) as error:
            patience.failed(error, repeatable=repeatable)


@contextmanager
def sentences() -> Iterator[None]:
    """What went wrong, as the error a person reads."""
    try:
        yield
    except Refused as refused:
        raise _sentence(refused) from refused
    except Unreachable as error:
        raise StoreFailed from error


def json_object(answer: requests.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except requests.JSONDecodeError as error:
        raise Unreachable("an answer that is not JSON") from error
    if not isinstance(found, dict):
        raise Unreachable("an answer that is not an object")
    return found


def _passing(error: Refused | Unreachable, repeatable: bool) -> bool:
    """Too busy (429, 503) means nothing was done; after anything else only a repeatable call may be repeated."""
    if isinstance(error, Unreachable):
        return repeatable
    if error.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return True
    return repeatable and (error.status >= 500 or error.status == HTTPStatus.REQUEST_TIMEOUT)


def _sentence(refused: Refused) -> NovaiError:
    message = refused.message.lower()
    if refused.status == 507 or "enospc" in message or "no space left" in message or "storage_size_quota" in message:
        return DiskFull()
    if refused.status == 404:
        return NotFound()
    if refused.status == 413:
        return TooLarge("The file storage does not take files this large. Use a smaller one, or raise its limit.")
    if refused.status in (401, 403) or refused.code == "InvalidJWT":
        return StoreFailed("The file storage refused our key. An administrator must check SUPABASE_SERVICE_ROLE_KEY.")
    failed = StoreFailed()
    if refused.retry_after:
        failed.retry_after_seconds = round(refused.retry_after)
    return failed
