"""The words people give to things: made safe to store, to show and to use as a file name."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

NAME_CHARACTERS_MAX = 200
FILE_NAME_BYTES_MAX = 200
TAG_CHARACTERS_MAX = 40
TAGS_MAX = 30

# Marks that turn the reading direction around: a name with them can pretend to have another ending.
_DIRECTION = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_NOT_IN_FILE_NAMES = re.compile(r'[\\/:*?"<>|]+')
_ENDING = re.compile(
    r"\.(mp4|m4v|mov|mkv|webm|mp3|wav|m4a|aac|flac|ogg|oga|opus|jpe?g|png|webp|safetensors)$", re.IGNORECASE
)


def plain(text: str, *, lines: bool = False) -> str:
    """Text without control characters and broken surrogates; one line unless `lines`."""
    if lines:
        return "\n".join(plain(line) for line in text.splitlines()).strip("\n")
    kept = "".join(
        " " if character.isspace() else character
        for character in unicodedata.normalize("NFC", text)
        if character.isspace() or unicodedata.category(character) not in ("Cc", "Cs")
    )
    return " ".join(kept.split())


def name(text: str) -> str:
    """A name for a thing: one plain line without direction marks, cut to what a name may have. May be empty."""
    clean = plain(text.translate(_DIRECTION))[:NAME_CHARACTERS_MAX].strip()
    return clean if is_visible(clean) else ""


def is_visible(text: str) -> bool:
    """Whether anything of it can be seen: not only spaces, controls and characters without a width."""
    return any(unicodedata.category(character)[0] not in "CZ" for character in text)


def name_of_file(filename: str) -> str:
    """What an asset is called when only its file's name is known: no folders, no ending."""
    last = name(PurePosixPath(filename.replace("\\", "/").replace("\0", "")).name[-4 * NAME_CHARACTERS_MAX :])
    stem = _ENDING.sub("", last).strip(" .")
    return stem if is_visible(stem) else "Untitled"


def file_name(text: str) -> str:
    """A name every file system and ZIP program takes, with room for an ending."""
    whole = _NOT_IN_FILE_NAMES.sub("_", name(text)).strip(" .")
    return whole.encode()[:FILE_NAME_BYTES_MAX].decode(errors="ignore").strip() or "untitled"


def tags(given: list[str]) -> list[str]:
    """Tags once each, in the order given, whatever their case."""
    found: dict[str, str] = {}
    for tag in given:
        clean = name(tag.replace(",", " "))[:TAG_CHARACTERS_MAX].strip()
        if clean:
            found.setdefault(clean.casefold(), clean)
    return list(found.values())[:TAGS_MAX]


def pattern(word: str) -> str:
    """A LIKE pattern that finds `word` anywhere, its own wildcards taken literally (escape character: backslash)."""
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def distinct(names: Iterable[str]) -> list[str]:
    """The names, numbered where one occurs twice; two that differ only in case are one on many disks."""
    taken: set[str] = set()
    found: list[str] = []
    for name in names:
        path, number, tried = PurePosixPath(name), 1, name
        while tried.casefold() in taken:
            number += 1
            tried = f"{path.stem} ({number}){path.suffix}"
        taken.add(tried.casefold())
        found.append(tried)
    return found
