"""How far a render is, in frames to encode or as much work as that."""

import threading
import time
from collections.abc import Callable

STEP = 0.002  # telling of less would tell nobody anything …
SECONDS = 5.0  # … but that there is life


class Progress:
    """The share of all meters that is done; it never goes back, and no meter runs over."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._all = 0.0
        self._done = 0.0
        self._told, self._told_at = 0.0, time.monotonic()

    def meter(self, expected: float) -> "Meter":
        self._all += expected
        return Meter(self, expected)

    def advance(self, work: float) -> None:
        with self._lock:
            self._done += work
            share = min(1.0, self._done / (self._all or 1.0))
            if share - self._told >= STEP or time.monotonic() - self._told_at >= SECONDS:
                self._say(share)

    def alive(self) -> None:
        """Work that no meter counts gets on. Whoever listens takes a long silence for the end."""
        with self._lock:
            if time.monotonic() - self._told_at >= SECONDS:
                self._say(self._told)

    def _say(self, share: float) -> None:
        self._told, self._told_at = share, time.monotonic()
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
