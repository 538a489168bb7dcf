"""Copies of pictures that hold nothing but the picture: upright, without notes of where and when it was taken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from novai_web.engines.ffmpeg.inside.pictures import upright
from novai_web.engines.ffmpeg.media import Limits
from novai_web.errors import UnusableMedia

QUALITY = 95
PRINT_SIDE = 16


def answer(request: dict[str, Any], limits: Limits, say: Callable[..., None]) -> None:
    """`paths`, `folder`, `long_side` → for each its copy's path, size and fingerprint, or why there is none."""
    found = []
    for number, path in enumerate(request["paths"]):
        try:
            found.append(_copy(Path(path), Path(request["folder"]) / f"{number:04}.jpg", request["long_side"], limits))
        except UnusableMedia as problem:
            found.append({"refusal": str(problem)})
    say(answer=found)


def _copy(path: Path, target: Path, long_side: int, limits: Limits) -> dict[str, Any]:
    picture = upright(path, limits, long_side)
    picture.info.clear()
    picture.save(target, "JPEG", quality=QUALITY, subsampling=0)
    return {"path": str(target), "width": picture.width, "height": picture.height, "print": fingerprint(picture)}


def fingerprint(picture: Image.Image) -> str:
    """256 bits in hexadecimal: where a small grey copy gets lighter from left to right. Like ones differ in few."""
    small = picture.convert("L").resize((PRINT_SIDE + 1, PRINT_SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, dtype=np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes().hex()
