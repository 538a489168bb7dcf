"""The store on this machine's disk: one file an object, linked into place whole."""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from uuid import uuid4

from novai_web.engines.store.durable import disk_errors, freeze, link_or_copy, make_folder, sync
from novai_web.engines.store.keys import check_key, check_prefix, check_range
from novai_web.errors import NotFound, StoreFailed

CHUNK_BYTES = 256 * 1024
ABANDONED_SECONDS = 24 * 3600
_ATTEMPTS = 20


class LocalStore:
    """Objects below `root`. Several processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / ".incoming"  # no key begins with a dot
        with disk_errors():
            make_folder(self._incoming)
            self._sweep()

    def __repr__(self) -> str:
        return f"LocalStore({str(self._root)!r})"

    def put(self, key: str, path: Path, content_type: str) -> None:
        """`content_type` is not kept: the database knows it, and the door that serves the file says it."""
        target = self._path(key)
        path.stat()  # a missing source is the caller's error, not the disk's
        arriving = self._incoming / uuid4().hex
        try:
            with disk_errors():
                make_folder(self._incoming)
                link_or_copy(path, arriving)
                freeze(arriving)
                sync(arriving)
                self._move_in(arriving, target)
        finally:
            # Still there after an error, and when it is a second name of what was stored already.
            arriving.unlink(missing_ok=True)

    def fetch(self, key: str, path: Path) -> None:
        source = self.local_path(key)
        path.parent.stat()  # a missing folder is the caller's error
        arriving = path.with_name(f".{uuid4().hex}")
        try:
            with disk_errors(), _vanished():
                link_or_copy(source, arriving)
                arriving.replace(path)
        finally:
            arriving.unlink(missing_ok=True)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        check_range(start, end)
        path = self.local_path(key)
        with disk_errors(), _vanished():
            return _chunks(path.open("rb", buffering=0), start, end)

    def local_path(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise NotFound
        return path

    def link(self, key: str, *, seconds: int, download_name: str | None = None) -> None:
        check_key(key)

    def size(self, key: str) -> int | None:
        with suppress(NotFound), disk_errors(), _vanished():
            return self.local_path(key).stat().st_size
        return None

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self._path(key)
            with disk_errors():
                if path.is_file():
                    path.unlink(missing_ok=True)
            self._prune(path.parent)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        return self._below(self._root / check_prefix(prefix))

    def free_bytes(self) -> int:
        with disk_errors():
            return shutil.disk_usage(self._root).free

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _move_in(self, arriving: Path, target: Path) -> None:
        for _ in range(_ATTEMPTS):
            with suppress(FileNotFoundError):  # a delete may remove the folder just then, because it is empty
                make_folder(target.parent)
                arriving.replace(target)
                break
        else:
            raise StoreFailed
        with suppress(FileNotFoundError):  # deleted already
            sync(target.parent)

    def _prune(self, folder: Path) -> None:
        """Remove folders that have become empty, from the inside out."""
        with suppress(OSError):  # not empty, or gone already
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent

    def _below(self, folder: Path) -> Iterator[tuple[str, int]]:
        with suppress(FileNotFoundError, NotADirectoryError):  # deleted while we look
            for entry in folder.iterdir():
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    yield from self._below(entry)
                    continue
                with suppress(FileNotFoundError):
                    yield entry.relative_to(self._root).as_posix(), entry.stat().st_size

    def _sweep(self) -> None:
        """What a process that was killed in the middle of `put` left behind."""
        for leftover in self._incoming.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - leftover.stat().st_ctime > ABANDONED_SECONDS:
                    leftover.unlink()


@contextmanager
def _vanished() -> Iterator[None]:
    """Deleted between looking and opening is the same as not there."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound from None


def _chunks(file: FileIO, start: int, end: int | None) -> Iterator[bytes]:
    with file:
        file.seek(start)
        left = end - start if end is not None else None
        while left is None or left > 0:
            with disk_errors():
                chunk = file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
            if not chunk:
                return
            left = None if left is None else left - len(chunk)
            yield chunk
