"""Many files as one ZIP, written while it is read: nothing is copied to disk or kept in memory."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from zipstream import ZIP_STORED, ZipStream

from novai_web.engines.store import Store
from novai_web.library import words
from novai_web.library.models import Asset

FILES_MAX = 5000


class Entry(NamedTuple):
    name: str
    key: str
    size_bytes: int


def entries(assets: Sequence[Asset]) -> list[Entry]:
    """What goes into an archive of these: those that have a file, under names that are safe and differ."""
    taken: set[str] = set()
    return [
        Entry(unique(words.file_name(asset.file_name), taken), asset.store_key, asset.size_bytes)
        for asset in assets
        if asset.store_key
    ]


def unique(name: str, taken: set[str]) -> str:
    """`name`, or "name (2)" and so on when it is taken; two names that differ only in case are one on many disks."""
    path, number, found = PurePosixPath(name), 1, name
    while found.casefold() in taken:
        number += 1
        found = f"{path.stem} ({number}){path.suffix}"
    taken.add(found.casefold())
    return found


def stream(store: Store, given: Sequence[Entry]) -> ZipStream:
    """The archive. Iterate over it for its bytes; `len()` is its size, known beforehand as media is stored as it is."""
    archive = ZipStream(compress_type=ZIP_STORED, sized=True)
    for entry in given:
        archive.add(_read(store, entry.key), entry.name, size=entry.size_bytes)
    return archive


def _read(store: Store, key: str) -> Iterator[bytes]:
    """Opened only when its turn comes."""
    yield from store.read(key)
