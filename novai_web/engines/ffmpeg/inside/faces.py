"""The small pictures that stand for a variant, taken while it is encoded."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image

from novai_web.engines.ffmpeg.inside.previews import POSTER_SECONDS, save
from novai_web.engines.ffmpeg.inside.stored import UNDO
from novai_web.engines.ffmpeg.inside.upright import Turn
from novai_web.engines.ffmpeg.media import POSTER_SIDE, THUMB_SIDE

_BACK = {
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
}


def moment_of(duration: Fraction) -> Fraction:
    """When a poster is taken: the very first frame is often black."""
    return min(Fraction(POSTER_SECONDS), duration / 3)


def upright(frame: av.VideoFrame, turn: Turn, shown: tuple[int, int]) -> Image.Image:
    """A stored frame as it is shown, no larger than a poster."""
    scale = min(1.0, POSTER_SIDE / max(shown))
    size = max(2, round(shown[0] * scale)), max(2, round(shown[1] * scale))
    stored = (size[1], size[0]) if turn.degrees in (90, 270) else size
    small = frame.reformat(width=stored[0], height=stored[1], format="rgb24")
    picture: Image.Image = small.to_image()  # type: ignore[no-untyped-call]
    for turning in turn.filters:
        undo = UNDO[turning]
        picture = picture.transpose(_BACK.get(undo, undo))
    return picture


def draw(picture: Image.Image, folder: Path, name: str) -> Mapping[str, str]:
    """The paths of "poster" and "thumb"."""
    thumb = picture.copy()
    thumb.thumbnail((THUMB_SIDE, THUMB_SIDE), reducing_gap=2)
    return {
        "poster": str(save(picture, folder / f"{name}-poster.webp")),
        "thumb": str(save(thumb, folder / f"{name}-thumb.webp")),
    }
