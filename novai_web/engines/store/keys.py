"""The names objects may have: a subset that every store, file system and URL agrees on."""

import re

KEY_LENGTH_MAX = 512
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127})*", re.ASCII)


def check_key(key: str) -> str:
    """The key, or ValueError. Parts cannot be empty or begin with a dot, so none can climb or hide."""
    if len(key) > KEY_LENGTH_MAX or not _KEY.fullmatch(key):
        raise ValueError(f"not a storage key: {key[:KEY_LENGTH_MAX]!r}")
    return key


def check_prefix(prefix: str) -> str:
    """A folder to list, without its closing slash; "" is everything."""
    folder = prefix.removesuffix("/")
    return check_key(folder) if folder else folder


def check_range(start: int, end: int | None) -> None:
    if start < 0 or (end is not None and end < 0):
        raise ValueError(f"not a byte range: {start} to {end}")
