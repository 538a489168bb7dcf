"""Files that are still there after a power cut, and disk errors as sentences."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from novai_web.errors import DiskFull, StoreFailed, TooLarge

# What link() says when this pair of places cannot share a file; a copy then does.
_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}


@contextmanager
def disk_errors(when_full: str | None = None) -> Iterator[None]:
    """Disk trouble becomes DiskFull, TooLarge or StoreFailed."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(when_full) from error
        if error.errno == errno.EFBIG:
            raise TooLarge("This file is larger than the disk's file system allows.") from error
        raise StoreFailed("The disk of this installation did not work. Nothing was lost; try again.") from error


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, each of them durable."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
        sync(folder.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same bytes where the file system can, otherwise a copy. `target` must be new."""
    real = source.resolve(strict=True)  # link() would link a symbolic link itself
    try:
        target.hardlink_to(real)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        shutil.copyfile(real, target)


def freeze(path: Path) -> None:
    """Take away the right to write: these bytes may have several names."""
    with suppress(PermissionError):  # linked, and owned by somebody else
        path.chmod(path.stat().st_mode & 0o7555)
