"""The client of WaveSpeed, which puts faces into videos: its API v3, where every answer comes in one envelope.

Its list of runs shows neither what was asked nor any marker, so a run whose answer was lost is only found there if
that changes. It has no call that surely stops a run either: what was started is taken to be billed.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, SecretStr

from novai_web.vendors import (
    AccountTrouble,
    Away,
    Done,
    Doubtful,
    Failed,
    File,
    KeyRejected,
    NotStarted,
    OutOfMoney,
    Refused,
    Running,
    Seen,
    Unknown,
    fetching,
    line,
    places,
)
from novai_web.vendors.line import Answer, NoAnswer
from novai_web.vendors.wavespeed_answers import (
    OVER,
    Balance,
    Envelope,
    Listed,
    Prediction,
    Upload,
    marker_in,
    read,
)

SANDBOX_SECRET = "whsec_sandbox"  # noqa: S105 (what the sandbox signs its webhooks with)
ASK_SECONDS = 10.0
SEND_SECONDS = 600.0
UPLOAD_BYTES_MAX = 200 * 1024 * 1024
FACES_MAX = 10
PAGE_SIZE = 100
PAGES_MAX = 50
WEBHOOK_SECONDS = 300  # how old a webhook may be
Shape = TypeVar("Shape", bound=BaseModel)


class WaveSpeed:
    """WaveSpeed at `url`, such as https://api.wavespeed.ai."""

    name = "wavespeed"
    title = "WaveSpeed"
    is_dear = False
    longest_run_seconds = 3600.0  # a swap in ten minutes of video, with others before it
    listed_within_seconds = 10.0
    start_seconds: float | None = None
    has_list = False

    def __init__(
        self,
        url: str,
        key: SecretStr,
        *,
        model: str,
        hosts: Sequence[str],
        webhook_url: str = "",
        is_sandbox: bool = False,
    ) -> None:
        """`hosts`: where its files lie. `webhook_url`: where it may say that a run is over; empty: nowhere."""
        self.url, self.model = url.rstrip("/"), model
        self.hosts = () if is_sandbox else tuple(hosts)
        self.webhook_url, self.is_sandbox = webhook_url, is_sandbox
        self._media = f"{self.url}-media" if is_sandbox else ""
        self._key = key

    def upload(self, path: Path, mime: str, name: str, heard: Callable[[], None]) -> str:
        size = path.stat().st_size
        if size > UPLOAD_BYTES_MAX:
            raise Refused(f"It takes files of up to {UPLOAD_BYTES_MAX // 1024**2} MB. Use a smaller one.")
        upload = self._place({"filename": name, "size": size, "content_type": mime})
        target = upload.upload.url
        is_there = places.is_below(target, self._media) if self.is_sandbox else places.is_web(target)
        said = "".join((upload.download_url, *upload.upload.headers, *upload.upload.headers.values()))
        if not (is_there and said.isascii() and said.isprintable()):
            raise Refused("It sends us to an address that is none for files.")
        try:
            answer = line.send(
                target,
                path,
                seconds=SEND_SECONDS,
                heard=heard,
                headers=upload.upload.headers,  # exactly these, and not our key, for it is somebody else's storage
                is_public=not self.is_sandbox,
            )
        except NoAnswer as problem:
            raise Away from problem
        if answer.status == 413:
            raise Refused("The file is larger than it takes.")
        if not 200 <= answer.status < 300:
            raise Away(f"{self.title} did not take a file (status {answer.status}). Nothing was lost.")
        return upload.download_url

    def _place(self, wanted: Mapping[str, Any]) -> Upload:
        """Where a file is to be sent. Raises Away, AccountTrouble, and Refused for one that it will never take."""
        status, said = _opened(self._ask("POST", "/media/uploads", wanted))
        if said and status == 200 and (placed := read(Upload, said.data)):
            return placed
        if trouble := self._trouble(status, said):
            raise trouble
        if said and 400 <= status < 500 and status not in line.COME_BACK:
            raise Refused(said.message or "It did not say why.")
        raise self._away(status, said)

    def swap_request(self, *, video_url: str, face_url: str, which: int) -> dict[str, Any]:
        """`which` goes from 0, the largest face, to 10."""
        if not 0 <= which <= FACES_MAX:
            raise ValueError(f"no such face: {which}")
        given = {"video": video_url, "face_image": face_url, "target_index": which, "target_gender": "all"}
        return {"model": self.model, "input": given}

    def start(self, request: Mapping[str, Any], marker: str, timeout: float) -> str:
        url = f"{self.url}/api/v3/{quote(str(request['model']))}"
        if self.webhook_url:
            url += "?" + urlencode({"webhook": f"{self.webhook_url}?{urlencode({'run': marker})}"})
        headers = {**self._headers, "X-Novai-Run": marker}
        try:
            answer = line.ask("POST", url, seconds=timeout, body=request["input"], headers=headers)
        except NoAnswer as problem:
            raise (Doubtful(str(problem)) if problem.was_sent else NotStarted()) from problem
        status, said = _opened(answer)
        if said and status == 200 and (started := read(Prediction, said.data)):
            return started.id
        if trouble := self._trouble(status, said):
            raise trouble
        if said and status in (429, 503):
            raise NotStarted(answer.retry_after)
        if said and 400 <= status < 500 and status != 408:
            raise Refused(said.message or "It did not say why.")
        raise Doubtful(f"status {status}")

    def find(self, marker: str) -> str | None:
        return next((run.external_id for run in self._listed() if run.marker == marker), None)

    def poll(self, external_id: str) -> Running | Done | Failed | Unknown:
        status, said = _opened(self._ask("GET", f"/predictions/{quote(external_id, safe='')}/result"))
        if said and status == 404:
            return Unknown()
        run = read(Prediction, said.data) if said and status == 200 else None
        if run is None or run.id != external_id:
            raise self._away(status, said)
        if run.status == "completed":
            return Done([File(url, url.partition("?")[0].rpartition("/")[2], "video/mp4") for url in run.urls])
        if run.status in OVER:  # what failed there is paid back; of what was stopped, nobody says so
            return Failed(run.words, run.is_refusal, is_billed=run.status != "failed")
        return Running(None)  # also at a word that nobody told us of

    def cancel(self, external_id: str) -> bool:
        """Its record is deleted, which may stop it or not: nobody promises that it will not be billed."""
        answer = self._ask("POST", "/predictions/delete", {"ids": [external_id]})
        if answer.status in (404, 405):  # an older way of saying the same
            answer = self._ask("DELETE", f"/predictions/{quote(external_id, safe='')}")
        status, said = _opened(answer)
        if said is None or status not in (200, 404):
            raise self._away(status, said)
        return False

    def recent(self) -> Sequence[Seen]:
        return list(self._listed())

    def fetch(self, file: File, path: Path, heard: Callable[[], None]) -> None:
        is_its_own = places.is_below(file.url, self._media) or places.is_allowed(file.url, self.hosts)
        fetching.fetch(file.url, path, heard, is_its_own=is_its_own, is_public=not self.is_sandbox)

    def check(self) -> str:
        """Ask for the balance. Raises KeyRejected, OutOfMoney or Away."""
        dollars = self._admitted("GET", "/balance", Balance).balance
        if dollars <= 0:
            raise OutOfMoney(self.title)
        return f"{self.title} accepts the key. The account there has {dollars:.2f} US dollars."

    def _listed(self) -> Iterator[Seen]:
        since = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        end = time.monotonic() + line.LIST_SECONDS_MAX
        for page in range(1, PAGES_MAX + 1):
            if time.monotonic() > end:
                raise Away
            wanted = {"page": page, "page_size": PAGE_SIZE, "created_after": since}
            items = self._free("POST", "/predictions", Listed, wanted).items
            for item in items:
                if run := read(Prediction, item):
                    yield Seen(run.id, marker_in(json.dumps(item)), run.status in (*OVER, "completed"))
            if len(items) < PAGE_SIZE:
                return

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key.get_secret_value()}"}

    def _ask(self, method: str, path: str, body: object = None) -> Answer:
        """Something that costs nothing. Raises Away."""
        url = f"{self.url}/api/v3{path}"
        try:
            return line.ask(method, url, seconds=ASK_SECONDS, body=body, headers=self._headers)
        except NoAnswer as problem:
            raise Away from problem

    def _free(self, method: str, path: str, shape: type[Shape], body: object = None) -> Shape:
        """What comes back for something that costs nothing. Raises Away."""
        status, said = _opened(self._ask(method, path, body))
        found = read(shape, said.data) if said and status == 200 else None
        if found is None:
            raise self._away(status, said)
        return found

    def _admitted(self, method: str, path: str, shape: type[Shape], body: object = None) -> Shape:
        """The same, for those who want to know at once when it does not let us in. Raises AccountTrouble or Away."""
        try:
            return self._free(method, path, shape, body)
        except Away as away:
            if isinstance(away.__cause__, AccountTrouble):
                raise away.__cause__ from None
            raise

    def _trouble(self, status: int, said: Envelope | None) -> AccountTrouble | None:
        """Its words for having no money are not published: they may come with any status."""
        words = said.message.lower() if said and 400 <= status < 500 and status != 429 else ""
        if status == 402 or "balance" in words or "insufficient credit" in words:
            return OutOfMoney(self.title)
        return KeyRejected(self.title) if status in (401, 403) else None

    def _away(self, status: int, said: Envelope | None) -> Away:
        away = Away()
        away.__cause__ = self._trouble(status, said) or NoAnswer(f"status {status}", was_sent=True)
        return away


def _opened(answer: Answer) -> tuple[int, Envelope | None]:
    """The status of an answer, and its envelope if it has one; within a 200 the envelope's own code is the status."""
    said = read(Envelope, answer.body)
    return (said.code if said and answer.status == 200 else answer.status), said


def is_authentic(secret: str, *, webhook_id: str, sent_at: str, signature: str, body: bytes, now: float) -> bool:
    """Whether a webhook is WaveSpeed's, and no older than five minutes.

    `sent_at` (seconds since 1970) and `signature` (`v3,<hex>`) are its headers `webhook-timestamp` and
    `webhook-signature`. The secret is used as the text it is, not as base64 (wavespeed.ai/docs, verify-webhooks).
    """
    if not (secret and sent_at.isascii() and sent_at.isdigit() and len(sent_at) < 12):
        return False
    version, _, given = signature.partition(",")
    return (
        version == "v3"
        and abs(now - int(sent_at)) <= WEBHOOK_SECONDS
        and hmac.compare_digest(sign(secret, webhook_id, sent_at, body).encode(), given.encode())
    )


def sign(secret: str, webhook_id: str, sent_at: str, body: bytes) -> str:
    """The signature of a webhook, in hexadecimal digits."""
    message = f"{webhook_id}.{sent_at}.".encode() + body
    return hmac.new(secret.removeprefix("whsec_").encode(), message, hashlib.sha256).hexdigest()
