"""The tasks of the sandbox of WaveSpeed: how they begin, how they stand, and what is told of them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from novai_web.sandbox.book import Book, Run
from novai_web.sandbox.shelf import Kept, Shelf
from novai_web.sandbox.wishes import wish
from novai_web.sandbox.workshop import BROKEN, Workshop

VENDOR = "wavespeed"
MODEL = "wavespeed-ai/video-face-swap"
KEPT_SECONDS = 7 * 24 * 3600
NEVER_SECONDS = 365 * 24 * 3600.0
FACES_MAX = 10
GENDERS = ("all", "female", "male")
FAILURES = {
    "refuse": (1200, "content policy violation detected in the input"),
    "fail": (1403, "task failed"),
    "lost": (1402, "failed to fetch media from the given URL"),
    BROKEN: (1402, "the media could not be decoded"),
}


class Wrong(Exception):
    """Answered in the envelope, with the same status around it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Tasks:
    """The tasks in `book`, and the files that were sent for them."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.shelf = Shelf(book.folder / f"{VENDOR}-files")
        self.workshop = Workshop(book, VENDOR)

    def start(self, model: str, given: Mapping[str, Any], marker: str) -> Run:
        """Raises Wrong for what is not even begun."""
        if model != MODEL:
            raise Wrong(404, f"model {model} not found")
        for name in ("video", "face_image"):
            if not isinstance(given.get(name), str):
                raise Wrong(400, f"{name} is required")
        which = given.get("target_index", 0)
        if isinstance(which, bool) or not isinstance(which, int) or not 0 <= which <= FACES_MAX:
            raise Wrong(400, "target_index must be between 0 and 10")
        if given.get("target_gender", "all") not in GENDERS:
            raise Wrong(400, f"target_gender must be one of {', '.join(GENDERS)}")
        wanted = wish(*(kept.name for kept in self._inputs(given) if kept))
        if wanted == "busy":
            raise Wrong(429, "too many requests")
        seconds = NEVER_SECONDS if wanted == "never" else None
        run = self.book.start(VENDOR, model, {**given, "wish": wanted}, seconds, marker)
        self.see_to(run)
        return run

    def find(self, run_id: str) -> Run:
        """Raises Wrong for a task that never was, or is no more."""
        run = self.book.find(run_id)
        if run is None or not is_kept(run):
            raise Wrong(404, "prediction not found")
        return run

    def all(self) -> list[Run]:
        """The newest first."""
        return [run for run in reversed(self.book.all(VENDOR)) if is_kept(run)]

    def delete(self, run_id: str) -> bool:
        """Forget a task, which does not stop it. False: there is none."""
        run = self.book.find(run_id)
        if run is None or not is_kept(run):
            return False
        self.book.note(run, deleted=True)
        return True

    def see_to(self, run: Run) -> None:
        """Let the workshop make its result, if its inputs are here."""
        video, face = self._inputs(run.wanted)
        if video and face and run.wanted["wish"] not in FAILURES:
            self.workshop.swap(run, video, face, int(run.wanted.get("target_index", 0)))

    def failure(self, run: Run) -> tuple[int, str] | None:
        """The code and the words with which it fails, or would if it were over."""
        if run.notes.get(BROKEN):
            return FAILURES[BROKEN]
        return FAILURES["lost"] if None in self._inputs(run.wanted) else FAILURES.get(run.wanted["wish"])

    def state(self, run: Run) -> str:
        if not run.is_over:
            return "warming_up" if run.wanted["wish"] == "odd" else "created" if run.is_queued else "processing"
        if self.failure(run):
            return "failed"
        return "completed" if self.workshop.made(run.id) else "processing"

    def shown(self, run: Run, address: str) -> dict[str, Any]:
        """A prediction, as submit, poll, list and webhook tell it. `address` is where the API is."""
        state, failure = self.state(run), self.failure(run)
        is_there = state == "completed" and run.wanted["wish"] != "nothing"
        code, words = failure if failure and state == "failed" else (0, "")
        return {
            "id": run.id,
            "model": run.model,
            "outputs": [_result(run, address)] if is_there else [],
            "urls": {"get": f"{address}/api/v3/predictions/{run.id}/result"},
            "has_nsfw_contents": [False] if is_there else [],
            "status": state,
            "created_at": moment(run.started_at),
            "error": words,
            "timings": {"inference": round(run.seconds * 1000) if run.is_over else 0},
            **({"code": code} if code else {}),
        }

    def _inputs(self, given: Mapping[str, Any]) -> list[Kept | None]:
        """The files that were sent before. From nowhere else is anything fetched."""
        return [self.shelf.named(given.get(name)) for name in ("video", "face_image")]


def is_kept(run: Run) -> bool:
    return run.vendor == VENDOR and run.age <= KEPT_SECONDS and not run.notes.get("deleted")


def moment(seconds: float) -> str:
    """A time in seconds since 1970, as ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _result(run: Run, address: str) -> str:
    if run.wanted["wish"] == "elsewhere":
        return "http://169.254.169.254/latest/meta-data/1.mp4"
    return f"{address}-media/predictions/{run.id}/1.mp4"
