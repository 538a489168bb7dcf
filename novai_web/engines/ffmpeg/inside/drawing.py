"""Painting set lines into an RGBA picture: box, outline, letters, emoji."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from math import ceil, floor

import freetype  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from novai_web.engines.ffmpeg.inside.fonts import Font
from novai_web.engines.ffmpeg.inside.shaping import Glyph, Line
from novai_web.engines.ffmpeg.style import HookStyle

Mask = NDArray[np.uint8]
_LOAD = freetype.FT_LOAD_NO_BITMAP | freetype.FT_LOAD_NO_HINTING
_SMOOTH = 4  # Pillow draws shapes without smoothing, so they are drawn larger and shrunk
_PADDING_X, _PADDING_Y = 0.4, 0.1  # of the letters' size, around each line of a box


@dataclass(frozen=True)
class Block:
    """Set lines: where each begins and stands, in pixels of the frame."""

    lines: list[Line]
    starts: list[float]
    baselines: list[float]
    size: float
    ascent: float
    descent: float


@dataclass(frozen=True)
class Picture:
    """A picture cropped to what can be seen, and where its corner is in the frame."""

    image: Image.Image
    x: int
    y: int


def draw(block: Block, style: HookStyle, width: int, height: int) -> Picture | None:
    """Everything is painted on a canvas of the frame's size: what is outside of it could not be seen anyway."""
    outline = block.size * style.hook_outline_width / 100 / 2
    canvas = Image.new("RGBA", (width, height))
    if style.hook_box:
        _paint(canvas, _box_mask(block, style, width, height), style.hook_box_color, style.hook_box_opacity)
    if outline > 0:
        _paint(canvas, _letters_mask(block, outline, width, height), style.hook_outline_color)
    _paint(canvas, _letters_mask(block, 0, width, height), style.hook_color)
    for glyph, x, y in _glyphs(block):
        if glyph.font.is_emoji:
            _paste_emoji(canvas, glyph, x, y, block.size)
    box = canvas.getbbox()
    return Picture(canvas.crop(box), box[0], box[1]) if box else None


def _glyphs(block: Block) -> Iterator[tuple[Glyph, float, float]]:
    """Each glyph with its origin in the frame; y grows downwards."""
    for line, start, baseline in zip(block.lines, block.starts, block.baselines, strict=True):
        for glyph in line.glyphs:
            yield glyph, start + glyph.x * block.size, baseline - glyph.y * block.size


def _paint(canvas: Image.Image, mask: Mask, colour: str, opacity: float = 1) -> None:
    """Only where there is something to paint: most of a frame is not."""
    coverage = Image.fromarray(mask)
    box = coverage.getbbox()
    if box is None:
        return
    part = mask[box[1] : box[3], box[0] : box[2]]
    layer = Image.new("RGBA", (part.shape[1], part.shape[0]), colour)
    layer.putalpha(Image.fromarray((part * opacity).astype(np.uint8)))
    canvas.alpha_composite(layer, box[:2])


def _letters_mask(block: Block, outline: float, width: int, height: int) -> Mask:
    """Coverage of all letters, grown by `outline` pixels; where two meet, the stronger one counts."""
    mask = np.zeros((height, width), np.uint8)
    for glyph, x, y in _glyphs(block):
        if not glyph.font.is_emoji:
            left, top = floor(x), floor(y)
            # A quarter of a pixel is as fine as an eye can tell, and lets glyphs be kept.
            bitmap, dx, dy = _bitmap(glyph.font, glyph.number, block.size, outline, floor((x - left) * 4) / 4)
            _stamp(mask, bitmap, left + dx, top + dy)
    return mask


def _stamp(mask: Mask, bitmap: Mask, x: int, y: int) -> None:
    height, width = bitmap.shape
    left, top = max(0, x), max(0, y)
    right, bottom = min(mask.shape[1], x + width), min(mask.shape[0], y + height)
    if right > left and bottom > top:
        part = mask[top:bottom, left:right]
        np.maximum(part, bitmap[top - y : bottom - y, left - x : right - x], out=part)


@lru_cache(2048)
def _bitmap(font: Font, number: int, size: float, outline: float, shift: float) -> tuple[Mask, int, int]:
    """A glyph's coverage, and where its corner is from its origin."""
    face = font.face
    face.set_char_size(round(size * 64), 0, 72, 72)
    face.load_glyph(number, _LOAD)
    glyph = face.glyph.get_glyph()
    if outline > 0:
        stroker = freetype.Stroker()
        stroker.set(round(outline * 64), freetype.FT_STROKER_LINECAP_ROUND, freetype.FT_STROKER_LINEJOIN_ROUND, 0)
        glyph.stroke(stroker, True)
    drawn = glyph.to_bitmap(freetype.FT_RENDER_MODE_NORMAL, freetype.Vector(round(shift * 64), 0), True)
    bitmap = drawn.bitmap
    pixels = np.array(bitmap.buffer, np.uint8).reshape(bitmap.rows, bitmap.pitch)[:, : bitmap.width]
    return pixels, drawn.left, -drawn.top


def _paste_emoji(canvas: Image.Image, glyph: Glyph, x: float, y: float, size: float) -> None:
    font = glyph.font
    extents = font.shaper.get_glyph_extents(glyph.number)
    stored = _emoji(font, glyph.number)
    if extents is None or stored is None:
        return
    em = size * font.scale / font.units
    wide, high = max(1, round(extents.width * em)), max(1, round(-extents.height * em))
    picture = stored.resize((wide, high), Image.Resampling.LANCZOS)
    canvas.alpha_composite(*_inside(picture, round(x + extents.x_bearing * em), round(y - extents.y_bearing * em)))


def _inside(picture: Image.Image, x: int, y: int) -> tuple[Image.Image, tuple[int, int]]:
    """alpha_composite refuses places left of or above the canvas."""
    cropped = picture.crop((max(0, -x), max(0, -y), picture.width, picture.height))
    return cropped, (max(0, x), max(0, y))


@lru_cache(256)
def _emoji(font: Font, number: int) -> Image.Image | None:
    data = font.shaper.get_glyph_color_png(number).data
    return Image.open(BytesIO(data), formats=("PNG",)).convert("RGBA") if data else None


def _box_mask(block: Block, style: HookStyle, width: int, height: int) -> Mask:
    """One panel a line; they touch, and count once where they overlap, so that translucent boxes show no seams."""
    mask = np.zeros((height, width), np.uint8)
    size = block.size
    for line, start, baseline in zip(block.lines, block.starts, block.baselines, strict=True):
        if not line.glyphs:
            continue
        left, top = start - _PADDING_X * size, baseline - (block.ascent + _PADDING_Y) * size
        right, bottom = start + line.width * size + _PADDING_X * size, baseline + (block.descent + _PADDING_Y) * size
        panel = _panel(ceil(right - left), ceil(bottom - top), style.hook_box_radius / 100)
        _stamp(mask, panel, floor(left), floor(top))
    return mask


def _panel(width: int, height: int, radius: float) -> Mask:
    panel = Image.new("L", (width * _SMOOTH, height * _SMOOTH))
    ImageDraw.Draw(panel).rounded_rectangle(
        (0, 0, width * _SMOOTH - 1, height * _SMOOTH - 1), round(radius * height * _SMOOTH), fill=255
    )
    return np.asarray(panel.resize((width, height), Image.Resampling.BOX))
