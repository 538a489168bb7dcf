"""From text to placed glyphs: fonts run by run, both directions, ligatures and marks. Measures are in ems."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import uharfbuzz as hb  # type: ignore[import-untyped]
from uniseg.graphemecluster import grapheme_clusters

from novai_web.engines.ffmpeg.inside import bidi, fonts
from novai_web.engines.ffmpeg.inside.fonts import Font

_NEWLINES = re.compile(r"\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")
_KEPT_INVISIBLE = re.compile("[\u200c\u200d\U000e0020-\U000e007f]")  # joiners, and the letters inside a region's flag
_KANA, _HANGUL = re.compile("[\u3040-\u30ff]"), re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")


@dataclass(frozen=True)
class Glyph:
    """`x` and `y` from the start of its line, on the baseline, upwards."""

    font: Font
    number: int
    x: float
    y: float


@dataclass(frozen=True)
class Line:
    """One shaped line, left to right as seen."""

    glyphs: tuple[Glyph, ...]
    width: float
    fonts: frozenset[Font]


def paragraphs(text: str) -> list[str]:
    """Clean text, split at its own line breaks. Controls and invisible marks go; tabs become spaces."""
    text = _NEWLINES.sub("\n", unicodedata.normalize("NFC", text)).replace("\t", " ").strip()
    return ["".join(filter(_is_visible, part)).strip(" \u200c\u200d") for part in text.split("\n")]


def shape(text: str, family: str, base: int, language: str) -> Line:
    """`base` is the paragraph's direction: 1 is right to left."""
    runs = list(_runs(text, family, base))
    glyphs: list[Glyph] = []
    x = 0.0
    for index in bidi.visual_order([level for _, level, _ in runs]):
        font, level, part = runs[index]
        placed, advance = _shape_run(part, font, level % 2, language)
        glyphs += [Glyph(font, number, x + dx, dy) for number, dx, dy in placed]
        x += advance
    return Line(tuple(glyphs), x, frozenset(font for font, _, _ in runs))


def language_of(text: str) -> str:
    """Han characters are drawn differently by language; a text without kana or Hangul is taken for Chinese."""
    if _KANA.search(text):
        return "ja"
    return "ko" if _HANGUL.search(text) else "zh-Hans"


def _is_visible(char: str) -> bool:
    return bool(_KEPT_INVISIBLE.match(char)) or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn")


def _runs(text: str, family: str, base: int) -> Iterator[tuple[Font, int, str]]:
    """Stretches of one font and one direction, in the order of the text."""
    levels = bidi.levels(text, base)
    pieces: list[tuple[Font, int, str]] = []
    at = 0
    for cluster in grapheme_clusters(text):
        # A space stays in the font of the word before it, so that it does not cut a run in two.
        font = (
            pieces[-1][0] if cluster == " " and pieces and not pieces[-1][0].is_emoji else fonts.choose(cluster, family)
        )
        pieces.append((font, levels[at], cluster))
        at += len(cluster)
    for (font, level), run in groupby(pieces, key=lambda piece: piece[:2]):
        yield font, level, "".join(cluster for _, _, cluster in run)


@lru_cache(4096)
def _shape_run(
    text: str, font: Font, right_to_left: int, language: str
) -> tuple[list[tuple[int, float, float]], float]:
    buffer = hb.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if right_to_left else "ltr"
    if buffer.script in ("Hani", "Hira", "Kana", "Hang", "Bopo"):
        buffer.language = language
    hb.shape(font.shaper, buffer, {})
    em = font.units / font.scale
    placed, x = [], 0.0
    for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        placed.append((info.codepoint, x + position.x_offset / em, position.y_offset / em))
        x += position.x_advance / em
    return placed, x
