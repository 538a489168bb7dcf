"""An MP4 or QuickTime file, opened: its tracks, and where in the file and in time each of their samples lies."""

import mmap
import struct
from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from operator import add
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.mp4 import tables
from novai_web.engines.ffmpeg.mp4.boxes import UNITY, Box, boxes, find

TRACKS_MAX = 64
EDITS_MAX = 10_000
ONCE = 1 << 16  # the rate of an edit that is played as it was recorded
NOTHING = -1  # the media time of an edit in which nothing is shown

_COVERS = {b"jpeg", b"png ", b"mjpa", b"mjpb", b"gif ", b"tiff"}
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"uuid"}
_MATRIX_POINTS = (16, 16, 30)  # bits after the point, by row of the second factor
_DAMAGED = "its index is damaged"


class Fragmented(Malformed):
    """The samples are described beside them, piece by piece, not in one index."""


class Edit(NamedTuple):
    """`duration` in ticks of the movie, `media_time` in ticks of the track or NOTHING, `rate` as 16.16 bits."""

    duration: int
    media_time: int
    rate: int


class Shown(NamedTuple):
    """The one stretch of a track that is shown, in its ticks; `end` is None where it ends by itself.

    `delay` is how long after the movie's beginning it begins, in seconds.
    """

    delay: Fraction
    start: int
    end: int | None


class Closable(ABC):
    """Open from the beginning to the end of a `with`."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Movie(Closable):
    """A file that stays open while it is used. Raises Malformed for what it is not, Fragmented for its other kind.

    Of the tracks only pictures and sounds are told of. Their sample tables are read when they are asked for.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise Malformed("it is empty")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._map)
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        data = self._map
        if data[4:8] not in _FIRST_BOXES:
            raise Malformed("it is not an MP4")
        movie = find(data, 0, len(data), b"moov")
        if movie is None:
            raise Malformed("it has no index")
        if find(data, movie.start, movie.end, b"mvex"):
            raise Fragmented("it is fragmented")
        head = _require(data, movie, b"mvhd")
        long = _version(data, head)
        (self.timescale,) = _unpack(">I", data, head, 20 if long else 12)
        self.matrix = _bytes(data, head, 48 if long else 36, 36)
        if self.timescale == 0:
            raise Malformed(_DAMAGED)
        parts = [part for part in boxes(data, movie.start, movie.end) if part.name == b"trak"]
        if len(parts) > TRACKS_MAX:
            raise Malformed("it has too many tracks")
        found = [Track(self, part) for part in parts if _kind(data, part) in ("vide", "soun")]
        self.tracks = tuple(found)

    @cached_property
    def video(self) -> "Track | None":
        """The first that is switched on and moves; a cover does not."""
        moving = [track for track in self.tracks if track.kind == "vide" and not track.is_cover]
        return next((track for track in moving if track.enabled), moving[0] if moving else None)

    @cached_property
    def audio(self) -> "Track | None":
        sounds = [track for track in self.tracks if track.kind == "soun"]
        return next((track for track in sounds if track.enabled), sounds[0] if sounds else None)

    @property
    def data(self) -> mmap.mmap:
        return self._map

    @property
    def view(self) -> memoryview:
        return self._view

    def close(self) -> None:
        """Samples that are still in use keep the file mapped until they are gone."""
        self._view.release()
        with suppress(BufferError):
            self._map.close()


class Track:
    """A picture or a sound. Times are in ticks, `timescale` of which are a second, in decoding order.

    `entry` is the first sample description, whole, of `entries`; `width` and `height` are as displayed, in 16.16 bits;
    `matrix` turns the picture, the movie's own turning included.
    """

    def __init__(self, movie: Movie, part: Box) -> None:
        self._movie = movie
        data = movie.data
        self.kind = _kind(data, part)
        head = _require(data, part, b"tkhd")
        long = _version(data, head)
        self.enabled = bool(_unpack(">I", data, head, 0)[0] & 1)
        self.matrix = _product(_bytes(data, head, 52 if long else 40, 36), movie.matrix)
        self.width, self.height = _unpack(">II", data, head, 88 if long else 76)
        media = _require(data, part, b"mdia", b"mdhd")
        long = _version(data, media)
        (self.timescale,) = _unpack(">I", data, media, 20 if long else 12)
        (self.language,) = _unpack(">H", data, media, 32 if long else 20)
        if self.timescale == 0:
            raise Malformed(_DAMAGED)
        self.edits = _edits(data, find(data, part.start, part.end, b"edts", b"elst"))
        self._table = _require(data, part, b"mdia", b"minf", b"stbl")
        self.entries, self.entry = _first_entry(data, _require(data, self._table, b"stsd"))

    @property
    def tag(self) -> bytes:
        """The four letters that name the codec."""
        return self.entry[4:8]

    @property
    def count(self) -> int:
        """Of its samples, without reading where they are."""
        return tables.sample_count(self._movie.data, self._table)

    @property
    def is_cover(self) -> bool:
        return self.tag in _COVERS and self.count <= 1

    @cached_property
    def sizes(self) -> Sequence[int]:
        """In bytes."""
        return tables.read_sizes(self._movie.data, self._table)

    @cached_property
    def offsets(self) -> Sequence[int]:
        """In the file; every sample lies in it."""
        return tables.read_offsets(self._movie.data, self._table, self.sizes)

    @cached_property
    def durations(self) -> Sequence[int]:
        """From each sample's decoding to the next one's."""
        return tables.read_durations(self._movie.data, self._table, self.count)

    @cached_property
    def composition(self) -> Sequence[int]:
        """From each sample's decoding to its being shown."""
        return tables.read_composition(self._movie.data, self._table, self.count)

    @cached_property
    def sync(self) -> Sequence[bool]:
        """Whether the file says that decoding can begin there."""
        return tables.read_sync(self._movie.data, self._table, self.count)

    @cached_property
    def decode_times(self) -> Sequence[int]:
        return array("q", accumulate(self.durations[:-1], initial=0)) if self.count else array("q")

    @cached_property
    def times(self) -> Sequence[int]:
        """When each sample is shown, before the edit list."""
        return array("q", map(add, self.decode_times, self.composition))

    @cached_property
    def shown(self) -> Shown | None:
        """What the edit list says, where it says one stretch at the usual speed, perhaps after a pause; else None."""
        if not self.edits:
            return Shown(Fraction(0), 0, None)
        pauses = [edit for edit in self.edits if edit.media_time == NOTHING]
        stretches = [edit for edit in self.edits if edit.media_time != NOTHING]
        if len(stretches) != 1 or stretches[0].rate != ONCE or self.edits[len(pauses)] != stretches[0]:
            return None
        start, scale = stretches[0].media_time, self._movie.timescale
        ticks = (2 * stretches[0].duration * self.timescale + scale) // (2 * scale)  # rounded as libav does it
        end = start + ticks if stretches[0].duration else None
        return Shown(Fraction(sum(edit.duration for edit in pauses), scale), start, end)

    def sample(self, index: int) -> memoryview:
        """The bytes of one sample, as they lie in the file."""
        start = self.offsets[index]
        return self._movie.view[start : start + self.sizes[index]]


def _require(data: mmap.mmap, parent: Box, *path: bytes) -> Box:
    found = find(data, parent.start, parent.end, *path)
    if found is None:
        raise Malformed(_DAMAGED)
    return found


def _bytes(data: mmap.mmap, part: Box, offset: int, length: int) -> bytes:
    start = part.start + offset
    if start + length > part.end:
        raise Malformed(_DAMAGED)
    return data[start : start + length]


def _unpack(layout: str, data: mmap.mmap, part: Box, offset: int) -> tuple[int, ...]:
    return struct.unpack(layout, _bytes(data, part, offset, struct.calcsize(layout)))


def _version(data: mmap.mmap, part: Box) -> bool:
    """Whether times are written in 64 bits."""
    return _bytes(data, part, 0, 1) != b"\0"


def _kind(data: mmap.mmap, part: Box) -> str:
    """ "vide", "soun", or something that does not matter here."""
    handler = find(data, part.start, part.end, b"mdia", b"hdlr")
    return _bytes(data, handler, 8, 4).decode("latin-1") if handler else ""


def _edits(data: mmap.mmap, part: Box | None) -> list[Edit]:
    if part is None:
        return []
    layout = ">QqI" if _version(data, part) else ">IiI"
    (count,) = _unpack(">I", data, part, 4)
    if count > EDITS_MAX:
        raise Malformed(_DAMAGED)
    rows = _bytes(data, part, 8, count * struct.calcsize(layout))
    edits = [Edit(*row) for row in struct.iter_unpack(layout, rows)]
    if any(edit.media_time < NOTHING for edit in edits):
        raise Malformed(_DAMAGED)
    return edits


def _first_entry(data: mmap.mmap, part: Box) -> tuple[int, bytes]:
    (count,) = _unpack(">I", data, part, 4)
    entry = next(boxes(data, part.start + 8, part.end), None)
    if count == 0 or entry is None:
        raise Malformed(_DAMAGED)
    return count, struct.pack(">I4s", 8 + entry.end - entry.start, entry.name) + data[entry.start : entry.end]


def _product(first: bytes, second: bytes) -> bytes:
    """One turning after another: matrices of three by three, the last column with 30 bits after the point."""
    if second == UNITY:
        return first
    left, right = struct.unpack(">9i", first), struct.unpack(">9i", second)
    cells = [
        sum(left[3 * row + inner] * right[3 * inner + column] >> _MATRIX_POINTS[inner] for inner in range(3))
        for row in range(3)
        for column in range(3)
    ]
    if any(not -(1 << 31) <= cell < 1 << 31 for cell in cells):
        raise Malformed(_DAMAGED)
    return struct.pack(">9i", *cells)
