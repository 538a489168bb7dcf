"""The workshop of the sandbox: makes swapped videos beside the requests, one at a time, each once."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from novai_web.sandbox import pictures, swaps
from novai_web.sandbox.book import Book, Run
from novai_web.sandbox.shelf import Kept

BROKEN = "broken"  # what a run is noted to be whose inputs could not be read


class Workshop:
    """Results of one vendor's runs. They are made again when a killed sandbox had not finished them."""

    def __init__(self, book: Book, vendor: str) -> None:
        self._book = book
        self._folder = book.folder / f"{vendor}-made"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._hands = ThreadPoolExecutor(1, thread_name_prefix=f"{vendor}-workshop")
        self._underway: dict[str, Future[None]] = {}

    def made(self, run_id: str) -> Path | None:
        """The video of this run, if it is there."""
        path = self._path(run_id)
        return path if path.is_file() else None

    def swap(self, run: Run, video: Kept, face: Kept, which: int) -> None:
        """See to it that the video of this run is made. Returns at once, and does nothing the second time."""
        with self._lock:
            if run.id in self._underway or run.notes.get(BROKEN) or self.made(run.id):
                return
            self._underway[run.id] = self._hands.submit(self._swap, run, video, face, which)

    def _swap(self, run: Run, video: Kept, face: Kept, which: int) -> None:
        try:
            swaps.swapped(video.path, face.path, self._path(run.id), which=which)
        except (pictures.Unreadable, OSError) as problem:
            self._book.note(run, **{BROKEN: str(problem)})
        finally:
            with self._lock:
                del self._underway[run.id]

    def _path(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.mp4"
