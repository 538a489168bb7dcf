"""The bundled fonts: which file draws which letters."""

import re
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path

import freetype  # type: ignore[import-untyped]
import uharfbuzz as hb  # type: ignore[import-untyped]

FOLDER = Path(__file__).resolve().parents[1] / "fonts"

FAMILIES = {
    "Inter": "Inter-ExtraBold.ttf",
    "Montserrat": "Montserrat-ExtraBold.ttf",
    "Anton": "Anton-Regular.ttf",
    "Bebas Neue": "BebasNeue-Regular.ttf",
    "Playfair Display": "PlayfairDisplay-Bold.ttf",
    "Roboto Mono": "RobotoMono-Bold.ttf",
    "Noto Sans": "NotoSans-Bold.ttf",
}
EMOJI = "NotoColorEmoji.ttf"
_SCRIPTS = (
    *("Arabic", "Hebrew", "Devanagari", "Thai", "Bengali", "Tamil", "Telugu", "Gujarati", "Gurmukhi", "Kannada"),
    *("Malayalam", "Sinhala", "Khmer", "Lao", "Myanmar", "Armenian", "Georgian", "Ethiopic"),
)
FALLBACKS = (
    "NotoSans-Bold.ttf",
    *(f"NotoSans{script}-Bold.ttf" for script in _SCRIPTS),
    "NotoSansCJK-Bold-subset.otf",
    "NotoSansSymbols-Bold.ttf",
    "NotoSansSymbols2-Regular.ttf",
)

EMOJI_SCALE = 0.82  # of the em: an emoji as drawn in the font towers over the letters beside it
_TEXT_STYLE, _EMOJI_STYLE, _KEYCAP, _JOINER = "\ufe0e", "\ufe0f", "\u20e3", "\u200d"
_ALWAYS_COVERED = {_TEXT_STYLE, _EMOJI_STYLE, _JOINER, "\u200c"}
# Shown as emoji unless a text selector follows: all of the emoji planes, and the symbols that people type as emoji.
_EMOJI_START = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u231a\u231b\u23e9-\u23f3\u25fd\u25fe\u2b1b\u2b1c\u2b50\u2b55]"
)


class Font:
    """One font file, to shape with (HarfBuzz) and to draw with (FreeType). Measures are in ems."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_emoji = name == EMOJI
        self.scale = EMOJI_SCALE if self.is_emoji else 1.0
        self.shaper = hb.Font(hb.Face(hb.Blob.from_file_path(str(FOLDER / name))))
        self.units = self.shaper.face.upem
        extents = self.shaper.get_font_extents("ltr")
        self.ascent, self.descent = extents.ascender / self.units, -extents.descender / self.units
        self._characters = self.shaper.face.unicodes

    @cached_property
    def face(self) -> freetype.Face:
        return freetype.Face(str(FOLDER / self.name))

    def covers(self, text: str) -> bool:
        return all(char in _ALWAYS_COVERED or ord(char) in self._characters for char in text)


@cache
def load(name: str) -> Font:
    return Font(name)


def choose(cluster: str, family: str) -> Font:
    """The font for one grapheme cluster: emoji, else the family, else the first that has every character of it."""
    if _is_emoji(cluster):
        return load(EMOJI)
    names = (FAMILIES[family], *FALLBACKS, EMOJI)
    return _covering(cluster, names) or _covering(cluster[:1], names) or load(FALLBACKS[0])


def missing() -> list[str]:
    """Bundled files that are not there; a broken installation, told at the start."""
    return [name for name in (*FAMILIES.values(), *FALLBACKS, EMOJI) if not (FOLDER / name).is_file()]


def _covering(cluster: str, names: Iterable[str]) -> Font | None:
    return next((font for font in map(load, names) if font.covers(cluster)), None)


def _is_emoji(cluster: str) -> bool:
    if _TEXT_STYLE in cluster or not load(EMOJI).covers(cluster[:1]):
        return False
    return _EMOJI_STYLE in cluster or _KEYCAP in cluster or bool(_EMOJI_START.match(cluster))
