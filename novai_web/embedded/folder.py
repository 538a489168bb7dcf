"""The data folder: whose it is at the moment, and where its servers are while they run."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from novai_web.embedded.service import CannotStart

PATIENCE_SECONDS = 2  # for one that was just killed
LONGER_PATIENCE_SECONDS = 40  # for one that is stopping in good order
GOING = "stopping"


class Claim:
    """Held for as long as this process lives: the lock is the kernel's, so that kill -9 gives it back."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def say(self, what: str) -> None:
        """For whoever comes meanwhile: where we are to be found, or that we are going."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(what)
        self._file.flush()

    def say_going(self) -> None:
        self.say(GOING)


@contextmanager
def claimed(data: Path) -> Iterator[Claim]:
    """Make the folder if needed and take it. Raises CannotStart when another NOVAI has it."""
    try:
        _make(data)
        file = (data / "lock").open("a+")
    except OSError as problem:
        raise CannotStart(f"The data folder {data} cannot be used: {problem.strerror}. Set NOVAI_DATA.") from None
    with file:
        _lock(file, data)
        claim = Claim(file)
        claim.say(f"process {os.getppid()}")
        yield claim


def _make(data: Path) -> None:
    """Closed, but for root not so far that Postgres, which is another user then, cannot walk through to its own."""
    if not data.exists():
        data.mkdir(mode=0o700, parents=True)
        if not os.getuid():
            data.chmod(0o711)


def _lock(file: IO[str], data: Path) -> None:
    start = time.monotonic()
    while not _try_lock(file):
        file.seek(0)
        owner = file.read()
        patience = LONGER_PATIENCE_SECONDS if owner == GOING else PATIENCE_SECONDS
        if time.monotonic() - start > patience:
            raise CannotStart(
                f"NOVAI is already running on the data folder {data} ({owner}). "
                "Stop it first, or set NOVAI_DATA and NOVAI_PORT to start another one beside it."
            )
        time.sleep(0.1)


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
