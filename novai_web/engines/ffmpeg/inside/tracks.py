"""Putting samples from several places into one track whose times are exact."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from novai_web.engines.ffmpeg.h264.parameters import IDR_SLICE, NAL_TYPE, SLICE, AvcConfig, nals_of_sample
from novai_web.engines.ffmpeg.h264.slices import is_intra
from novai_web.engines.ffmpeg.mp4.boxes import UNITY, box
from novai_web.engines.ffmpeg.mp4.reading import Track
from novai_web.engines.ffmpeg.mp4.writing import TrackOut
from novai_web.engines.ffmpeg.source import Source

_DOTS_PER_INCH = 72 << 16
_COLOUR_PROPERTIES = ("color_primaries", "color_trc", "colorspace")
_UNSPECIFIED = 2  # in ITU-T H.273
FULL_RANGE = 2  # AVCOL_RANGE_JPEG


@dataclass
class Samples:
    """In decoding order. `times` are moments of display, in ticks."""

    times: list[int]
    data: list[memoryview]
    syncs: list[bool]

    @classmethod
    def none(cls) -> "Samples":
        return cls([], [], [])

    def extend_by(self, others: "Samples") -> None:
        self.extend(others.times, others.data, others.syncs)

    def extend(self, times: Sequence[int], data: Sequence[memoryview], syncs: Sequence[bool]) -> None:
        self.times += times
        self.data += data
        self.syncs += syncs


@dataclass(frozen=True)
class Look:
    """What a player is told of a picture track besides its samples."""

    timescale: int
    entry: bytes
    matrix: bytes
    width: int  # 16.16, as ISO/IEC 14496-12 has it
    height: int
    language: int

    @classmethod
    def of(cls, track: Track, entry: bytes | None = None) -> "Look":
        return cls(track.timescale, entry or track.entry, track.matrix, track.width, track.height, track.language)


def copied(source: Source, first: int, last: int) -> Samples:
    """A source's own samples, from `first` to before `last`. Raises Malformed for one that is not whole.

    What the file says of keyframes is not believed where it can be seen: players seek by it.
    """
    samples = Samples.none()
    length_size = source.config.length_size if source.config else None
    for number in range(first, last):
        data = source.track.sample(number)
        sync = source.track.sync[number]
        if length_size is not None:
            sync = _is_keyframe(nals_of_sample(data, length_size), sync)
        samples.extend([source.times[number]], [data], [sync])
    return samples


def shown_range(source: Source) -> tuple[int, int]:
    """The samples needed for what is shown, from the first to before the last: what was trimmed off stays out."""
    first = max((index for index in source.keyframes if source.times[index] <= source.origin), default=0)
    last = max(index for index, time in enumerate(source.times) if time < source.end)
    return first, last + 1


def _is_keyframe(nals: Sequence[memoryview], is_said_to_be: bool) -> bool:
    """Besides IDR pictures, a picture that needs no other may be meant to begin with (an open GOP)."""
    slices = [nal for nal in nals if nal[0] & NAL_TYPE in (SLICE, IDR_SLICE)]
    if not slices:
        return False
    if slices[0][0] & NAL_TYPE == IDR_SLICE:
        return True
    return is_said_to_be and all(is_intra(nal) for nal in slices)


def picture_track(samples: Samples, look: Look, origin: int, end: int) -> TrackOut:
    """The picture that is shown from `origin` to `end`.

    Decode times are made anew: the display times in order, early enough that no frame is decoded after it is shown.
    So a constant frame rate stays one run in the index, and a variable one stays exact.
    """
    shown = sorted(samples.times)
    delay = max((first - second for first, second in zip(shown, samples.times, strict=True)), default=0)
    last = max(1, end - shown[-1])
    return TrackOut(
        kind="vide",
        timescale=look.timescale,
        entry=look.entry,
        samples=samples.data,
        durations=[*(after - before for before, after in pairwise(shown)), last],
        composition=[time - decoded + delay for time, decoded in zip(samples.times, shown, strict=True)],
        sync=samples.syncs,
        media_time=delay + max(0, origin - shown[0]),
        duration=end - max(origin, shown[0]),
        matrix=look.matrix,
        width=look.width,
        height=look.height,
        language=look.language,
    )


def fresh_look(timescale: int, size: tuple[int, int], config: AvcConfig, colours: dict[str, int]) -> Look:
    """Of a stream that is H.264 and all our own: upright, square pixels."""
    width, height = size
    parts = [box(b"avcC", config.to_bytes())]
    if all(colours.get(name, _UNSPECIFIED) != _UNSPECIFIED for name in _COLOUR_PROPERTIES):
        values = [colours[name] for name in _COLOUR_PROPERTIES]
        full = 0x80 if colours.get("color_range") == FULL_RANGE else 0
        parts.append(box(b"colr", b"nclx", struct.pack(">HHHB", *values, full)))
    head = bytes(6) + struct.pack(">H", 1) + bytes(16)
    shape = struct.pack(">HHIIIH", width, height, _DOTS_PER_INCH, _DOTS_PER_INCH, 0, 1)
    entry = box(b"avc1", head, shape, bytes(32), struct.pack(">Hh", 24, -1), *parts)
    return Look(timescale, entry, UNITY, width << 16, height << 16, 0x55C4)
