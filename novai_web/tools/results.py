"""What a vendor sent, looked over like an upload before anybody is told that it is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Literal

from novai_web.engines import ffmpeg
from novai_web.errors import ToolFailed, UnusableMedia
from novai_web.tools.tool import Work

WORDS = {"image": "a picture", "video": "a video"}


@dataclass(frozen=True)
class Looked:
    """A file that opens and is what it should be, under a name with the ending its bytes deserve."""

    path: Path
    media: ffmpeg.Media
    sha256: str
    previews: Mapping[str, Path]


def look_over(path: Path, kind: Literal["image", "video"], work: Work) -> Looked:
    """Open it, and draw its previews. Raises ToolFailed with a sentence; `path` has another name afterwards."""
    limits = ffmpeg.Limits.of(work.settings)
    try:
        media = ffmpeg.probe(path, limits)
    except UnusableMedia as problem:
        raise ToolFailed(_unusable(kind)) from problem
    if media.kind != kind:
        raise ToolFailed(_unusable(kind))
    named = path.replace(path.with_name(f"{path.name.partition('.')[0]}{media.extension}"))
    folder = named.with_name(f"{named.stem}-previews")
    folder.mkdir(exist_ok=True)
    previews = ffmpeg.previews(named, media, folder, limits)
    with named.open("rb") as file:
        return Looked(named, media, file_digest(file, "sha256").hexdigest(), previews)


def _unusable(kind: str) -> str:
    return f"What the vendor sent is not {WORDS[kind]} that can be used. You were not charged; trying again may help."
