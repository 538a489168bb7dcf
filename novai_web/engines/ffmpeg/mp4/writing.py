"""Writing an MP4 in one go, its index first, from samples that lie anywhere in memory or in other mapped files."""

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from novai_web.engines.ffmpeg.mp4.boxes import UNITY, Bytes, box, full_box
from novai_web.engines.ffmpeg.mp4.reading import NOTHING, ONCE
from novai_web.engines.ffmpeg.mp4.sound import plain_entry

CHUNK_SECONDS = Fraction(1, 2)  # of one track, before the other's turn comes
VIEWS_AT_ONCE = 1000  # the system takes 1024
TICKS_MIN = 48_000  # a second of the movie, so that a sound's edit is exact to about a sample
UNDETERMINED = 0x55C4  # the language "und", in three times five bits

# Kept free in front of the index for what is signed when the file is finished: see engines/credentials/room.py.
ROOM_BYTES, ROOM_BYTES_PER_CHUNK = 8 * 1024, 48
# What is signed begins so far behind the beginning of the media data, however long its head is.
SIGNED_FROM, SHORT_HEAD = 16, 8
INDEX_BYTES_MAX = 1 << 28  # far more than the index of the longest tracks that are read

_32_BITS = 1 << 32
_FULL_VOLUME = 0x0100
_ENABLED_IN_MOVIE = 3


@dataclass(frozen=True)
class TrackOut:
    """A track to be written. Times are in its own ticks, `timescale` of which are a second.

    `durations` are from each sample's decoding to the next one's, `composition` from its decoding to its being shown.
    What is shown begins at `media_time` and lasts `duration`, after a pause of `delay`; without `sync`, decoding can
    begin at every sample.
    """

    kind: str  # "vide" or "soun"
    timescale: int
    entry: bytes
    samples: Sequence[Bytes]
    durations: Sequence[int]
    composition: Sequence[int] | None = None
    sync: Sequence[bool] | None = None
    media_time: int = 0
    duration: int = 0
    delay: int = 0
    matrix: bytes = UNITY
    width: int = 0
    height: int = 0
    language: int = UNDETERMINED
    digests: dict[tuple[int, int], str] = field(default_factory=dict, repr=False, compare=False)  # of its chunks


class _Chunk(NamedTuple):
    """Samples of one track that lie together; they begin to be decoded at `moment`, in seconds."""

    moment: Fraction
    track: int
    first: int
    last: int
    length: int


def write(path: Path, tracks: Sequence[TrackOut]) -> int:
    """Returns the size of the file, in bytes. An OSError goes up, and leaves what was written so far."""
    chunks = _in_order(tracks)
    length = sum(chunk.length for chunk in chunks)
    kind, free = _kind(tracks), box(b"free", bytes(ROOM_BYTES + ROOM_BYTES_PER_CHUNK * len(chunks)))
    data = _data_head(length)
    wide = length + INDEX_BYTES_MAX >= _32_BITS
    size = len(kind) + len(free) + len(_movie(tracks, chunks, 0, wide)) + len(data)
    head: list[Bytes] = [kind, free, _movie(tracks, chunks, size, wide), data]
    with path.open("wb", buffering=0) as file:
        samples = (tracks[chunk.track].samples[chunk.first : chunk.last] for chunk in chunks)
        _write_all(file.fileno(), head, samples)
    return size + length


def pieces(tracks: Sequence[TrackOut]) -> list[tuple[int, str]]:
    """Length and SHA-256 of each chunk of the media data that `write` writes, as far as it is to be signed.

    Files that share a track share its chunks, so that each is hashed once for all of them.
    """
    chunks = _in_order(tracks)
    skipped = SIGNED_FROM - len(_data_head(sum(chunk.length for chunk in chunks)))
    found: list[tuple[int, str]] = []
    for chunk in chunks:
        digest = _digest(tracks[chunk.track], chunk, 0 if found else skipped)
        found.append((chunk.length - (0 if found else skipped), digest))
    return found


def _digest(track: TrackOut, chunk: _Chunk, skipped: int) -> str:
    known = None if skipped else track.digests.get((chunk.first, chunk.last))
    if known is None:
        content = memoryview(b"".join(track.samples[chunk.first : chunk.last]))[skipped:]
        known = hashlib.sha256(content).hexdigest()
        if not skipped:
            track.digests[chunk.first, chunk.last] = known
    return known


def _in_order(tracks: Sequence[TrackOut]) -> list[_Chunk]:
    return sorted(chunk for number, track in enumerate(tracks) for chunk in _chunks(number, track))


def _data_head(length: int) -> bytes:
    if SHORT_HEAD + length < _32_BITS:
        return struct.pack(">I4s", SHORT_HEAD + length, b"mdat")
    return struct.pack(">I4sQ", 1, b"mdat", 16 + length)


def _write_all(descriptor: int, head: list[Bytes], pieces: Iterable[Sequence[Bytes]]) -> None:
    waiting = head
    for piece in pieces:
        waiting += piece
        while len(waiting) >= VIEWS_AT_ONCE:
            _write_views(descriptor, waiting[:VIEWS_AT_ONCE])
            waiting = waiting[VIEWS_AT_ONCE:]
    _write_views(descriptor, waiting)


def _write_views(descriptor: int, views: list[Bytes]) -> None:
    """The system may take less than it is given."""
    while views:
        written = os.writev(descriptor, views)
        done = 0
        while done < len(views) and written >= len(views[done]):
            written -= len(views[done])
            done += 1
        views = views[done:]
        if views and written:
            views[0] = memoryview(views[0])[written:]


def _chunks(number: int, track: TrackOut) -> Iterator[_Chunk]:
    limit = CHUNK_SECONDS * track.timescale
    first = begin = now = length = 0
    for index, (sample, duration) in enumerate(zip(track.samples, track.durations, strict=True)):
        if now - begin >= limit and index > first:
            yield _Chunk(Fraction(begin, track.timescale), number, first, index, length)
            first, begin, length = index, now, 0
        now += duration
        length += len(sample)
    if track.samples:
        yield _Chunk(Fraction(begin, track.timescale), number, first, len(track.samples), length)


def _kind(tracks: Sequence[TrackOut]) -> bytes:
    """Which parts of the standard a player must know."""
    brands = [b"isom", b"iso2"]
    if any(track.composition and min(track.composition) < 0 for track in tracks):
        brands.append(b"iso4")
    if any(track.entry[4:8] in (b"avc1", b"avc3") for track in tracks):
        brands.append(b"avc1")
    return box(b"ftyp", b"isom", struct.pack(">I", 0x200), *brands, b"mp41")


def _movie(tracks: Sequence[TrackOut], chunks: Sequence[_Chunk], base: int, wide: bool) -> bytes:
    """The index; the first chunk lies at `base`."""
    timescale = _timescale(tracks)
    offsets: list[list[int]] = [[] for _ in tracks]
    for chunk in chunks:
        offsets[chunk.track].append(base)
        base += chunk.length
    parts, longest = [], 0
    for number, track in enumerate(tracks):
        edits = [(_in(timescale, track.duration, track), track.media_time)]
        if track.delay:
            edits.insert(0, (_in(timescale, track.delay, track), NOTHING))
        longest = max(longest, sum(duration for duration, _ in edits))
        counts = [chunk.last - chunk.first for chunk in chunks if chunk.track == number]
        table = _table(track, counts, offsets[number], wide)
        parts.append(_track(number + 1, track, edits, table))
    version = int(longest >= _32_BITS)
    head = full_box(
        b"mvhd",
        version,
        0,
        struct.pack(">QQIQ" if version else ">IIII", 0, 0, timescale, longest),
        struct.pack(">IH10x", ONCE, _FULL_VOLUME),
        UNITY,
        bytes(24),
        struct.pack(">I", len(tracks) + 1),
    )
    return box(b"moov", head, *parts)


def _timescale(tracks: Sequence[TrackOut]) -> int:
    """A multiple of the picture's, so that what is shown of it is exact, and fine enough for the sound."""
    finest = next((track.timescale for track in tracks if track.kind == "vide"), tracks[0].timescale)
    return finest * -(-TICKS_MIN // finest)


def _in(timescale: int, ticks: int, track: TrackOut) -> int:
    return round(Fraction(ticks * timescale, track.timescale))


def _track(number: int, track: TrackOut, edits: Sequence[tuple[int, int]], table: bytes) -> bytes:
    """`edits` are pairs of a duration, in the movie's ticks, and a media time, in the track's."""
    sound = track.kind == "soun"
    duration = sum(duration for duration, _ in edits)
    version = int(duration >= _32_BITS)
    head = full_box(
        b"tkhd",
        version,
        _ENABLED_IN_MOVIE,
        struct.pack(">QQI4xQ" if version else ">III4xI", 0, 0, number, duration),
        struct.pack(">8xhhhH", 0, int(sound), _FULL_VOLUME if sound else 0, 0),
        track.matrix,
        struct.pack(">II", track.width, track.height),
    )
    version = int(duration >= _32_BITS or track.media_time >= _32_BITS // 2)
    rows = [struct.pack(">QqI" if version else ">IiI", *edit, ONCE) for edit in edits]
    listed = box(b"edts", full_box(b"elst", version, 0, struct.pack(">I", len(rows)), *rows))
    length = sum(track.durations)
    version = int(length >= _32_BITS)
    media = full_box(
        b"mdhd",
        version,
        0,
        struct.pack(">QQIQ" if version else ">IIII", 0, 0, track.timescale, length),
        struct.pack(">HH", track.language, 0),
    )
    name = b"SoundHandler\0" if sound else b"VideoHandler\0"
    handler = full_box(b"hdlr", 0, 0, bytes(4), track.kind.encode(), bytes(12), name)
    shape = full_box(b"smhd", 0, 0, bytes(4)) if sound else full_box(b"vmhd", 0, 1, bytes(8))
    where = box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, 1)))  # in this file
    return box(b"trak", head, listed, box(b"mdia", media, handler, box(b"minf", shape, where, table)))


def _table(track: TrackOut, counts: Sequence[int], offsets: Sequence[int], wide: bool) -> bytes:
    number = len(track.samples)
    parts = [
        full_box(b"stsd", 0, 0, struct.pack(">I", 1), plain_entry(track.entry)),
        _runs(b"stts", 0, ">II", track.durations),
    ]
    if track.composition and any(track.composition):
        negative = int(min(track.composition) < 0)
        parts.append(_runs(b"ctts", negative, ">Ii", track.composition))
    if track.sync is not None and not all(track.sync):
        keyframes = [index for index, is_keyframe in enumerate(track.sync, 1) if is_keyframe]
        parts.append(full_box(b"stss", 0, 0, struct.pack(f">I{len(keyframes)}I", len(keyframes), *keyframes)))
    layout = f">I{len(offsets)}{'Q' if wide else 'I'}"
    parts += [
        _samples_per_chunk(counts),
        full_box(b"stsz", 0, 0, struct.pack(f">II{number}I", 0, number, *map(len, track.samples))),
        full_box(b"co64" if wide else b"stco", 0, 0, struct.pack(layout, len(offsets), *offsets)),
    ]
    if track.entry[4:8] == b"mp4a":  # AAC is right only from the second frame after a jump
        parts.append(full_box(b"sgpd", 1, 0, b"roll", struct.pack(">IIh", 2, 1, -1)))
        parts.append(full_box(b"sbgp", 0, 0, b"roll", struct.pack(">III", 1, number, 1)))
    return box(b"stbl", *parts)


def _runs(name: bytes, version: int, layout: str, values: Sequence[int]) -> bytes:
    """Pairs of how many samples, and the value that all of them have."""
    rows = [struct.pack(layout, sum(1 for _ in same), value) for value, same in groupby(values)]
    return full_box(name, version, 0, struct.pack(">I", len(rows)), *rows)


def _samples_per_chunk(counts: Sequence[int]) -> bytes:
    rows, chunk = [], 1
    for count, same in groupby(counts):
        rows.append(struct.pack(">III", chunk, count, 1))
        chunk += sum(1 for _ in same)
    return full_box(b"stsc", 0, 0, struct.pack(">I", len(rows)), *rows)
