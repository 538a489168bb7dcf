"""Boxes, of which an MP4 consists: a length, a name, and what is in it (ISO/IEC 14496-12, 4.2)."""

import struct
from collections.abc import Collection, Iterator
from mmap import mmap
from typing import NamedTuple

from novai_web.engines.ffmpeg.malformed import Malformed

BOXES_MAX = 10_000  # side by side
VISUAL_HEADER, AUDIO_HEADER = 86, 36  # bytes of a sample entry before its first child, its own header included
UNITY = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)  # the matrix that turns nothing

Bytes = bytes | bytearray | memoryview
Mapped = bytes | mmap

_HEAD = struct.Struct(">I4s")
_LONG = struct.Struct(">Q")
_TO_THE_END, _LONG_FOLLOWS = 0, 1  # lengths that are none


class Box(NamedTuple):
    """`start` and `end` of its payload, as offsets in the data."""

    name: bytes
    start: int
    end: int


def boxes(data: Mapped, start: int, end: int) -> Iterator[Box]:
    """The boxes side by side. Raises Malformed for one that does not lie in its parent.

    Fewer than eight bytes at the end are no box, nor are zeros: QuickTime ends lists with them.
    """
    for _ in range(BOXES_MAX):
        if start + _HEAD.size > end:
            return
        length, name = _HEAD.unpack_from(data, start)
        head = _HEAD.size
        if length == _LONG_FOLLOWS and start + head + _LONG.size <= end:
            (length,) = _LONG.unpack_from(data, start + head)
            head += _LONG.size
        elif length == _TO_THE_END:
            if name == bytes(4):
                return
            length = end - start
        if length < head or start + length > end:
            raise Malformed("its index is damaged")
        yield Box(name, start + head, start + length)
        start += length
    raise Malformed("its index has too many parts")


def find(data: Mapped, start: int, end: int, *path: bytes) -> Box | None:
    """The first box of each name, each within the one before it."""
    found: Box | None = None
    for name in path:
        found = next((box for box in boxes(data, start, end) if box.name == name), None)
        if found is None:
            return None
        start, end = found.start, found.end
    return found


def box(name: bytes, *parts: bytes) -> bytes:
    return _HEAD.pack(_HEAD.size + sum(map(len, parts)), name) + b"".join(parts)


def full_box(name: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return box(name, struct.pack(">I", version << 24 | flags), *parts)


def child(entry: bytes, name: bytes, header: int) -> bytes | None:
    """The payload of a box in a sample entry, whose first child stands after so many bytes."""
    found = find(entry, header, len(entry), name)
    return entry[found.start : found.end] if found else None


def with_child(entry: bytes, name: bytes, payload: bytes, header: int, drop: Collection[bytes] = ()) -> bytes:
    """The sample entry with another payload in one of its boxes, which is appended if there is none."""
    parts, is_there = [], False
    for found in boxes(entry, header, len(entry)):
        if found.name == name and not is_there:
            parts.append(box(name, payload))
            is_there = True
        elif found.name != name and found.name not in drop:
            parts.append(box(found.name, entry[found.start : found.end]))
    if not is_there:
        parts.append(box(name, payload))
    return box(entry[4:8], entry[8:header], *parts)
