"""Where the files of an asset are kept: under its id, never under a name that somebody gave it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from novai_web.engines.store import Store
from novai_web.library.models import Asset

PREVIEWS = ("poster", "thumb", "clip", "waveform")

MIME_TYPES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "safetensors": "application/octet-stream",
    "json": "application/json",
    "c2pa": "application/c2pa",
}
# What the small pictures and clips of a file end in; everything else beside it is worth as much as the file itself.
PICTURES = (".webp", ".jpg", ".png", ".mp4")
# What may open in a browser: what is certainly a picture, a sound or a film. Anything else is only ever saved.
SHOWN = frozenset(mime for mime in MIME_TYPES.values() if mime.startswith(("video/", "audio/", "image/")))


def folder(asset_id: int) -> str:
    return f"assets/{asset_id}"


def key(asset_id: int, part: str, extension: str) -> str:
    """The store's key of one file of an asset: "original", or one of PREVIEWS."""
    return f"{folder(asset_id)}/{part}.{extension}"


def mime_of(store_key: str) -> str:
    return MIME_TYPES.get(store_key.rpartition(".")[2], "application/octet-stream")


def put_previews(store: Store, asset_id: int, previews: Mapping[str, Path]) -> dict[str, str]:
    """Store the previews that were made; what an asset's `previews` column then says: part → key."""
    kept: dict[str, str] = {}
    for part in PREVIEWS:
        if part in previews:
            path = previews[part]
            kept[part] = key(asset_id, part, path.suffix.lstrip(".").lower().replace("jpeg", "jpg"))
            store.put(kept[part], path, mime_of(kept[part]))
    return kept


def key_of(asset: Asset, part: str) -> str | None:
    """The key of one part, or None when the asset has no such part."""
    if part == "original":
        return asset.store_key
    found = asset.previews.get(part)
    return str(found) if found else None


def remove(store: Store, asset_ids: Iterable[int]) -> None:
    """Delete every file below these ids, known or left over. May be repeated."""
    for asset_id in asset_ids:
        store.delete([name for name, _ in store.list(folder(asset_id))])
