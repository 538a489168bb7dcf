"""The client of our sandbox vendor, which stands in for those that are paid: see `novai_web/sandbox/runs.py`."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, Field, JsonValue, ValidationError

from novai_web.vendors import (
    Away,
    Done,
    Doubtful,
    Failed,
    File,
    NotStarted,
    Refused,
    Running,
    Seen,
    Unknown,
    VendorFailed,
    line,
    share,
)
from novai_web.vendors.line import Answer, NoAnswer

ASK_SECONDS = 10.0
FETCH_SECONDS = 120.0
FILE_BYTES_MAX = 64 * 1024 * 1024
DAY_SECONDS = 24 * 3600
BUSY = (429, 503)
ID = Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_-]+$")


class Started(BaseModel):
    id: str = ID


class FileSeen(BaseModel):
    url: str = Field(max_length=2000)
    name: str = Field(max_length=200)
    mime: str = Field(max_length=100)


class RunSeen(BaseModel):
    id: str = ID
    marker: str = Field(max_length=200)
    status: Literal["running", "done", "failed", "refused", "cancelled"]
    progress: JsonValue = None  # read by `share`: nonsense here is no reason to lose the rest
    files: list[FileSeen] = Field([], max_length=100)
    error: str | None = None
    cost_credits: int | None = Field(None, ge=0, le=1_000_000)


class Listed(BaseModel):
    runs: list[RunSeen] = Field(max_length=100_000)


class Said(BaseModel):
    """An answer that says no in the vendor's own words, and not in those of something between us."""

    sandbox: Literal[True]
    error: str


Shape = TypeVar("Shape", bound=BaseModel)


class SandboxRuns:
    """The sandbox vendor at `url`."""

    name = "sandbox"
    title = "the sandbox vendor"
    is_sandbox = True
    longest_run_seconds = 600.0
    start_seconds = None
    has_list = True

    def __init__(self, url: str, *, is_dear: bool = False, listed_within_seconds: float = 8.0) -> None:
        self.url = url.rstrip("/")
        self.is_dear = is_dear
        self.listed_within_seconds = listed_within_seconds

    def start(self, request: Mapping[str, Any], marker: str, timeout: float) -> str:
        try:
            answer = line.ask("POST", f"{self.url}/runs", seconds=timeout, body={**request, "marker": marker})
        except NoAnswer as problem:
            raise (Doubtful(str(problem)) if problem.was_sent else NotStarted()) from problem
        if answer.status == 201 and (started := _read(Started, answer)):
            return started.id
        said = _read(Said, answer)
        if said and answer.status in BUSY:
            raise NotStarted(answer.retry_after)
        if said and 400 <= answer.status < 500 and answer.status != 408:
            raise Refused(said.error)
        raise Doubtful(f"status {answer.status}")

    def find(self, marker: str) -> str | None:
        found = self._list(marker=marker)
        return next((run.external_id for run in found if run.marker == marker), None)

    def poll(self, external_id: str) -> Running | Done | Failed | Unknown:
        answer = self._ask("GET", f"/runs/{quote(external_id, safe='')}")
        if answer.status == 404 and _read(Said, answer):
            return Unknown()
        run = _read(RunSeen, answer) if answer.status == 200 else None
        if run is None or run.id != external_id:
            raise Away
        if run.status == "running":
            return Running(share(run.progress))
        if run.status == "done":
            return Done([File(file.url, file.name, file.mime) for file in run.files], run.cost_credits)
        if run.status == "cancelled":
            return Failed("It was cancelled there.")
        return Failed(run.error or "It did not say why.", run.status == "refused")

    def cancel(self, external_id: str) -> bool:
        answer = self._ask("DELETE", f"/runs/{quote(external_id, safe='')}")
        if answer.status == 404 and _read(Said, answer):
            return True  # a run that it does not know is one that it does not bill
        run = _read(RunSeen, answer)
        if run is None or run.id != external_id or answer.status not in (200, 409):
            raise Away
        return run.status != "done"

    def recent(self) -> Sequence[Seen]:
        return self._list(since=f"{time.time() - DAY_SECONDS:.0f}")

    def check(self) -> str:
        self._list(since=f"{time.time():.0f}")
        return "It answers."

    def fetch(self, file: File, path: Path, heard: Callable[[], None]) -> None:
        if not file.url.startswith(f"{self.url}/files/"):
            raise VendorFailed("It points to a file that is not its own.")
        try:
            line.download(file.url, path, seconds=FETCH_SECONDS, bytes_max=FILE_BYTES_MAX, heard=heard)
        except NoAnswer as problem:
            raise Away from problem

    def _list(self, **wanted: str) -> Sequence[Seen]:
        answer = self._ask("GET", f"/runs?{urlencode(wanted)}", bytes_max=FILE_BYTES_MAX)
        listed = _read(Listed, answer) if answer.status == 200 else None
        if listed is None:
            raise Away
        return [Seen(run.id, run.marker, run.status != "running") for run in listed.runs]

    def _ask(self, method: str, path: str, bytes_max: int = line.ANSWER_BYTES_MAX) -> Answer:
        try:
            return line.ask(method, f"{self.url}{path}", seconds=ASK_SECONDS, bytes_max=bytes_max)
        except NoAnswer as problem:
            raise Away from problem


def _read(shape: type[Shape], answer: Answer) -> Shape | None:
    """The answer in this shape, if it has it: whatever else it is says nothing."""
    try:
        return shape.model_validate_json(answer.body)
    except ValidationError:
        return None
