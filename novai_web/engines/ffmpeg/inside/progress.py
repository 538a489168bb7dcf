"""How far a render is, in frames to encode or as much work as that."""

import threading
from collections.abc import Callable

STEP = 0.002  # telling of less would tell nobody anything


class Progress:
    """The share of all meters that is done; it never goes back, and no meter runs over."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._all = 0.0
        self._done = 0.0
        self._told = 0.0

    def meter(self, expected: float) -> "Meter":
        self._all += expected
        return Meter(self, expected)

    def advance(self, work: float) -> None:
        with self._lock:
            self._done += work
            share = min(1.0, self._done / (self._all or 1.0))
            if share - self._told < STEP:
                return
            self._told = share
            self._tell(share)


class Meter:
    """One thing to do, whose cost was guessed beforehand."""

    def __init__(self, progress: Progress, expected: float) -> None:
        self._progress, self._left = progress, expected

    def add(self, work: float) -> None:
        part = min(work, self._left)
        if part > 0:
            self._left -= part
            self._progress.advance(part)

    def finish(self) -> None:
        self.add(self._left)
