"""The city at night: three rows of houses that pass at three speeds, above their own reflection."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

WATER = 0.76  # of the height: where the quay is
ROWS = (  # speed in widths a second, height of the houses, colour, colour of the windows, how many are lit
    (0.012, (0.16, 0.34), (30, 38, 74), (120, 124, 160), 0.16),
    (0.028, (0.12, 0.30), (21, 25, 54), (236, 190, 120), 0.22),
    (0.055, (0.05, 0.20), (11, 13, 31), (255, 205, 128), 0.30),
)


def frames(size: tuple[int, int], count: int) -> Iterator[NDArray[np.uint8]]:
    """Frame by frame, as a boat would see it that goes by."""
    wide, high = size
    quay = int(high * WATER)
    sky = _sky(wide, quay)
    random = np.random.default_rng(11)
    rows = [(speed, *_houses(wide, quay, row, count, random)) for row in ROWS for speed in (row[0],)]
    below = high - quay
    lines = np.arange(below, dtype=np.float32)
    source = np.clip(quay - 1 - (lines * 1.7).astype(int), 0, quay - 1)
    across = np.arange(wide)
    dim = np.linspace(0.62, 0.2, below, dtype=np.float32)[:, None, None]
    tint = np.array([10, 16, 34], np.float32)
    for n in range(count):
        t = n / 30
        upper = sky.copy()
        for speed, picture, mask in rows:
            left = round(speed * wide * t)
            box = (left, 0, left + wide, quay)
            upper.paste(picture.crop(box), (0, 0), mask.crop(box))
        seen = np.asarray(upper)
        sway = (2.2 + lines * 0.03) * np.sin(lines * 0.21 - t * 2.6) + 1.6 * np.sin(lines * 0.075 + t * 1.3)
        columns = np.clip(across[None, :] + sway[:, None].round().astype(int), 0, wide - 1)
        mirrored = seen[source[:, None], columns].astype(np.float32) * dim + tint
        yield np.concatenate([seen, np.clip(mirrored, 0, 255).astype(np.uint8)])


def _sky(wide: int, high: int) -> Image.Image:
    """Stars, a moon and the glow of the streets."""
    stops = np.array([(7, 9, 28), (18, 24, 60), (58, 44, 92), (150, 88, 104)], np.float32)
    rows = np.stack([np.interp(np.linspace(0, 1, high), (0, 0.45, 0.8, 1), stops[:, part]) for part in range(3)], -1)
    random = np.random.default_rng(3)
    pixels = np.repeat(rows[:, None, :], wide, 1) + random.normal(0, 1.1, (high, wide, 1))
    sky = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(sky)
    for _ in range(wide // 6):
        x, y, bright = random.integers(wide), int(random.random() ** 1.6 * high * 0.6), int(random.integers(110, 240))
        draw.point((int(x), y), (bright, bright, min(255, bright + 20)))
    glow, side = Image.new("RGB", sky.size), wide * 0.055
    at = (wide * 0.72, high * 0.2)
    ImageDraw.Draw(glow).ellipse(_around(at, side * 2.2), (58, 58, 70))
    glow = glow.filter(ImageFilter.GaussianBlur(wide * 0.06))
    sky = ImageChops.add(sky, glow)
    moon = Image.new("L", (sky.width * 2, sky.height * 2))
    ImageDraw.Draw(moon).ellipse(_around((at[0] * 2, at[1] * 2), side * 2), 255)
    sky.paste((244, 240, 226), (0, 0), moon.resize(sky.size, Image.Resampling.LANCZOS))
    return sky


def _around(at: tuple[float, float], radius: float) -> tuple[float, float, float, float]:
    return at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius


def _houses(
    wide: int,
    high: int,
    row: tuple[float, tuple[float, float], tuple[int, int, int], tuple[int, int, int], float],
    count: int,
    random: np.random.Generator,
) -> tuple[Image.Image, Image.Image]:
    """One row as a picture, and the mask of where it is not sky; as wide as it will be seen."""
    speed, (low, tall), wall, window, lit = row
    length = wide + round(speed * wide * count / 30) + 2
    picture, mask = Image.new("RGB", (length, high), wall), Image.new("L", (length, high))
    paint, cut = ImageDraw.Draw(picture), ImageDraw.Draw(mask)
    unit = max(1, wide // 180)
    x = -int(random.integers(0, 20 * unit))
    while x < length:
        broad = int(random.integers(14, 30)) * unit
        top = high - int(random.uniform(low, tall) * high)
        cut.rectangle((x, top, x + broad - unit, high), 255)
        if random.random() < 0.25:  # an aerial
            cut.rectangle((x + broad // 2, top - 9 * unit, x + broad // 2 + max(0, unit // 2 - 1), top), 255)
        _windows(paint, (x, top, broad, high), unit, window, lit, random)
        x += broad + int(random.integers(0, 3)) * unit
    return picture, mask


def _windows(
    paint: ImageDraw.ImageDraw,
    house: tuple[int, int, int, int],
    unit: int,
    window: tuple[int, int, int],
    lit: float,
    random: np.random.Generator,
) -> None:
    x, top, broad, high = house
    for across in range(x + 2 * unit, x + broad - 3 * unit, 4 * unit):
        for down in range(top + 3 * unit, high - 2 * unit, 5 * unit):
            if random.random() < lit:
                bright = random.uniform(0.55, 1.0)
                colour = tuple(int(part * bright) for part in window)
                paint.rectangle((across, down, across + 2 * unit - 1, down + 2 * unit), colour)
