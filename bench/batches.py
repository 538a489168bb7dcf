"""A case with its files: the variants to make, what is drawn over them, and a sample for those that are slow."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from bench.cases import HOOKS, Case
from bench.sources import RATE, Material
from novai_web.engines.ffmpeg import RenderSettings, Variant
from novai_web.engines.ffmpeg.inside.text import picture_of


@dataclass(frozen=True)
class Batch:
    """Both sides make it with the same preset, CRF and audio bitrate: those of the product."""

    case: Case
    material: Material

    @cached_property
    def settings(self) -> RenderSettings:
        return RenderSettings(hook_duration_seconds=self.case.hook_seconds)

    @cached_property
    def variants(self) -> list[Variant]:
        hooks = HOOKS[: self.case.hooks] or (None,)
        cells = product(self.material.videos, hooks, self.material.audios)
        return [Variant(n, video, audio, hook, str(n)) for n, (video, hook, audio) in enumerate(cells)]

    @cached_property
    def sample(self) -> list[Variant]:
        """One variant of each video, with another hook and another audio each time."""
        chosen = []
        for n, video in enumerate(self.material.videos):
            hook = HOOKS[n % self.case.hooks] if self.case.hooks else None
            audio = self.material.audios[n % len(self.material.audios)]
            wanted = (video, hook, audio)
            chosen.append(next(each for each in self.variants if (each.video, each.hook, each.audio) == wanted))
        return chosen

    def is_under_hook(self, frame: int) -> bool:
        start, end = self.settings.window
        return self.case.hooks > 0 and start <= (frame + 0.5) / RATE < end


def layer(hook: str, settings: RenderSettings, size: tuple[int, int]) -> Image.Image:
    """A hook as a transparent picture of the frame's size, drawn by the product's own code."""
    drawn = picture_of(hook, settings, *size)
    picture = Image.new("RGBA", size)
    if drawn is not None:
        picture.paste(drawn.image, (drawn.x, drawn.y))
    return picture


def layers(batch: Batch, folder: Path) -> dict[str, Path]:
    """The hooks of a batch as PNGs, for those who overlay files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for n, hook in enumerate(HOOKS[: batch.case.hooks]):
        paths[hook] = folder / f"hook{n}.png"
        layer(hook, batch.settings, batch.case.size).save(paths[hook])
    return paths


class Composite:
    """A hook laid over frames of BT.709 in 8-bit 4:2:0, in floating point: what a render should look like."""

    def __init__(self, picture: Image.Image) -> None:
        pixels = np.asarray(picture, np.float32)
        alpha = pixels[..., 3] / 255
        red, green, blue = (pixels[..., channel] / 255 for channel in range(3))
        luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        full = [16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556, 128 + 224 * (red - luma) / 1.5748]
        small = _halved(alpha)
        self.shares = [(full[0] * alpha, 1 - alpha)]
        self.shares += [(_halved(plane * alpha), 1 - small) for plane in full[1:]]

    def over(self, planes: list[np.ndarray]) -> list[np.ndarray]:
        """Y, Cb and Cr of a frame, with the hook."""
        return [
            np.round(plane * rest + share).astype(np.uint8)
            for plane, (share, rest) in zip(planes, self.shares, strict=True)
        ]


def _halved(plane: np.ndarray) -> np.ndarray:
    high, wide = plane.shape
    small: np.ndarray = plane.reshape(high // 2, 2, wide // 2, 2).mean((1, 3))
    return small
