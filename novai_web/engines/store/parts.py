"""The file side of a resumable upload: bytes are only ever added at the end that is on the disk."""

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol
from uuid import uuid4

from novai_web.engines.store.durable import disk_errors, freeze, make_folder, sync
from novai_web.errors import Conflict, DiskFull, NotFound, TooLarge

CHUNK_BYTES = 256 * 1024
_UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_FULL = "The storage is full. What has arrived is kept: free some space, then continue this upload."
_BUSY = "Another tab or an earlier connection is still sending this file. Try again in a moment."
_MORE = "More bytes arrived than were announced. None of this part was kept."


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Finished(NamedTuple):
    path: Path
    sha256: str
    size_bytes: int


class PartialFile:
    """One upload in its own folder below `folder`: `length` (announced), then `data`, which ends as `whole`.

    The size of the file is the offset: there is no second record of it that could disagree. One process at a
    time may change an upload; the kernel frees its lock when that process dies.
    """

    def __init__(self, folder: Path, upload_id: str) -> None:
        if not _UPLOAD_ID.fullmatch(upload_id):
            raise NotFound
        self._folder = folder / upload_id
        self._length = self._folder / "length"
        self._data = self._folder / "data"
        self._whole = self._folder / "whole"

    def create(self, length: int) -> None:
        """Begin an upload of `length` bytes. Raises DiskFull now rather than after sending them, and Conflict."""
        with disk_errors():
            make_folder(self._folder.parent)
            if shutil.disk_usage(self._folder.parent).free < length:
                raise DiskFull
            try:
                self._folder.mkdir()
            except FileExistsError:
                raise Conflict("An upload of this name has begun already.") from None
            self._data.touch()
            announced = self._folder / uuid4().hex
            announced.write_text(str(length))
            sync(announced)
            announced.replace(self._length)  # an upload exists from here on
            sync(self._folder)
            sync(self._folder.parent)

    @property
    def upload_id(self) -> str:
        return self._folder.name

    @property
    def length(self) -> int:
        """Bytes announced."""
        with disk_errors(), _missing():
            return int(self._length.read_text())

    @property
    def offset(self) -> int:
        """Bytes that have arrived: where to go on."""
        length = self.length
        if self._whole.exists():
            return length
        with disk_errors(), _missing():
            return self._data.stat().st_size

    def append(self, offset: int, stream: Readable, limit: int | None = None) -> int:
        """Add what `stream` has, at most `limit` bytes if that is known, and return the new offset.

        Raises Conflict when `offset` is not where the file ends or somebody else is writing, TooLarge when there
        is more than was announced, DiskFull, and whatever reading the stream raises. All but TooLarge keep what
        arrived before.
        """
        with self._alone():
            reached, left = self.offset, self.length - self.offset
            if offset != reached:
                raise Conflict(f"This upload continues at byte {reached}, not {offset}.")
            if limit is not None and limit > left:
                raise TooLarge(_MORE)
            if left == 0:
                return reached
            with disk_errors(), _missing():
                target = os.open(self._data, os.O_WRONLY | os.O_APPEND)
            try:
                _pour(stream, target, left if limit is None else limit)
                if limit is None and os.fstat(target).st_size == self.length and stream.read(1):
                    os.ftruncate(target, reached)
                    raise TooLarge(_MORE)
            finally:
                with disk_errors(_FULL):
                    try:
                        os.fsync(target)
                    finally:
                        os.close(target)
            return self.offset

    def finish(self) -> Finished:
        """The whole file, now for reading only, with its hash (about half a second a gigabyte). May be repeated."""
        with self._alone():
            if self.offset != self.length:
                raise Conflict(f"This upload has {self.offset} of {self.length} bytes; send the rest first.")
            with disk_errors(), _missing():
                if not self._whole.exists():
                    sync(self._data)
                    freeze(self._data)
                    self._data.replace(self._whole)
                    sync(self._folder)
                with self._whole.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    return Finished(self._whole, digest, os.fstat(file.fileno()).st_size)

    def discard(self) -> None:
        """Forget the upload and its bytes; fine when there is none. Raises Conflict while somebody is writing."""
        with suppress(NotFound), self._alone(), disk_errors():
            self._length.unlink(missing_ok=True)  # no upload from here on, whatever is left of it
            shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the upload's folder; Conflict if somebody else does."""
        with disk_errors(), _missing():
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(_BUSY) from None
            with disk_errors(), _missing():  # discarded, and perhaps begun anew, before we held it
                if not os.path.samestat(os.fstat(descriptor), self._folder.stat()):
                    raise NotFound
            yield
        finally:
            os.close(descriptor)


def abandoned(folder: Path, seconds: float) -> Iterator[PartialFile]:
    """Uploads below `folder` that nothing has happened to for that long."""
    with suppress(FileNotFoundError):
        for entry in folder.iterdir():
            with suppress(FileNotFoundError, NotADirectoryError, NotFound):
                newest = max(file.stat().st_mtime for file in (entry, *entry.iterdir()))
                if time.time() - newest > seconds:
                    yield PartialFile(folder, entry.name)


def _pour(stream: Readable, target: int, most: int) -> None:
    while most > 0 and (chunk := stream.read(min(CHUNK_BYTES, most))):
        most -= len(chunk)
        left = memoryview(chunk)
        with disk_errors(_FULL):
            while left:
                left = left[os.write(target, left) :]


@contextmanager
def _missing() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("There is no such upload. It may have expired; begin it again.") from None
