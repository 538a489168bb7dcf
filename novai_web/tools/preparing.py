"""After an upload: look at the file, draw its previews, and call it ready or say why it cannot be used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from novai_web.db import session
from novai_web.engines import ffmpeg
from novai_web.engines.store import open_store
from novai_web.errors import UnusableMedia
from novai_web.library import files
from novai_web.library.models import Asset
from novai_web.tools.tool import Estimate, Input, Step, Tool, Work

_A = {"video": "a video", "audio": "sound without a picture", "image": "a picture"}


class PrepareInput(Input):
    asset_id: int


def prepare(given: PrepareInput, work: Work) -> None:
    """Probe the file and store its previews; the asset is ready or failed afterwards."""
    asset = _read(given.asset_id, work)
    if asset is None:
        return
    if asset.is_processing:
        path = work.fetch(asset)
        try:
            media = _probe(asset, path, work)
        except UnusableMedia as problem:
            reason = str(problem)
            work.write(lambda: refuse(asset.id, reason))
        else:
            previews = _previews(asset, path, media, work)
            work.write(lambda: _ready(asset.id, media, previews))
            return
    if asset.store_key and not asset.is_ready:
        files.remove(open_store(work.settings), [asset.id])
        work.write(lambda: _forget_file(asset.id))


def _read(asset_id: int, work: Work) -> Asset | None:
    """The asset, read in a transaction that is over before the slow work begins."""
    found: list[Asset | None] = []
    work.write(lambda: found.append(_find(asset_id)))
    return found[0]


def _probe(asset: Asset, path: Path, work: Work) -> ffmpeg.Media:
    media = ffmpeg.probe(path, ffmpeg.Limits.of(work.settings))
    if media.kind != asset.kind:
        raise UnusableMedia(f"This looked like {_A[asset.kind]} but is {_A[media.kind]}. Export it again.")
    work.progress(0.4)
    return media


def _previews(asset: Asset, path: Path, media: ffmpeg.Media, work: Work) -> dict[str, str]:
    folder = work.folder / "previews"
    folder.mkdir(exist_ok=True)
    drawn = ffmpeg.previews(path, media, folder, ffmpeg.Limits.of(work.settings))
    work.progress(0.9)
    return files.put_previews(open_store(work.settings), asset.id, drawn)


def _ready(asset_id: int, media: ffmpeg.Media, previews: Mapping[str, str]) -> None:
    asset = _find(asset_id, lock=True)
    if asset is None or not asset.is_processing:
        return
    asset.status = "ready"
    asset.media = media.to_json()
    asset.previews = dict(previews)
    asset.duration_seconds, asset.width, asset.height = media.duration_seconds, media.width, media.height


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
    refuse(int(raw["asset_id"]), reason)


tool = Tool(
    slug="prepare",
    title="Preparing an upload",
    about="Looks at a new file and draws its previews.",
    icon="upload",
    input=PrepareInput,
    price=lambda given, settings: 0,
    estimate=lambda given, settings: Estimate(outputs=0, seconds=5, bytes=0),
    steps=(Step("Looking at the file", prepare),),
    makes=(),
    queue="io",
    deadline_seconds=900,
    gave_up=_gave_up,
)
