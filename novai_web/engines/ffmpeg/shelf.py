"""Finished sounds that stay on a worker's disk, so that the next job need not make the same one again."""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

LOCKS = 256  # files to lock, for ever the same; two keys that share one only wait for each other
LOCK_SECONDS_MAX = 60.0  # a child that is silent for longer is taken for stuck
POLL_SECONDS = 0.05
SPARED_SECONDS = 120.0  # what was used so lately may be about to be opened
ABANDONED_SECONDS = 3600.0

_KEY = re.compile(r"[0-9a-f]{64}")


class Shelf:
    """Files under SHA-256 keys that say all that decides what is in them. Many processes may share a folder.

    A key begins with the bytes of what a file was made from, so whoever asks for it has those bytes already.
    Whatever ends a process, and whenever: a file is here whole or not at all, and nothing stays locked.
    """

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self.folder, self.bytes_max = folder, bytes_max
        self._locks = folder / "locks"
        self._locks.mkdir(parents=True, exist_ok=True)

    def take(self, key: str) -> Path | None:
        """The file, for reading only; open it soon. It counts as used now."""
        path = self._path(key)
        with suppress(FileNotFoundError):
            os.utime(path)
            return path
        return None

    def put(self, key: str, path: Path) -> Path:
        """Shelve a finished file, if it is not too large. Returns where to read it; `path` may be gone afterwards."""
        size = path.stat().st_size
        if size > self.bytes_max:
            return path
        target, arriving = self._path(key), self.folder / f".{uuid4().hex}"
        shutil.move(path, arriving)  # a rename, unless the folders lie on two disks
        arriving.chmod(0o444)
        _sync(arriving)
        os.utime(arriving)
        arriving.replace(target)
        self._prune()
        return target

    def forget(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    @contextmanager
    def lock(self, key: str, seconds: float = LOCK_SECONDS_MAX) -> Iterator[bool]:
        """Held while a file is made, so that nobody else makes the same one. Says whether it is ours.

        It saves work and guards nothing: whoever has waited for so long goes on without it, or makes another first.
        """
        number = int(self._path(key).name, 16) % LOCKS
        with (self._locks / f"{number:02x}").open("w") as file:
            end = time.monotonic() + seconds
            while not (ours := _locked(file.fileno())) and time.monotonic() < end:
                time.sleep(POLL_SECONDS)
            yield ours  # closing the file unlocks it

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a key of a shelf: {key[:100]!r}")
        return self.folder / key

    def _prune(self) -> None:
        """Down to the limit, the longest unused first. One process at a time; the others leave it to that one."""
        with (self._locks / "pruning").open("w") as file:
            if not _locked(file.fileno()):
                return
            now = time.time()
            total = 0
            for used_at, size, path in self._shelved():
                total += size
                if total > self.bytes_max and now - used_at > SPARED_SECONDS:
                    path.unlink(missing_ok=True)

    def _shelved(self) -> list[tuple[float, int, Path]]:
        """When each file was used, its size and where it is, the latest first. What a killed process left goes."""
        found = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):
                state = path.stat()
                if _KEY.fullmatch(path.name):
                    found.append((state.st_mtime, state.st_size, path))
                elif path.name.startswith(".") and time.time() - state.st_mtime > ABANDONED_SECONDS:
                    path.unlink(missing_ok=True)
        return sorted(found, reverse=True)


def _locked(descriptor: int) -> bool:
    """Whether it is ours now. The kernel gives it back when the file is closed, or its process ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync(path: Path) -> None:
    """A name that outlives a power cut should lead to the bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
