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

from novai_web import failpoints
from novai_web.engines.store.durable import disk_errors, freeze, make_folder, sync
from novai_web.errors import Conflict, DiskFull, NotFound, TooLarge

CHUNK_BYTES = 256 * 1024
_UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_FULL = "The storage is full. What has arrived is kept: free some space, then continue this upload."
_MORE = "More bytes arrived than were announced. Begin this upload again."


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Finished(NamedTuple):
    path: Path
    sha256: str
    size_bytes: int


class PartialFile:
    """One upload in its own folder below `folder`: `length` (announced), then `data`, which ends as `whole`.

    The size of the file is the offset: there is no second record of it that could disagree. Each piece is written
    under a lock, which the kernel frees when its holder dies, and only where the file then ends. So a request that
    resumes overtakes one whose connection hangs, and what that one still sends is refused instead of mixed in.
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

        Raises Conflict when `offset` is not where the file ends, or no longer is because another request went on
        from there; TooLarge when there is more than was announced; DiskFull; and whatever reading the stream
        raises. In each case what arrived before is kept, and is on the disk.
        """
        length = self.length
        self._check_offset(offset)
        if limit is not None and offset + limit > length:
            raise TooLarge(_MORE)
        wanted = length - offset + 1 if limit is None else limit  # one more, to see that there is no more
        try:
            while wanted and (chunk := stream.read(min(CHUNK_BYTES, wanted))):
                if offset + len(chunk) > length:
                    raise TooLarge(_MORE)
                self._add(offset, chunk)
                offset += len(chunk)
                wanted -= len(chunk)
        finally:
            with disk_errors(_FULL), suppress(FileNotFoundError):  # finished or discarded meanwhile
                sync(self._data)
        return offset

    def finish(self) -> Finished:
        """The whole file, now for reading only, with its hash (about half a second a gigabyte). May be repeated."""
        with self._alone():
            offset, length = self.offset, self.length
            if offset != length:
                raise Conflict(f"This upload has {offset} of {length} bytes; send the rest first.")
            with disk_errors(), _missing():
                if not self._whole.exists():
                    sync(self._data)
                    freeze(self._data)
                    failpoints.hit("upload.after_write")
                    self._data.replace(self._whole)
                    failpoints.hit("upload.after_rename")
                    sync(self._folder)
                with self._whole.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    return Finished(self._whole, digest, os.fstat(file.fileno()).st_size)

    def discard(self) -> None:
        """Forget the upload and its bytes; fine when there is none."""
        with suppress(NotFound), self._alone(), disk_errors():
            self._length.unlink(missing_ok=True)  # no upload from here on, whatever is left of it
            shutil.rmtree(self._folder, ignore_errors=True)

    def _add(self, offset: int, chunk: bytes) -> None:
        with self._alone():
            self._check_offset(offset)
            with disk_errors(_FULL), _missing(), self._data.open("ab", buffering=0) as file:
                left = memoryview(chunk)
                while left:
                    left = left[file.write(left) :]

    def _check_offset(self, offset: int) -> None:
        reached = self.offset
        if offset != reached:
            raise Conflict(f"This upload continues at byte {reached}, not {offset}.")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the upload's folder. Never while waiting for a sender, who may be gone without a word."""
        with disk_errors(), _missing():
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
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


@contextmanager
def _missing() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("There is no such upload. It may have expired; begin it again.") from None
