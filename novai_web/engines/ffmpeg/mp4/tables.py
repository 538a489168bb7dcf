"""The tables of a track's samples: how long each is, where it lies, and when (ISO/IEC 14496-12, 8.6 and 8.7).

Every table must fit in its box, agree with the others on the number of samples, and point into the file: so neither
time nor memory can grow beyond what the file itself has bytes for.
"""

import struct
import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise

from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.mp4.boxes import Box, Mapped, find

SAMPLES_MAX = 4_000_000  # of one track: 37 hours at 30 frames a second
DURATION_MAX = 1 << 31  # what is longer is a negative number that went wrong

_DAMAGED = "its index is damaged"


def sample_count(data: Mapped, table: Box) -> int:
    """Only the number, whatever the lengths."""
    found = _require(data, table, b"stsz", b"stz2")
    (count,) = struct.unpack_from(">I", _fixed(data, found, 12), 8)
    if count > SAMPLES_MAX:
        raise Malformed("it has too many samples")
    return int(count)


def read_sizes(data: Mapped, table: Box) -> Sequence[int]:
    """In bytes, of every sample."""
    count = sample_count(data, table)
    found = _require(data, table, b"stsz", b"stz2")
    (field,) = struct.unpack_from(">I", data, found.start + 4)
    if found.name == b"stsz":
        sizes = array("I", [field]) * count if field else _numbers("I", _rows(data, found, 32 * count))
    else:
        sizes = _compact(_rows(data, found, (field & 0xFF) * count), field & 0xFF, count)
    if sum(sizes) > len(data):
        raise Malformed(_DAMAGED)
    return sizes


def read_durations(data: Mapped, table: Box, count: int) -> Sequence[int]:
    """In media ticks, from each sample's decoding to the next one's."""
    return _run_lengths(data, _require(data, table, b"stts"), ">II", count, DURATION_MAX)


def read_composition(data: Mapped, table: Box, count: int) -> Sequence[int]:
    """In media ticks, from each sample's decoding to its being shown. Negative ones occur in either version."""
    found = find(data, table.start, table.end, b"ctts")
    return _run_lengths(data, found, ">Ii", count, DURATION_MAX) if found else array("i", [0]) * count


def read_sync(data: Mapped, table: Box, count: int) -> Sequence[bool]:
    """Whether the file says of each sample that decoding can begin there."""
    found = find(data, table.start, table.end, b"stss")
    if found is None:
        return [True] * count
    sync = [False] * count
    for number in _numbers("I", _counted(data, found, 4)):
        if not 1 <= number <= count:
            raise Malformed(_DAMAGED)
        sync[number - 1] = True
    return sync


def read_offsets(data: Mapped, table: Box, sizes: Sequence[int]) -> Sequence[int]:
    """Where in the file each sample begins. All lie in it, and none over another."""
    found = _require(data, table, b"stco", b"co64")
    width, kind = (4, "I") if found.name == b"stco" else (8, "Q")
    chunks = _numbers(kind, _counted(data, found, width))
    offsets, ends, first, count = array("Q"), array("Q"), 0, len(sizes)
    for chunk, samples in zip(chunks, _samples_per_chunk(data, table, len(chunks)), strict=True):
        last = min(count, first + samples)
        end = chunk + sum(sizes[first:last])
        if end > len(data):
            raise Malformed("its index points beyond its end")
        offsets.extend(accumulate(sizes[first : last - 1], initial=chunk) if last > first else ())
        ends.append(end)
        first = last
    # Each chunk ends before the next one begins exactly if that holds for all ends and all beginnings in order.
    if first != count or any(end > begin for end, begin in zip(sorted(ends), sorted(chunks)[1:], strict=False)):
        raise Malformed(_DAMAGED)
    return offsets


def _samples_per_chunk(data: Mapped, table: Box, chunks: int) -> Sequence[int]:
    """The table says from which chunk on a number holds; it is 1 for the first chunk."""
    rows = list(struct.iter_unpack(">III", _counted(data, _require(data, table, b"stsc"), 12)))
    counts = array("I")
    for (first, samples, _), (following, _, _) in pairwise([*rows, (chunks + 1, 0, 0)]):
        if first != len(counts) + 1 or following < first or following > chunks + 1:
            raise Malformed(_DAMAGED)
        counts.extend(array("I", [samples]) * (following - first))
    if len(counts) != chunks:
        raise Malformed(_DAMAGED)
    return counts


def _run_lengths(data: Mapped, found: Box, row: str, count: int, limit: int) -> Sequence[int]:
    """Pairs of how many samples, and the value that all of them have."""
    kind = row[-1]
    filled = array(kind)
    for samples, value in struct.iter_unpack(row, _counted(data, found, 8)):
        if value >= limit or len(filled) + samples > count:
            raise Malformed(_DAMAGED)
        filled.extend(array(kind, [value]) * samples)
    if len(filled) != count:
        raise Malformed(_DAMAGED)
    return filled


def _require(data: Mapped, table: Box, *names: bytes) -> Box:
    """The first of these boxes that is there."""
    for name in names:
        if (found := find(data, table.start, table.end, name)) is not None:
            return found
    raise Malformed(_DAMAGED)


def _fixed(data: Mapped, found: Box, length: int) -> bytes:
    if found.start + length > found.end:
        raise Malformed(_DAMAGED)
    return data[found.start : found.start + length]


def _counted(data: Mapped, found: Box, width: int) -> bytes:
    """So many rows as the table says, which must all be in its box."""
    (count,) = struct.unpack_from(">I", _fixed(data, found, 8), 4)
    start = found.start + 8
    if count > SAMPLES_MAX or start + count * width > found.end:
        raise Malformed(_DAMAGED)
    return data[start : start + count * width]


def _rows(data: Mapped, found: Box, bits: int) -> bytes:
    """What follows a table's twelve bytes of head: so many bits, which must all be in its box."""
    start, length = found.start + 12, (bits + 7) // 8
    if start + length > found.end:
        raise Malformed(_DAMAGED)
    return data[start : start + length]


def _numbers(kind: str, data: bytes) -> "array[int]":
    """Big-endian numbers as an array of this machine's."""
    numbers = array(kind, data)
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def _compact(data: bytes, bits: int, count: int) -> "array[int]":
    """Sizes of 4, 8 or 16 bits."""
    if bits == 4:
        halves = (half for byte in data for half in (byte >> 4, byte & 15))
        return array("I", [half for half, _ in zip(halves, range(count), strict=False)])
    if bits == 8:
        return array("I", list(data))
    if bits == 16:
        return array("I", _numbers("H", data))
    raise Malformed(_DAMAGED)
