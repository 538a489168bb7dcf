"""The client of Picsi, which puts faces into videos, as far as its contract can be guessed.

No contract of Picsi is public. What it is asked, where, and what its words mean are settings; the names of the
fields are those of a client that was seen in public and never confirmed. So every field is read with patience, and
what cannot be read is waited for.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, JsonValue, SecretStr

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
    sentence,
    share,
)
from novai_web.vendors.line import Answer, NoAnswer
from novai_web.vendors.wavespeed_answers import read

ASK_SECONDS = 10.0
SEND_SECONDS = 600.0
UPLOAD_BYTES_MAX = 200 * 1024 * 1024
FACES_MAX = 10
URL_CHARACTERS_MAX = 2000


def _in_letters(said: object) -> object:
    return str(said) if type(said) is int else said


class Job(BaseModel):
    """A run, as it is answered to a start and to a poll. An id may be a number: whoever cannot read one pays again."""

    id: Annotated[str, BeforeValidator(_in_letters)] = Field(
        min_length=1,
        max_length=200,
        pattern=r"^[A-Za-z0-9_-]+$",
        validation_alias=AliasChoices("job_id", "id", "request_id"),
    )
    status: str = Field("", max_length=100)
    progress: JsonValue = None
    url: JsonValue = Field(None, validation_alias=AliasChoices("result_url", "url"))
    error: JsonValue = Field(None, validation_alias=AliasChoices("error_message", "error"))


class Sent(BaseModel):
    url: str = Field(max_length=URL_CHARACTERS_MAX, validation_alias=AliasChoices("url", "file_url", "download_url"))


class Said(BaseModel):
    """An answer that says no in words that can be a vendor's."""

    words: str = Field(validation_alias=AliasChoices("error_message", "message", "error", "detail"))


class Picsi:
    """Picsi at `url`. `statuses` says what each status of its own means: running, done, failed, refused, cancelled."""

    name = "picsi"
    title = "Picsi"
    is_dear = False
    longest_run_seconds = 3600.0
    listed_within_seconds = 10.0
    start_seconds: float | None = None
    has_list = False

    def __init__(
        self,
        url: str,
        key: SecretStr,
        *,
        model: str,
        submit_path: str,
        poll_path: str,
        statuses: Mapping[str, str],
        hosts: Sequence[str],
        upload_path: str = "/uploads",
        is_sandbox: bool = False,
    ) -> None:
        """`poll_path` has `{id}` where the run's id belongs. `hosts`: where its files lie; none: where it is itself."""
        self.url, self.model, self.is_sandbox = url.rstrip("/"), model, is_sandbox
        self.submit_path, self.poll_path, self.upload_path = submit_path, poll_path, upload_path
        self.statuses = {said.lower(): meaning for said, meaning in statuses.items()}
        self.hosts = tuple(hosts) or (urlsplit(self.url).hostname or "",)
        self._key = key

    def upload(self, path: Path, mime: str, name: str, heard: Callable[[], None]) -> str:
        if path.stat().st_size > UPLOAD_BYTES_MAX:
            raise Refused(f"It takes files of up to {UPLOAD_BYTES_MAX // 1024**2} MB. Use a smaller one.")
        url = f"{self.url}{self.upload_path}"
        headers = {**self._headers, "Content-Type": mime, "X-File-Name": quote(name)}
        try:
            answer = line.send(
                url,
                path,
                seconds=SEND_SECONDS,
                heard=heard,
                headers=headers,
                method="POST",
                is_public=False,  # the address is a setting of an administrator's
            )
        except NoAnswer as problem:
            raise Away from problem
        if trouble := self._trouble(answer):
            raise trouble
        sent = read(Sent, answer.body) if 200 <= answer.status < 300 else None
        if sent is not None and sent.url.isprintable():
            return sent.url
        said = read(Said, answer.body)
        if said and 400 <= answer.status < 500 and answer.status not in line.COME_BACK:
            raise Refused(said.words)
        raise self._away(answer)

    def swap_request(self, *, video_url: str, face_url: str, which: int) -> dict[str, Any]:
        """`which` face of the video, from 0 to 10."""
        if not 0 <= which <= FACES_MAX:
            raise ValueError(f"no such face: {which}")
        given = {
            "source_video_url": video_url,
            "face_image_url": face_url,
            "target_face_index": which,
            "model": self.model,
        }
        return {"model": self.model, "input": given}

    def start(self, request: Mapping[str, Any], marker: str, timeout: float) -> str:
        headers = {**self._headers, "X-Novai-Run": marker}
        try:
            answer = line.ask(
                "POST", f"{self.url}{self.submit_path}", seconds=timeout, body=request["input"], headers=headers
            )
        except NoAnswer as problem:
            raise (Doubtful(str(problem)) if problem.was_sent else NotStarted()) from problem
        if 200 <= answer.status < 300 and (started := read(Job, answer.body)):
            return started.id
        if trouble := self._trouble(answer):
            raise trouble
        said = read(Said, answer.body)
        if said and answer.status in (429, 503):
            raise NotStarted(answer.retry_after)
        if said and 400 <= answer.status < 500 and answer.status != 408:
            raise Refused(said.words)
        raise Doubtful(f"status {answer.status}")

    def find(self, marker: str) -> None:
        """No list of it is known."""
        return

    def poll(self, external_id: str) -> Running | Done | Failed | Unknown:
        path = self.poll_path.replace("{id}", quote(external_id, safe=""))
        answer = self._ask("GET", path)
        if answer.status == 404 and read(Said, answer.body):
            return Unknown()
        job = read(Job, answer.body) if answer.status == 200 else None
        if job is None or job.id != external_id:
            raise self._away(answer)
        meaning = self.statuses.get(job.status.lower(), "running")
        if meaning == "running":
            return Running(_share(job.progress))
        if meaning == "done":
            is_there = isinstance(job.url, str) and 0 < len(job.url) <= URL_CHARACTERS_MAX
            return Done([File(str(job.url), "swapped.mp4", "video/mp4")] if is_there else [])
        if meaning == "cancelled":
            return Failed("It was cancelled there.")
        return Failed(sentence(job.error) if job.error else "It did not say why.", meaning == "refused")

    def cancel(self, external_id: str) -> bool:
        """No way of stopping it is known, so it is taken to be billed."""
        return False

    def recent(self) -> Sequence[Seen]:
        """No list of it is known."""
        return ()

    def fetch(self, file: File, path: Path, heard: Callable[[], None]) -> None:
        is_below, is_allowed = places.is_below(file.url, self.url), places.is_allowed(file.url, self.hosts)
        is_its_own = is_below if self.is_sandbox else is_allowed
        fetching.fetch(file.url, path, heard, is_its_own=is_its_own, is_public=not self.is_sandbox)

    def check(self) -> str:
        """Ask for a run that cannot be there. Raises KeyRejected, OutOfMoney or Away."""
        answer = self._ask("GET", self.poll_path.replace("{id}", "novai-check"))
        if trouble := self._trouble(answer):
            raise trouble
        if not (400 <= answer.status < 500 and read(Said, answer.body)):
            raise self._away(answer)
        return (
            f"{self.title} answers and does not reject the key. Its contract is not public, so no more can be "
            "tried without paying."
        )

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key.get_secret_value()}"}

    def _ask(self, method: str, path: str) -> Answer:
        """Something that costs nothing. Raises Away."""
        try:
            return line.ask(method, f"{self.url}{path}", seconds=ASK_SECONDS, headers=self._headers)
        except NoAnswer as problem:
            raise Away from problem

    def _trouble(self, answer: Answer) -> AccountTrouble | None:
        if answer.status == 402:
            return OutOfMoney(self.title)
        return KeyRejected(self.title) if answer.status in (401, 403) else None

    def _away(self, answer: Answer) -> Away:
        away = Away()
        away.__cause__ = self._trouble(answer) or NoAnswer(f"status {answer.status}", was_sent=True)
        return away


def _share(said: JsonValue) -> float | None:
    """Progress may be a share or a percentage; only what is above 1 is surely the latter."""
    found = share(said)
    return share(said / 100) if found == 1.0 and isinstance(said, int | float) and said > 1 else found
