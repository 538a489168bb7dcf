"""Makes clips that are not what they say: each is a good one in which something was changed."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import boxes
import matrix
from boxes import Movie

Change = Callable[[Movie], bytes]

STBL = "mdia.minf.stbl."
CLIP = matrix.Clip(options={"g": "15", "bf": "3"}, x264="scenecut=0", frames=90)
UNDER, OUTSIDE = 40, 70  # samples: the hook is from 1.2 to 1.6 s
START, DURATION = 1.2, 0.4


def lie(name: str, good: Path, target: Path) -> Path:
    """The `good` clip with its index last, changed."""
    if name in FILES:
        return FILES[name](target)
    target.write_bytes(LIES[name](Movie(good)))
    return target


def _patched(table: str, offset: int, layout: str, *values: int) -> Change:
    """Other numbers at a place in a table of the picture's track."""

    def change(movie: Movie) -> bytes:
        (box,) = boxes.find(movie.data, table, movie.video.trak)
        data = bytearray(movie.data)
        struct.pack_into(layout, data, box.body + offset, *values)
        return bytes(data)

    return change


def _replaced(table: str, content: Callable[[bytes], bytes | None]) -> Change:
    """Another table of another size."""

    def change(movie: Movie) -> bytes:
        old = boxes.body(movie.data, table, movie.video.trak)
        return boxes.with_content(movie.data, table, content(old), movie.video.trak)

    return change


def _size(sample: int, by: int) -> Change:
    return lambda movie: _patched(STBL + "stsz", 12 + 4 * sample, ">I", movie.video.sizes[sample] + by)(movie)


def _bytes(sample: int, offset: int, content: bytes) -> Change:
    """Something else in a sample."""

    def change(movie: Movie) -> bytes:
        at = movie.video.offsets[sample] + offset
        return movie.data[:at] + content + movie.data[at + len(content) :]

    return change


def _edited(media_time: int | None = None, duration: int | None = None, rate: int = 0x10000) -> Change:
    def change(movie: Movie) -> bytes:
        edit = movie.video.edits[0]
        values = (
            edit.duration if duration is None else duration,
            edit.media_time if media_time is None else media_time,
        )
        return _patched("edts.elst", 8, ">IiI", *values, rate)(movie)

    return change


def _in_the_entry(of: bytes, to: bytes) -> Change:
    def change(movie: Movie) -> bytes:
        (entry,) = movie.video.entries
        at = movie.data.index(of, entry.start, entry.end)
        return movie.data[:at] + to + movie.data[at + len(to) :]

    return change


def _stss(*samples: int) -> bytes:
    return struct.pack(f">II{len(samples)}I", 0, len(samples), *samples)


def _blindly_joined(target: Path) -> Path:
    """Two encodes under the parameter sets of the first: the second half is noise to every decoder."""
    other = matrix.Clip(options={"g": "15", "preset": "medium"}, x264="cabac=0", first=45, frames=45)
    parts = [matrix.Clip(options={"g": "15"}, frames=45).make(target.with_name("one.mp4"))]
    parts.append(other.make(target.with_name("two.mp4")))
    with av.open(str(target), "w") as out:
        stream = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as container:
                stream = stream or out.add_stream_from_template(container.streams.video[0])
                for packet in container.demux(video=0):
                    if packet.size:
                        packet.pts += number * 45 * 3000
                        packet.dts += number * 45 * 3000
                        packet.stream = stream
                        out.mux(packet)
    return target


def _headless(target: Path) -> Path:
    """It begins in the middle of a group of pictures, whose keyframe is gone."""
    whole = CLIP.make(target.with_name("whole.mp4"))
    with av.open(str(whole)) as container, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.size and packet.pts >= 4 * 3000 and packet.dts >= 0:
                packet.stream = stream
                out.mux(packet)
    return target


def _truncated(target: Path) -> Path:
    """The index is whole and comes first; a third of the samples is not there."""
    first = matrix.Clip(options={"g": "15"}, frames=90, movie={"movflags": "+faststart"}).make(target)
    data = first.read_bytes()
    first.write_bytes(data[: len(data) * 2 // 3])
    return target


LIES: dict[str, Change] = {
    "keyframes that are none": _replaced(STBL + "stss", lambda _: _stss(1, 8, 24, 40, 52, 64, 80)),
    "every sample a keyframe": _replaced(STBL + "stss", lambda _: None),
    "no keyframe at all": _replaced(STBL + "stss", lambda _: _stss()),
    "keyframes out of order": _replaced(STBL + "stss", lambda _: _stss(61, 1, 31, 500)),
    "a sample too large": _size(UNDER, 5000),
    "a sample too small": _size(UNDER, -30),
    "a sample too small elsewhere": _size(OUTSIDE, -30),
    "an empty sample": _patched(STBL + "stsz", 12 + 4 * UNDER, ">I", 0),
    "four billion samples": _patched(STBL + "stsz", 8, ">I", 0xFFFFFFFF),
    "four billion times": _patched(STBL + "stts", 8, ">I", 0xFFFFFFFF),
    "times that stand still": _patched(STBL + "stts", 12, ">I", 0),
    "fewer times than samples": _patched(STBL + "stts", 8, ">I", 50),
    "a picture an hour late": _patched(STBL + "ctts", 12, ">I", 90_000 * 3600),
    "a picture before all": _patched(STBL + "ctts", 12, ">i", -90_000 * 3600),
    "two pictures at one time": _patched(STBL + "ctts", 12, ">I", 9000),
    "offsets for some samples only": _replaced(STBL + "ctts", lambda old: struct.pack(">II", 0, 20) + old[8:168]),
    "samples outside of the file": _patched(STBL + "stco", 8 + 4 * 3, ">I", 0xFFFFFF00),
    "samples in the header": _patched(STBL + "stco", 8 + 4 * 3, ">I", 4),
    "an edit behind the end": _edited(media_time=90_000 * 3600),
    "an edit of nothing": _edited(duration=0),
    "an edit at double speed": _edited(rate=0x20000),
    "no clock": _patched("mdia.mdhd", 12, ">I", 0),
    "another profile": _in_the_entry(b"\x01\x64\x00", b"\x01\x42\x00"),
    "noise for parameters": _in_the_entry(b"\x67\x64\x00", b"\x67\xff\xff\xff\xff\xff\xff\xff\xff"),
    "a unit longer than its sample": _bytes(UNDER, 0, b"\x00\xff\xff\xff"),
    "a unit longer than its sample elsewhere": _bytes(OUTSIDE, 0, b"\x00\xff\xff\xff"),
    "a damaged picture under the hook": _bytes(45, 200, bytes(range(256)) * 4),
    "a damaged picture before the hook": _bytes(30, 200, bytes(range(256)) * 4),
    "a damaged picture elsewhere": _bytes(75, 200, bytes(range(256)) * 4),
    "a damaged group under the hook": _bytes(30, 6, b"\xff" * 400),
    "zeros instead of samples": _bytes(UNDER, 0, bytes(4000)),
}

FILES: dict[str, Callable[[Path], Path]] = {
    "encodes joined with their parameters": matrix.concatenated,
    "encodes joined blindly": _blindly_joined,
    "no first keyframe": _headless,
    "a third of it missing": _truncated,
}
