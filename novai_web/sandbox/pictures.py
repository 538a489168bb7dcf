"""What the sandbox draws: pictures that are real, and plainly say that they are the sandbox's.

The same seed and the same sources make the same bytes.
"""

import io
import math
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont, ImageOps

MARK = "SANDBOX"
FONT = Path(__file__).resolve().parents[1] / "engines" / "ffmpeg" / "fonts" / "Inter-ExtraBold.ttf"
SIDE_MIN, SIDE_MAX = 16, 4096
PIXELS_MAX = 40_000_000  # of a picture that is looked at
WORDS_MAX = 240
FORMATS = ("JPEG", "PNG", "WEBP")
LEANING = 30  # degrees, of the mark


class Unreadable(Exception):
    """What was given is no picture or video that can be read."""


def picture(
    width: int,
    height: int,
    seed: int,
    words: str,
    sources: Sequence[Path | bytes] = (),
    kind: Literal["png", "jpeg"] = "png",
) -> bytes:
    """A picture of this size in pixels, drawn from `seed`, with `words` on it and the `sources` in it.

    With sources it is a sheet of them in several views; without, a figure. Raises Unreadable for a source that is
    no JPEG, PNG or WebP.
    """
    if not (0 < width <= SIDE_MAX and 0 < height <= SIDE_MAX):
        raise ValueError(f"no such size: {width} × {height}")
    choice = random.Random(seed)  # noqa: S311 (it is to come out alike each time)
    ground = _ground(width, height, choice)
    if sources:
        _sheet(ground, [opened(each) for each in sources])
    else:
        _figure(ground, choice)
    _write(ground, words)
    ground = Image.alpha_composite(ground.convert("RGBA"), _marks(width, height)).convert("RGB")
    written = io.BytesIO()
    ground.save(written, kind.upper(), **({"quality": 88} if kind == "jpeg" else {"compress_level": 3}))
    return written.getvalue()


def _ground(width: int, height: int, choice: random.Random) -> Image.Image:
    """Two colours of the seed's, one running into the other."""
    hue = choice.randrange(256)
    above = Image.new("HSV", (1, 1), (hue, 90, 235)).convert("RGB")
    below = Image.new("HSV", (1, 1), ((hue + choice.randrange(30, 90)) % 256, 120, 150)).convert("RGB")
    ground = Image.new("RGB", (1, 2))
    ground.paste(above, (0, 0))
    ground.paste(below, (0, 1))
    return ground.resize((width, height), Image.Resampling.BILINEAR)


def _figure(ground: Image.Image, choice: random.Random) -> None:
    """Somebody's head and shoulders, nobody in particular."""
    draw = ImageDraw.Draw(ground)
    width, height = ground.size
    unit = min(width, height) / 100
    centre, chin = width * choice.uniform(0.42, 0.58), height * 0.55
    skin = tuple(choice.choice([(244, 211, 186), (214, 160, 120), (152, 101, 70), (92, 60, 44)]))
    cloth, hair = (tuple(choice.randrange(30, 190) for _ in range(3)) for _ in range(2))
    draw.ellipse((centre - 34 * unit, chin + 2 * unit, centre + 34 * unit, chin + 90 * unit), fill=cloth)
    draw.ellipse((centre - 19 * unit, chin - 42 * unit, centre + 19 * unit, chin + 4 * unit), fill=hair)
    draw.ellipse((centre - 15 * unit, chin - 36 * unit, centre + 15 * unit, chin + 6 * unit), fill=skin)
    for side in (-1, 1):
        eye = centre + side * 6 * unit
        draw.ellipse((eye - 2 * unit, chin - 19 * unit, eye + 2 * unit, chin - 15 * unit), fill=(30, 30, 40))
    smile = choice.uniform(2, 9) * unit
    draw.arc((centre - 7 * unit, chin - 8 * unit, centre + 7 * unit, chin - 6 * unit + smile), 10, 170, (90, 30, 40), 3)


def _sheet(ground: Image.Image, sources: list[Image.Image]) -> None:
    """The sources from several sides, as far as turning, cutting and colouring a picture go."""
    views = list(_views(sources))
    width, height = ground.size
    across = min(len(views), 4 if width >= height else 2)
    down = math.ceil(len(views) / across)
    gap = max(4, min(width, height) // 60)
    cell = ((width - gap * (across + 1)) // across, (int(height * 0.86) - gap * (down + 1)) // down)
    for at, view in enumerate(views):
        left, top = at % across * (cell[0] + gap) + gap, at // across * (cell[1] + gap) + gap
        ground.paste(ImageOps.fit(view, (max(1, cell[0]), max(1, cell[1]))), (left, top))


def _views(sources: list[Image.Image]) -> Iterator[Image.Image]:
    for source in sources[:4]:
        width, height = source.size
        head = source.crop((width // 5, 0, width * 4 // 5, max(1, height * 3 // 5)))
        yield from (source, ImageOps.mirror(source))
        yield from (head, ImageOps.mirror(head))
        yield ImageOps.colorize(ImageOps.grayscale(head), (40, 20, 60), (255, 240, 220))
        yield ImageOps.grayscale(source).convert("RGB")
        yield source.crop((width // 3, height // 6, max(width // 3 + 1, width * 2 // 3), max(1, height // 2)))
        yield ImageOps.posterize(source, 3)


def check(source: Path | bytes) -> None:
    """Raises Unreadable for what is no JPEG, PNG or WebP."""
    opened(source)


def opened(source: Path | bytes) -> Image.Image:
    """A picture as it is to be seen. Raises Unreadable."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            if image.width * image.height > PIXELS_MAX:
                raise Unreadable("too large a picture")
            image.draft("RGB", (1600, 1600))
            upright: Image.Image = ImageOps.exif_transpose(image).convert("RGB")
            return upright.resize((max(SIDE_MIN, upright.width), max(SIDE_MIN, upright.height)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise Unreadable("no picture") from problem


def _write(ground: Image.Image, words: str) -> None:
    """The words at the bottom, on a dark bar."""
    width, height = ground.size
    size = max(10, min(width, height) // 36)
    letters = font(size)
    room = max(8, int(width / (size * 0.62)))
    said = " ".join("".join(each for each in words if each.isprintable() or each.isspace()).split())[:WORDS_MAX]
    lines = [said[at : at + room] for at in range(0, len(said), room)][:4]
    bar = int(size * 1.35 * (len(lines) + 1.6))
    ground.paste((18, 18, 24), (0, height - bar, width, height))
    text = "\n".join([f"NOVAI {MARK} · not made by an AI", *lines])
    ImageDraw.Draw(ground).multiline_text((size, height - bar + size // 2), text, (255, 255, 255), letters)


def _marks(width: int, height: int) -> Image.Image:
    """The word all over, so that no part of the picture can be taken for a real one."""
    side = int(math.hypot(width, height)) + 2
    marks = Image.new("RGBA", (side, side))
    draw, size = ImageDraw.Draw(marks), max(14, min(width, height) // 9)
    for row, top in enumerate(range(0, side, size * 3)):
        for left in range(-size * 3 * (row % 2), side, size * 7):
            draw.text((left, top), MARK, (255, 255, 255, 72), font(size), stroke_width=2, stroke_fill=(0, 0, 0, 60))
    turned = marks.rotate(LEANING)
    left, top = (side - width) // 2, (side - height) // 2
    return turned.crop((left, top, left + width, top + height))


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT), size)
