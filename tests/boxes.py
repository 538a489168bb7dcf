"""Reads MP4 as ISO 14496-12 has it, with nothing of the product's own reader, so that each can judge the other."""

import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice, pairwise, repeat
from pathlib import Path
from typing import NamedTuple

VISUAL_HEADER = 86  # bytes of a visual sample entry before the boxes inside it
SLICE, IDR, SPS, PPS = 1, 5, 7, 8  # types of NAL units


class Box(NamedTuple):
    name: bytes
    start: int  # of the whole box
    body: int
    end: int


class Edit(NamedTuple):
    """`duration` is in the movie's ticks, `media_time` in the track's; −1 is a wait."""

    duration: int
    media_time: int
    rate: int  # 16.16


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1:
            size, header = struct.unpack_from(">Q", data, start + 8)[0], 16
        elif size == 0:
            size = end - start
        assert header <= size <= end - start, f"the box {name!r} at {start} does not fit where it stands"
        yield Box(name, start, start + header, start + size)
        start += size


def find(data: bytes, path: str, within: Box | None = None) -> list[Box]:
    """All boxes at a path such as "moov.trak.mdia"."""
    found = [within] if within else [Box(b"", 0, 0, len(data))]
    for name in path.split("."):
        found = [box for outer in found for box in boxes(data, outer.body, outer.end) if box.name == name.encode()]
    return found


def body(data: bytes, path: str, within: Box | None = None) -> bytes:
    """What is in the only box at this path; empty if there is none."""
    found = find(data, path, within)
    assert len(found) <= 1, f"there are {len(found)} boxes at {path}"
    return data[found[0].body : found[0].end] if found else b""


class Track:
    """One track of a movie that is not fragmented."""

    def __init__(self, data: bytes, trak: Box) -> None:
        self.data, self.trak = data, trak
        self.kind = body(data, "mdia.hdlr", trak)[8:12].decode()
        self.timescale, self.duration = _scale_and_duration(body(data, "mdia.mdhd", trak))
        header = body(data, "tkhd", trak)
        self.shown_duration = (
            struct.unpack_from(">Q", header, 28)[0] if header[0] else struct.unpack_from(">I", header, 20)[0]
        )
        self.matrix = struct.unpack(">9i", header[-44:-8])
        self.shown_size = struct.unpack(">2I", header[-8:])  # 16.16
        self.edits = self._edits()
        self.entries = list(boxes(data, self.table("stsd").body + 8, self.table("stsd").end))
        self.sizes = self._sizes()
        self.durations = list(islice(_runs(self._rows("stts", ">II")), len(self.sizes)))
        ctts = self._rows("ctts", ">Ii") if find(data, "mdia.minf.stbl.ctts", trak) else [(len(self.sizes), 0)]
        self.composition = list(islice(_runs(ctts), len(self.sizes)))
        self.sync = (
            {number - 1 for (number,) in self._rows("stss", ">I")}
            if find(data, "mdia.minf.stbl.stss", trak)
            else set(range(len(self.sizes)))
        )

    @property
    def decode_times(self) -> list[int]:
        return list(accumulate(self.durations, initial=0))[:-1]

    @property
    def times(self) -> list[int]:
        """When each sample is presented, in media ticks, in the order of decoding."""
        return [decode + offset for decode, offset in zip(self.decode_times, self.composition, strict=True)]

    @property
    def offsets(self) -> list[int]:
        wide = bool(find(self.data, "mdia.minf.stbl.co64", self.trak))
        chunks = [at for (at,) in self._rows("co64" if wide else "stco", ">Q" if wide else ">I")]
        rows = [*self._rows("stsc", ">III"), (len(chunks) + 1, 0, 0)]
        found: list[int] = []
        for (first, count, _), (until, _, _) in pairwise(rows):
            for at in chunks[first - 1 : until - 1]:
                for _ in range(count):
                    found.append(at)
                    at += self.sizes[len(found) - 1]
        return found

    @property
    def samples(self) -> list[bytes]:
        return [self.data[at : at + size] for at, size in zip(self.offsets, self.sizes, strict=True)]

    @property
    def parameter_sets(self) -> tuple[list[bytes], list[bytes]]:
        """SPS and PPS of the avcC."""
        config = body(self.data, "avcC", Box(b"", 0, self.entries[0].start + VISUAL_HEADER, self.entries[0].end))
        found: tuple[list[bytes], list[bytes]] = ([], [])
        at = 5
        for group, mask in zip(found, (31, 255), strict=True):
            count, at = config[at] & mask, at + 1
            for _ in range(count):
                size = int.from_bytes(config[at : at + 2], "big")
                group.append(config[at + 2 : at + 2 + size])
                at += 2 + size
        return found

    def table(self, name: str) -> Box:
        return find(self.data, f"mdia.minf.stbl.{name}", self.trak)[0]

    def _rows(self, name: str, row: str) -> list[tuple[int, ...]]:
        content = body(self.data, f"mdia.minf.stbl.{name}", self.trak)
        count = int.from_bytes(content[4:8], "big")
        return list(struct.iter_unpack(row, content[8 : 8 + count * struct.calcsize(row)]))

    def _sizes(self) -> list[int]:
        content = body(self.data, "mdia.minf.stbl.stsz", self.trak)
        fixed, count = struct.unpack_from(">II", content, 4)
        return [fixed] * count if fixed else list(struct.unpack_from(f">{count}I", content, 12))

    def _edits(self) -> list[Edit]:
        content = body(self.data, "edts.elst", self.trak)
        row = ">QqI" if content[:1] == b"\x01" else ">IiI"
        return [Edit(*edit) for edit in struct.iter_unpack(row, content[8:])]


class Movie:
    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.timescale, self.duration = _scale_and_duration(body(self.data, "moov.mvhd"))
        self.tracks = [Track(self.data, trak) for trak in find(self.data, "moov.trak")]

    @property
    def video(self) -> Track:
        return next(track for track in self.tracks if track.kind == "vide")


def nals(sample: bytes) -> list[bytes]:
    """The NAL units of a sample whose lengths have four bytes. They must fill it."""
    found, at = [], 0
    while at < len(sample):
        size = int.from_bytes(sample[at : at + 4], "big")
        assert 0 < size <= len(sample) - at - 4, "a NAL unit does not fit into its sample"
        found.append(sample[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def nal_types(sample: bytes) -> list[int]:
    return [nal[0] & 31 for nal in nals(sample)]


def clean_keyframes(track: Track) -> list[int]:
    """Samples at which a decoder may begin and before which it may end: an IDR that no frame crosses."""
    times = track.times
    return [
        index
        for index, sample in enumerate(track.samples)
        if IDR in nal_types(sample)
        and min(times[index:]) == times[index]
        and max(times[:index], default=-1) < times[index]
    ]


def _scale_and_duration(header: bytes) -> tuple[int, int]:
    return struct.unpack_from(">IQ", header, 20) if header[0] else struct.unpack_from(">II", header, 12)


def _runs(rows: Sequence[tuple[int, ...]]) -> Iterator[int]:
    for count, value in rows:
        yield from repeat(value, count)


def with_content(data: bytes, path: str, content: bytes | None, within: Box | None = None) -> bytes:
    """The same file with other content in the only box at this path, or without that box.

    Only for files whose index comes last, so that no sample moves.
    """
    (box,) = find(data, path, within)
    new = b"" if content is None else struct.pack(">I4s", 8 + len(content), box.name) + content
    grown = len(new) - (box.end - box.start)
    changed = bytearray(data[: box.start] + new + data[box.end :])
    for outer in _around(data, box):
        struct.pack_into(">I", changed, outer.start, outer.end - outer.start + grown)
    return bytes(changed)


def _around(data: bytes, box: Box) -> Iterator[Box]:
    """The boxes a box is in. Not those with fields of their own before the boxes inside them."""
    start, end = 0, len(data)
    while outer := next((b for b in boxes(data, start, end) if b.start < box.start < b.end), None):
        yield outer
        start, end = outer.body, outer.end
