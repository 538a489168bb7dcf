"""Setting a hook: where its lines break, how large they are, and where they stand in the frame."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

from uniseg.graphemecluster import grapheme_clusters
from uniseg.linebreak import line_break_units

from novai_web.engines.ffmpeg.inside import bidi, shaping
from novai_web.engines.ffmpeg.inside.drawing import Block, Picture, draw
from novai_web.engines.ffmpeg.inside.shaping import Line
from novai_web.engines.ffmpeg.style import TEXT_LENGTH_MAX, HookStyle
from novai_web.errors import UnusableMedia

_one_at_a_time = Lock()  # a font's face in FreeType is of one thread at a time
SHRINK = 0.95
SMALLEST_SHARE = 0.5  # of the size asked for; below it, more lines and broken words are the lesser evil
SMALLEST_PIXELS = 4


@dataclass(frozen=True)
class Zone:
    """The part of a frame that a text may fill, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


def safe_zone(width: int, height: int) -> Zone:
    """What stays free of the platforms' own buttons and captions, which crowd the right and the foot of tall videos."""
    left, top, right, bottom = (0.07, 0.11, 0.13, 0.22) if height > width * 1.2 else (0.05, 0.06, 0.05, 0.1)
    return Zone(width * left, height * top, width * (1 - right), height * (1 - bottom))


def picture_of(text: str, style: HookStyle, width: int, height: int) -> Picture | None:
    """The hook as a picture with its place in a frame of this size; None if the text has nothing to show."""
    if len(text) > TEXT_LENGTH_MAX:
        raise UnusableMedia(f"This hook is longer than {TEXT_LENGTH_MAX} characters. Shorten it.")
    parts = shaping.paragraphs(text)
    if not any(parts):
        return None
    with _one_at_a_time:
        zone = _zone_for(style, safe_zone(width, height), width)
        size, lines = _fit(parts, style, zone, min(width, height))
        return draw(_block(lines, size, style, zone, bidi.base_level("".join(parts))), style, width, height)


def _zone_for(style: HookStyle, zone: Zone, width: int) -> Zone:
    """A centred text is centred in the frame, so its zone gives way equally on both sides."""
    if style.hook_position in ("top", "center", "bottom"):
        margin = max(zone.left, width - zone.right)
        return Zone(margin, zone.top, width - margin, zone.bottom)
    return zone


def _fit(parts: list[str], style: HookStyle, zone: Zone, short_side: int) -> tuple[float, list[Line]]:
    """The largest size up to the one asked for at which everything fits."""
    asked = short_side * style.hook_size / 100
    most_lines = max(style.hook_max_lines, len(parts))
    padding = 0.8 if style.hook_box else 0.0
    for size, may_break in _sizes(asked):
        lines = _lines(parts, style.hook_font, zone.width / size - padding, may_break)
        if lines is None or (not may_break and len(lines) > most_lines):
            continue
        ascent, descent = metrics(lines)
        if len(lines) * (ascent + descent) * size <= zone.height:
            return size, lines
    raise UnusableMedia("This hook is too long to fit into the frame. Shorten it.")


def _sizes(asked: float) -> Iterator[tuple[float, bool]]:
    size = asked
    while size >= asked * SMALLEST_SHARE:
        yield size, False
        size *= SHRINK
    size = asked * SMALLEST_SHARE
    while size >= SMALLEST_PIXELS:
        yield size, True
        size *= SHRINK


def _lines(parts: list[str], family: str, width: float, may_break: bool) -> list[Line] | None:
    """All lines at this width in ems, each paragraph's as even as they can be; None if a word is too wide."""
    if width <= 0:
        return None
    lines: list[Line] = []
    for part in parts:
        base, language = bidi.base_level(part), shaping.language_of(part)
        units = _units(part, family, base, language)
        if any(unit_width > width for _, unit_width, _ in units):
            if not may_break:
                return None
            units = _broken(units, width, family, base, language)
        for text in _wrap_evenly(units, width):
            lines.append(shaping.shape(text, family, base, language))
    return lines


Unit = tuple[str, float, float]  # text up to the next place for a break, its width without and with its last space


@lru_cache(256)
def _units(text: str, family: str, base: int, language: str) -> tuple[Unit, ...]:
    # Korean may break anywhere by the letter of UAX #14, but readers expect whole words.
    pieces = re.findall(r"\S+\s*", text) if language == "ko" else line_break_units(text)
    return tuple(_measured(piece, family, base, language) for piece in pieces)


def _measured(unit: str, family: str, base: int, language: str) -> Unit:
    bare = shaping.shape(unit.rstrip(), family, base, language).width
    return unit, bare, shaping.shape(unit, family, base, language).width if unit != unit.rstrip() else bare


def _broken(units: Sequence[Unit], width: float, family: str, base: int, language: str) -> tuple[Unit, ...]:
    """Units that are too wide fall apart into the characters that a reader sees."""
    done: list[Unit] = []
    for unit in units:
        if unit[1] <= width:
            done.append(unit)
        else:
            done += [_measured(cluster, family, base, language) for cluster in grapheme_clusters(unit[0])]
    return tuple(done)


def _wrap_evenly(units: Sequence[Unit], width: float) -> list[str]:
    """As many lines as a greedy wrap needs, but of the narrowest width at which that is still so."""
    lines = _wrap(units, width)
    if len(lines) == 1:
        return lines
    low, high = max(bare for _, bare, _ in units), width
    for _ in range(12):
        middle = (low + high) / 2
        if len(_wrap(units, middle)) <= len(lines):
            high = middle
        else:
            low = middle
    return _wrap(units, high)


def _wrap(units: Sequence[Unit], width: float) -> list[str]:
    lines, line, used = [], "", 0.0
    for text, bare, full in units:
        if line and used + bare > width:
            lines.append(line.rstrip())
            line, used = "", 0.0
        line += text
        used += full
    return [*lines, line.rstrip()]


def metrics(lines: Sequence[Line]) -> tuple[float, float]:
    """How far a line reaches above and below its baseline; some scripts need more room than Latin."""
    used = {font for line in lines for font in line.fonts if not font.is_emoji}
    ascent = max((min(font.ascent, 1.05) for font in used), default=1.0)
    descent = max((min(font.descent, 0.32) for font in used), default=0.2)
    return max(0.9, ascent) * 0.95, max(0.2, descent) * 0.95


def _block(lines: list[Line], size: float, style: HookStyle, zone: Zone, base: int) -> Block:
    ascent, descent = metrics(lines)
    vertical, _, horizontal = style.hook_position.partition("-")
    if vertical in ("left", "right"):
        vertical, horizontal = "center", vertical
    padding = 0.4 * size if style.hook_box else 0.0
    wide = max(line.width for line in lines) * size + 2 * padding
    high = len(lines) * (ascent + descent) * size
    left = {"left": zone.left, "right": zone.right - wide}.get(horizontal, (zone.left + zone.right - wide) / 2)
    top = {"top": zone.top, "bottom": zone.bottom - high}.get(vertical, (zone.top + zone.bottom - high) / 2)
    align = style.hook_align
    if align == "auto":
        align = "left" if horizontal == "left" else "right" if horizontal == "right" else "center"
    share = {"left": 0.0, "right": 1.0}.get(align, 0.5)
    starts = [left + padding + (wide - 2 * padding - line.width * size) * share for line in lines]
    baselines = [top + (number * (ascent + descent) + ascent) * size for number in range(len(lines))]
    return Block(lines, starts, baselines, size, ascent, descent)
