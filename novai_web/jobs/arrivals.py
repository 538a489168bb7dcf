"""The last step of every upload, whichever door it came through: stored, in the library, and being looked at."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.engines.store import Store
from novai_web.engines.store.parts import Finished
from novai_web.errors import InvalidInput, UnusableMedia
from novai_web.jobs.submitting import submit_internal
from novai_web.library import files, safetensors, uploads
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Upload
from novai_web.library.sniffing import Sniffed
from novai_web.library.uploads import Announced
from novai_web.tools import preparing


@dataclass(frozen=True)
class Received:
    """The asset an upload ended in, and whether it was in the library already."""

    asset: Asset
    is_duplicate: bool


@dataclass(frozen=True)
class Seen:
    """What is known of a file that was looked at before, and its previews, so that nobody has to do it again."""

    media: Mapping[str, Any]
    previews: Mapping[str, Path]


def take(
    library: Library,
    announced: Announced,
    finished: Finished,
    store: Store,
    settings: Settings,
    seen: Seen | None = None,
) -> Received:
    """A file that came in whole, with a form. Raises what `uploads.begin` and `receive` raise."""
    with transaction():
        upload = uploads.begin(library, announced, settings, store)
    return receive(upload, finished, store, settings, seen)


def receive(upload: Upload, finished: Finished, store: Store, settings: Settings, seen: Seen | None = None) -> Received:
    """Turn a whole file into an asset. May be repeated after a crash anywhere: it goes on where it stopped.

    Opens its own transactions, because a large file may take longer to store than a transaction should live.
    Raises UnusableMedia or InvalidInput when the file is refused: then nothing of it is kept.
    """
    try:
        found = uploads.inspect(upload, finished)
        with transaction():
            linked = uploads.link(upload, finished.sha256)
            reserved_id = None if linked else uploads.reserve(upload)
    except (UnusableMedia, InvalidInput):
        with transaction():
            uploads.forget(upload)
        uploads.partial(upload, settings).discard()
        raise
    received = Received(linked, True) if linked else _store(upload, finished, found, reserved_id or 0, store, seen)
    uploads.partial(upload, settings).discard()
    return received


def add_high(library: Library, asset_id: int, finished: Finished, store: Store, settings: Settings) -> Asset:
    """Give a model that came from elsewhere its second file: models of Wan 2.2 are pairs, and come as two uploads.

    Raises NotFound, InvalidInput, TooLarge, DiskFull, and UnusableMedia for what are no weights. Opens its own
    transactions: a file that is stored when the second of them is not written is found and cleared by `fsck`.
    """
    with transaction():
        _check_takes_high(library.find(asset_id))
        uploads.admit(library, finished.size_bytes, settings, store)
    weights = safetensors.read(finished.path)
    key = files.key(asset_id, "high", "safetensors")
    store.put(key, finished.path, files.mime_of(key))
    with transaction():
        asset = library.find(asset_id)
        session.refresh(asset, with_for_update=True)
        _check_takes_high(asset)
        asset.previews = asset.previews | {"high": key}
        asset.media = asset.media | {"high": weights.to_json()}
    return asset


def _check_takes_high(asset: Asset) -> None:
    if asset.kind != "model" or asset.type != "source" or not asset.is_ready:
        raise InvalidInput({"file": "Only a model that came from elsewhere, and is ready, takes a second file."})
    if asset.has("high"):
        raise InvalidInput({"file": "This model has its high-noise weights already. Upload the pair as a new model."})


def _store(
    upload: Upload, finished: Finished, found: Sniffed, asset_id: int, store: Store, seen: Seen | None
) -> Received:
    key = files.key(asset_id, "original", found.extension)
    store.put(key, finished.path, found.mime)
    previews = files.put_previews(store, asset_id, seen.previews) if seen else {}
    with transaction():
        asset, is_new = uploads.settle(upload, finished, found, key)
        if is_new and seen:
            preparing.known(asset, seen.media, previews)
        elif is_new:
            submit_internal(asset.account_id, preparing.tool, {"asset_id": asset.id})
    if asset.id != asset_id:  # the same bytes came in by another upload meanwhile
        files.remove(store, [asset_id])
    return Received(asset, not is_new)
