"""File names of variants: from a template, safe on every system, no two alike."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import date
from string import Formatter
from typing import NamedTuple

from novai_web.errors import InvalidInput

PLACEHOLDERS = ("n", "video", "audio", "hook", "date")
DEFAULT_TEMPLATE = "{n} {video} {audio} {hook}"
TEMPLATE_LENGTH_MAX = 100
NAME_BYTES_MAX = 120  # with the extension; leaves room for a folder in a ZIP on systems that stop at 255

_FORBIDDEN = re.compile(r'[/\\:*?"<>|\s]+')  # separators, and what Windows refuses
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
_JOINERS = "\u200c\u200d"  # Persian words and emoji families are spelt with these; every other format mark goes


class Parts(NamedTuple):
    """What one variant is made of, as people named it. `n` counts from 0 and is shown from 1."""

    n: int
    video: str
    audio: str = ""
    hook: str = ""


def check(template: str) -> None:
    """Raises InvalidInput on the field `name_template`, saying what to write instead."""
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    if len(template) > TEMPLATE_LENGTH_MAX:
        raise _invalid(f"The name is longer than {TEMPLATE_LENGTH_MAX} characters. Shorten it.")
    try:
        fields = [
            (name, spec, conversion) for _, name, spec, conversion in Formatter().parse(template) if name is not None
        ]
    except ValueError:
        raise _invalid(f"A brace is missing its partner. Use {known}, and {{{{ for a plain brace.") from None
    for name, spec, conversion in fields:
        if name not in PLACEHOLDERS or spec or conversion:
            raise _invalid(f"“{{{name}}}” is not something a name can be made of. Use {known}.")
    if not template.strip():
        raise _invalid(f"The name is empty. Use {known}.")


def name_all(template: str, parts: Sequence[Parts], today: date, extension: str = ".mp4") -> list[str]:
    """One file name for each, in order. Unique also where case is ignored, and at most NAME_BYTES_MAX bytes."""
    check(template)
    digits = len(str(max((part.n for part in parts), default=0) + 1))
    taken: dict[str, int] = {}
    return [_unique(_stem(template, part, today, digits, extension), extension, taken) for part in parts]


def safe(text: str) -> str:
    """`text` without anything that means something to a file system, a terminal or a bidi algorithm."""
    text = _FORBIDDEN.sub(" ", unicodedata.normalize("NFC", text))
    text = "".join(char for char in text if char in _JOINERS or unicodedata.category(char)[0] != "C")
    return " ".join(text.split()).strip(" .-~" + _JOINERS)


def _stem(template: str, part: Parts, today: date, digits: int, extension: str) -> str:
    """Long values give way, the longest first, so that the number and the template's own words survive."""
    values = {name: safe(getattr(part, name)) for name in ("video", "audio", "hook")}
    values |= {"n": f"{part.n + 1:0{digits}}", "date": today.isoformat()}
    room = NAME_BYTES_MAX - len(extension.encode())
    while len((stem := safe(template.format_map(values))).encode()) > room:
        longest = max(("video", "audio", "hook"), key=lambda name: len(values[name].encode()))
        if not values[longest]:
            return cut(stem, room)
        excess = len(stem.encode()) - room
        values[longest] = cut(values[longest], max(0, len(values[longest].encode()) - max(1, excess // 3)))
    stem = stem or values["n"]
    return cut(f"_{stem}", room) if _RESERVED.match(stem) else stem


def _unique(stem: str, extension: str, taken: dict[str, int]) -> str:
    """`taken` remembers how often each name was wanted, so that the ten-thousandth costs no more than the first."""
    number, candidate = taken.get(_key(stem), 0), stem
    while _key(candidate) in taken:
        number += 1
        ending = f" ({number + 1})"
        candidate = cut(stem, NAME_BYTES_MAX - len((ending + extension).encode())) + ending
    taken[_key(stem)] = number
    taken[_key(candidate)] = taken.get(_key(candidate), 0)
    return candidate + extension


def _key(name: str) -> str:
    """Two names with the same key are one file on macOS or Windows."""
    return unicodedata.normalize("NFKC", name).casefold()


def cut(text: str, size_bytes: int) -> str:
    """The longest beginning of `text` of so many bytes in UTF-8, without half a character."""
    return text.encode()[: max(0, size_bytes)].decode(errors="ignore").rstrip(" .-" + _JOINERS)


def _invalid(sentence: str) -> InvalidInput:
    return InvalidInput({"name_template": sentence})
