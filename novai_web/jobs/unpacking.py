"""A ZIP of pictures becomes pictures of the library, in a collection of their own: each comes in like any upload."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from novai_web.config import Settings
from novai_web.db import transaction
from novai_web.engines.store import Store
from novai_web.engines.store.durable import disk_errors
from novai_web.engines.store.parts import Finished
from novai_web.errors import InvalidInput, TooLarge, UnusableMedia
from novai_web.jobs import arrivals
from novai_web.library import archives, collections, editing, uploads, words
from novai_web.library.archives import LeftOut, Unpacked
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Collection
from novai_web.library.uploads import Announced

ZIP_BYTES_MAX = 300 * archives.MEGABYTE


@dataclass(frozen=True)
class Taken:
    """The pictures of a ZIP as they are in the library now, in its order, and what of it was left out and why."""

    collection: Collection
    pictures: Sequence[Asset]
    left_out: Sequence[LeftOut]


def check_size(size_bytes: int) -> None:
    """Raises TooLarge for a ZIP that would not be opened."""
    if size_bytes > ZIP_BYTES_MAX:
        raise TooLarge(
            f"This ZIP is larger than {ZIP_BYTES_MAX // archives.MEGABYTE} MB. Send it in two; nothing was kept."
        )


def take_pictures(library: Library, filename: str, finished: Finished, store: Store, settings: Settings) -> Taken:
    """Open a ZIP that came in whole. Raises UnusableMedia for one that is not to be trusted: then nothing is kept.

    A picture that cannot be taken is left out and said; the others are kept. Opens its own transactions. Raises
    DiskFull or TooManyRequests on the way when there is no more room: what came in until then stays.
    """
    check_size(finished.size_bytes)
    settings.arriving_folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="zip-", dir=settings.arriving_folder))
    try:
        with disk_errors():
            opened = archives.open_pictures(finished.path, folder)
        if not opened.pictures:
            raise UnusableMedia("There are no pictures in this ZIP: JPEG, PNG and WebP are taken. Nothing was kept.")
        with transaction():
            uploads.admit(library, sum(each.path.stat().st_size for each in opened.pictures), settings, store)
            collection = collections.named(library, "image", _name(filename))
        return _take_each(library, opened, collection, store, settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _name(filename: str) -> str:
    stem = filename[:-4] if filename.lower().endswith(".zip") else filename
    return words.name_of_file(stem)[: collections.NAME_CHARACTERS_MAX]


def _take_each(
    library: Library, opened: archives.Opened, collection: Collection, store: Store, settings: Settings
) -> Taken:
    taken: dict[int, Asset] = {}
    left_out = list(opened.left_out)
    for picture in opened.pictures:
        try:
            asset = _take(library, picture, collection, store, settings)
        except (InvalidInput, UnusableMedia) as refused:
            said = " ".join(refused.fields.values()) if isinstance(refused, InvalidInput) else str(refused)
            left_out.append(LeftOut(picture.name, said))
            continue
        if asset.id in taken:
            left_out.append(LeftOut(picture.name, f"It is the same file as “{asset.name}”."))
        taken[asset.id] = asset
    return Taken(collection, list(taken.values()), left_out)


def _take(library: Library, picture: Unpacked, collection: Collection, store: Store, settings: Settings) -> Asset:
    with picture.path.open("rb") as file:
        sha256 = file_digest(file, "sha256").hexdigest()
    finished = Finished(picture.path, sha256, picture.path.stat().st_size)
    announced = Announced(
        size_bytes=finished.size_bytes, filename=picture.name, kind="image", collection_id=collection.id
    )
    asset = arrivals.take(library, announced, finished, store, settings).asset
    if picture.caption:
        with transaction():
            found = library.find(asset.id)
            editing.recaption(found, picture.caption)
    return asset
