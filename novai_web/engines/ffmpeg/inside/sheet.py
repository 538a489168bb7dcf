"""The contact sheet: each hook in a small frame of the right shape, drawn as the render draws it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from novai_web.engines.ffmpeg.inside import previews, probe, text
from novai_web.engines.ffmpeg.media import Limits
from novai_web.engines.ffmpeg.style import HookStyle

SIDE = 480
GROUND = "#6b7280"


def answer(request: dict[str, Any], limits: Limits, say: Callable[..., None]) -> None:
    """`texts`, `style`, `size`, `folder`, `background` → the paths of the pictures, in the order of the texts."""
    size = _small(*request["size"])
    ground = (
        _ground(Path(request["background"]), size, limits) if request["background"] else Image.new("RGB", size, GROUND)
    )
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


def _ground(path: Path, size: tuple[int, int], limits: Limits) -> Image.Image:
    """Cropped to cover, as a video fitted to another shape would be."""
    picture = previews.still(path, probe.examine(path, limits), limits, max(size) * 2)
    scale = max(size[0] / picture.width, size[1] / picture.height)
    picture = picture.resize((max(size[0], round(picture.width * scale)), max(size[1], round(picture.height * scale))))
    left, top = (picture.width - size[0]) // 2, (picture.height - size[1]) // 2
    return picture.crop((left, top, left + size[0], top + size[1])).convert("RGB")
