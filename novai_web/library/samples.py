"""Sample media: made once for an installation and kept in its store, from where any library can be given them."""

import fcntl
import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter
from sqlalchemy import select

from novai_web.config import Settings
from novai_web.db import session
from novai_web.engines import ffmpeg
from novai_web.engines.ffmpeg.samples import SAMPLES, SECONDS, WIDTH, Sample
from novai_web.engines.ffmpeg.samples import make as drawn
from novai_web.engines.store import Store
from novai_web.errors import NotFound
from novai_web.library import hooks
from novai_web.library.assets import Library
from novai_web.library.files import mime_of
from novai_web.library.models import Asset, Hook, Kind

VERSION = 1  # of what is made; another one is made anew
FOLDER = "samples"
MANIFEST = f"{FOLDER}/manifest-{VERSION}.json"
SHELF = "Samples"  # what their collections and the category of their hooks are called
TAG, SYNTHETIC = "sample", "synthetic"
SHARE = "share"  # the file that says how far it is
DRAWING_SHARE = 0.9  # of the time; the rest is looking at what was drawn

HOOKS = (
    "Wait for it …",
    "POV: you finally slow down",
    "3 seconds of calm ✨",
    "Nobody talks about this",
    "Save this for later 🔖",
    "Stop scrolling. Breathe.",
    "This is your sign",
    "What I wish I had known at 20",
    "The view from here 🌆",
    "Send this to someone who needs it",
)


class Kept(BaseModel):
    """One sample in the store: where its file and its previews are, and what was found out about it."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Kind
    title: str
    caption: str | None
    is_synthetic: bool
    key: str
    sha256: str
    size_bytes: int
    media: dict[str, Any]
    previews: dict[str, str]

    @property
    def tags(self) -> list[str]:
        return [TAG, SYNTHETIC] if self.is_synthetic else [TAG]


_MANIFEST = TypeAdapter(tuple[Kept, ...])


def made(store: Store) -> tuple[Kept, ...] | None:
    """What was made for this installation; None as long as it was not. Raises StoreFailed."""
    try:
        return _MANIFEST.validate_json(b"".join(store.read(MANIFEST)))
    except NotFound:
        return None


def make(
    store: Store, settings: Settings, heard: Callable[[float], None], *, width: int = WIDTH, seconds: float = SECONDS
) -> bool:
    """Draw and store all of them, unless that was done. False: another process of this machine is at it.

    The manifest is stored last, so that whoever finds it finds everything. Two machines that begin at once both make
    them, which is harmless: the later manifest counts. Raises UnusableMedia, DiskFull, StoreFailed.
    """
    with _alone(settings) as folder:
        if folder is None:
            return False
        if made(store) is not None:
            return True

        def tell(done: float) -> None:
            (folder / SHARE).write_text(f"{done * DRAWING_SHARE:.3f}")
            heard(done * DRAWING_SHARE)

        files = drawn(folder, ffmpeg.Limits.of(settings), tell, width=width, seconds=seconds)
        base = f"{FOLDER}/{secrets.token_hex(8)}"
        kept = [_keep(sample, files[sample.name], base, folder, store, settings) for sample in SAMPLES]
        manifest = folder / "manifest.json"
        manifest.write_text(json.dumps([each.model_dump() for each in kept]))
        store.put(MANIFEST, manifest, mime_of(MANIFEST))
        _forget_others(store, base)
    return True


def share(settings: Settings) -> float:
    """How far the process of this machine is that draws them, 0 to 1; 0 if there is none."""
    try:
        return float((settings.scratch_folder / FOLDER / SHARE).read_text() or 0)
    except (OSError, ValueError):
        return 0.0


def of(library: Library, kept: Sequence[Kept]) -> dict[str, Asset]:
    """Those that this library has already, by hash; also what lies in its trash."""
    query = select(Asset).where(
        Asset.account_id == library.account_id,
        Asset.sha256.in_([each.sha256 for each in kept]),
        Asset.type == "source",
        Asset.status != "failed",
        Asset.deleting_at.is_(None),
    )
    found = session.scalars(query.execution_options(populate_existing=True))
    return {asset.sha256: asset for asset in found if asset.sha256}


def ready(library: Library) -> Mapping[str, Sequence[int]]:
    """The ids of the samples that a batch of variants can be made of, by the name of the field that takes them."""
    mine = library.assets().where(Asset.tags.contains([TAG]), Asset.status == "ready", Asset.type == "source")
    rows = session.execute(mine.with_only_columns(Asset.kind, Asset.id).order_by(Asset.id.desc())).all()
    texts = hooks.Filter(category=SHELF).of(library).with_only_columns(Hook.id).order_by(Hook.id)
    return {
        "videos": [asset_id for kind, asset_id in rows if kind == "video"],
        "audios": [asset_id for kind, asset_id in rows if kind == "audio"],
        "hooks": session.scalars(texts.limit(len(HOOKS))).all(),
    }


@contextmanager
def _alone(settings: Settings) -> Iterator[Path | None]:
    """A folder to work in, for one process of this machine at a time; the kernel frees it when that one dies."""
    settings.scratch_folder.mkdir(parents=True, exist_ok=True)
    with (settings.scratch_folder / "samples.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        folder = settings.scratch_folder / FOLDER
        shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _keep(sample: Sample, path: Path, base: str, folder: Path, store: Store, settings: Settings) -> Kept:
    limits = ffmpeg.Limits.of(settings)
    media = ffmpeg.probe(path, limits)
    previews = folder / f"previews-{sample.name}"
    previews.mkdir()
    files = {"original": path, **ffmpeg.previews(path, media, previews, limits)}
    keys = {part: f"{base}/{sample.name}-{part}{file.suffix}" for part, file in files.items()}
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size_bytes = path.stat().st_size
    for part, key in keys.items():
        store.put(key, files[part], mime_of(key))
    return Kept(
        name=sample.name,
        kind=sample.kind,
        title=sample.title,
        caption=sample.caption,
        is_synthetic=sample.is_synthetic,
        key=keys.pop("original"),
        sha256=sha256,
        size_bytes=size_bytes,
        media=media.to_json(),
        previews=keys,
    )


def _forget_others(store: Store, base: str) -> None:
    """What an earlier version made, or one that was killed on its way."""
    store.delete([key for key, _ in store.list(FOLDER) if key != MANIFEST and not key.startswith(f"{base}/")])
