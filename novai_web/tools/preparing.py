"""After an upload: look at the file, draw its previews, and call it ready or say why it cannot be used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from novai_web.db import session
from novai_web.engines import ffmpeg
from novai_web.engines.store import open_store
from novai_web.errors import UnusableMedia
from novai_web.library import files, safetensors
from novai_web.library.models import Asset
from novai_web.tools.tool import Estimate, Input, Step, Tool, Work

_A = {"video": "a video", "audio": "sound without a picture", "image": "a picture"}
# What is known of a file that was looked at: of what a child process read, and of weights.
_LOOKED_AT = {"container", "tensors"}


class PrepareInput(Input):
    asset_id: int


def look(given: PrepareInput, work: Work) -> None:
    """Probe the file. What cannot be used is refused with its reason, and its file deleted."""
    asset = _read(given.asset_id, work)
    if asset is None:
        return
    if asset.is_processing:
        try:
            media = _facts(asset, work)
        except UnusableMedia as problem:
            reason = str(problem)
            work.write(lambda: refuse(asset.id, reason))
        else:
            work.write(lambda: _looked_at(asset.id, media))
            return
    if asset.store_key and not asset.is_ready:
        files.remove(open_store(work.settings), [asset.id])
        work.write(lambda: _forget_file(asset.id))


def draw(given: PrepareInput, work: Work) -> None:
    """Draw and store the previews; those that cannot be drawn are simply not there."""
    asset = _read(given.asset_id, work)
    if asset is None or not asset.is_processing:
        return
    folder = work.folder / "previews"
    folder.mkdir(exist_ok=True)
    drawn = _drawn(asset, folder, work)
    work.progress(0.9)
    kept = files.put_previews(open_store(work.settings), asset.id, drawn)
    work.write(lambda: _ready(asset.id, kept))


def _read(asset_id: int, work: Work) -> Asset | None:
    """The asset, read in a transaction that is over before the slow work begins."""
    found: list[Asset | None] = []
    work.write(lambda: found.append(_find(asset_id)))
    return found[0]


def _facts(asset: Asset, work: Work) -> dict[str, Any]:
    """What its row will say of the file. Weights were read whole when they came in, and are read again here."""
    if asset.kind == "model":
        return safetensors.read(work.fetch(asset)).to_json()
    return _probe(asset, work).to_json()


def _drawn(asset: Asset, folder: Path, work: Work) -> Mapping[str, Path]:
    """The previews that could be drawn; weights have no face."""
    if asset.kind == "model":
        return {}
    media = ffmpeg.Media.from_json(asset.media)
    return ffmpeg.previews(work.fetch(asset), media, folder, ffmpeg.Limits.of(work.settings))


def _probe(asset: Asset, work: Work) -> ffmpeg.Media:
    media = ffmpeg.probe(work.fetch(asset), ffmpeg.Limits.of(work.settings))
    if media.kind != asset.kind:
        raise UnusableMedia(f"This looked like {_A[asset.kind]} but is {_A[media.kind]}. Export it again.")
    return media


def _looked_at(asset_id: int, media: dict[str, Any]) -> None:
    asset = _find(asset_id, lock=True)
    if asset is not None and asset.is_processing:
        _note(asset, media)


def _note(asset: Asset, media: Mapping[str, Any]) -> None:
    asset.media = {**asset.media, **media}
    asset.duration_seconds, asset.width, asset.height = (
        media.get(name) for name in ("duration_seconds", "width", "height")
    )


def known(asset: Asset, media: Mapping[str, Any], previews: Mapping[str, str]) -> None:
    """A new asset whose file was looked at before, and whose previews are stored: it is ready at once."""
    _note(asset, media)
    asset.status, asset.previews = "ready", dict(previews)


def _ready(asset_id: int, previews: Mapping[str, str]) -> None:
    asset = _find(asset_id, lock=True)
    if asset is not None and asset.is_processing:
        asset.status, asset.previews = "ready", dict(previews)


def refuse(asset_id: int, reason: str) -> None:
    """Mark an upload as one that cannot be used, and why."""
    asset = _find(asset_id, lock=True)
    if asset is not None and asset.is_processing:
        asset.status, asset.error = "failed", reason


def _forget_file(asset_id: int) -> None:
    asset = _find(asset_id, lock=True)
    if asset is not None:
        asset.store_key, asset.size_bytes = None, 0


def _find(asset_id: int, *, lock: bool = False) -> Asset | None:
    """The asset, also when it is in the trash by now: it may come back."""
    query = select(Asset).where(Asset.id == asset_id, Asset.deleting_at.is_(None))
    if lock:
        query = query.with_for_update()
    return session.scalar(query.execution_options(populate_existing=True))


def _gave_up(raw: Mapping[str, Any], reason: str) -> None:
    """A file that was looked at is good, with or without previews."""
    asset_id = int(raw["asset_id"])
    asset = _find(asset_id, lock=True)
    if asset is not None and _LOOKED_AT & asset.media.keys():
        return _ready(asset_id, {})
    return refuse(asset_id, reason)


tool = Tool(
    slug="prepare",
    title="Preparing an upload",
    about="Looks at a new file and draws its previews.",
    icon="upload",
    input=PrepareInput,
    price=lambda given, settings: 0,
    estimate=lambda given, settings: Estimate(outputs=0, seconds=5, bytes=0),
    steps=(Step("Looking at the file", look), Step("Drawing previews", draw, weight=3)),
    makes=(),
    queue="io",
    deadline_seconds=900,
    gave_up=_gave_up,
)
