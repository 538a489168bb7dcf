"""The contact sheet: each hook in a small frame of the right shape, drawn as the render draws it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter, ImageOps

from novai_web.engines.ffmpeg.inside import previews, probe, text
from novai_web.engines.ffmpeg.media import Limits
from novai_web.engines.ffmpeg.style import HookStyle

SIDE = 480
GROUND = "#6b7280"
BLUR_SHARE = 40  # the blur is so small a part of the longer side


def answer(request: dict[str, Any], limits: Limits, say: Callable[..., None]) -> None:
    """`texts`, `style`, `size`, `fill`, `folder`, `background` → paths of pictures, in the order of the texts."""
    size = _small(*request["size"])
    ground = Image.new("RGB", size, GROUND)
    if request["background"]:
        path = Path(request["background"])
        still = previews.still(path, probe.examine(path, limits), limits, max(size) * 2).convert("RGB")
        ground = _blurred(still, size) if request["fill"] == "blur" else _covering(still, size)
    style = HookStyle(**request["style"])
    paths = []
    for number, hook in enumerate(request["texts"]):
        frame = ground.copy()
        drawn = text.picture_of(hook, style, *size)
        if drawn is not None:
            frame.paste(drawn.image, (drawn.x, drawn.y), drawn.image)
        path = Path(request["folder"]) / f"hook-{number:05d}.webp"
        frame.save(path, "WEBP", quality=82)
        paths.append(str(path))
        say(drawn=number)
    say(answer=paths)


def _small(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, SIDE / max(width, height))
    return max(2, round(width * scale)), max(2, round(height * scale))


def _covering(still: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Cropped, as a video is that is fitted to another shape."""
    return ImageOps.fit(still, size)


def _blurred(still: Image.Image, size: tuple[int, int]) -> Image.Image:
    """All of it, over a blurred copy of itself."""
    ground = _covering(still, size).filter(ImageFilter.GaussianBlur(max(size) / BLUR_SHARE))
    whole = ImageOps.contain(still, size)
    ground.paste(whole, ((size[0] - whole.width) // 2, (size[1] - whole.height) // 2))
    return ground
