"""The exact way: only the groups of pictures under the hook are encoded; every other packet is the source's own.

All of it is one stream with one sequence parameter set, the source's. What x264 makes is written under that set, by
putting its slice headers into the source's terms; its picture parameters get a free number beside the source's. So
there is one `avc1` sample entry, and nothing for a player to switch at the joints.
"""

import threading
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av

from novai_web.engines.ffmpeg.h264.parameters import PPS, PPS_COUNT, SPS, AvcConfig
from novai_web.engines.ffmpeg.h264.slices import Retarget, reason_against
from novai_web.engines.ffmpeg.inside import text
from novai_web.engines.ffmpeg.inside.decoding import Timed, decoded
from novai_web.engines.ffmpeg.inside.drawing import Picture
from novai_web.engines.ffmpeg.inside.segments import Part, Segment
from novai_web.engines.ffmpeg.inside.stored import Stored
from novai_web.engines.ffmpeg.inside.tracks import Look, Samples, copied, picture_track, shown_range
from novai_web.engines.ffmpeg.inside.x264 import Encoder, Shape, Statistics, better_crf
from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.mp4.boxes import VISUAL_HEADER, with_child
from novai_web.engines.ffmpeg.mp4.writing import TrackOut
from novai_web.engines.ffmpeg.settings import RenderSettings
from novai_web.engines.ffmpeg.source import Source

# Two keyframes in a row must differ in their number (ITU-T H.264, 7.4.3). Each part has two numbers of its own.
_KEYFRAME_NUMBERS = {Part.BEFORE: 0, Part.WINDOW: 2, Part.AFTER: 4}
_SPAN = 6
_RATE_DENOMINATOR_MAX = 1001


class Exact:
    """Material of a source that can be continued by x264. Raises Malformed where that turns out to be untrue."""

    def __init__(self, source: Source, settings: RenderSettings, shown: tuple[int, int]) -> None:
        if source.reason is not None or source.config is None or source.sps is None:
            raise Malformed(source.reason or "its parameter sets are missing")
        self.source, self.settings = source, settings
        self.config: AvcConfig = source.config
        self.sps: SPS = source.sps
        self.cut = source.cut(*settings.window)
        self.stored = Stored.of(source.track.matrix, shown, (self.sps.width, self.sps.height))
        ticks = source.end - min(source.times)
        rate = Fraction(source.track.timescale * len(source.times), max(1, ticks))
        self.shape = Shape(
            size=self.stored.size,
            pixel_format="yuvj420p" if self.sps.full_range else "yuv420p",
            time_base=source.time_base,
            rate=rate.limit_denominator(_RATE_DENOMINATOR_MAX),
            like=self.sps,
            reorder_frames=source.reorder_frames,
        )
        begins, ends = shown_range(source)
        self._head = copied(source, begins, self.cut.first)
        self._tail = copied(source, self.cut.last, ends)
        self._keyframe_base = self._free_keyframe_numbers()
        self._numbers: dict[bytes, int] = {}
        self._lock = threading.Lock()

    @property
    def origin(self) -> int:
        return self.source.origin

    @property
    def time_base(self) -> Fraction:
        return self.source.time_base

    @property
    def duration(self) -> Fraction:
        return self.source.duration

    @property
    def frame_count(self) -> int:
        return self.source.frame_count

    @property
    def window_seconds(self) -> tuple[Fraction, Fraction]:
        return self._seconds(self.cut.start), self._seconds(min(self.cut.end, self.source.end))

    @property
    def joints(self) -> list[Fraction]:
        moments = []
        if not self._begins_encoded:
            moments.append(self._seconds(self.source.times[self.cut.first]))
        if self.cut.last < len(self.source.times):
            moments.append(self._seconds(self.source.times[self.cut.last]))
        return moments

    def frames(self, *, window_only: bool) -> Iterator[tuple[Part, av.VideoFrame]]:
        seen, before = 0, None
        for frame in self._decoded(self.cut.first, self.cut.last):
            if frame.pts is None or frame.is_corrupt or (before is not None and frame.pts <= before):
                raise Malformed("a picture near the hook is damaged")
            seen, before = seen + 1, frame.pts
            if frame.pts < self.cut.start:
                if frame.pts >= self.source.origin and not window_only:
                    yield Part.BEFORE, frame
            elif frame.pts < self.cut.end:
                yield Part.WINDOW, frame
            elif window_only:
                return
            elif frame.pts < self.source.end:
                yield Part.AFTER, frame
        if seen != self.cut.last - self.cut.first:
            raise Malformed("some pictures near the hook cannot be decoded")

    def edge(self) -> av.VideoFrame | None:
        if self.cut.last >= len(self.source.times):
            return None
        return next(self._decoded(self.cut.last, self.cut.last + 1), None)

    def encoder(self, part: Part, path: Path, *, threads: int, statistics: Statistics | None) -> Encoder:
        ends = {
            Part.BEFORE: (self.source.times[self.cut.first], self.cut.start),
            Part.WINDOW: (self.cut.start, min(self.cut.end, self.source.end)),
            Part.AFTER: (self.cut.end, self._after_ends),
        }
        begin, end = ends[part]
        encoder = Encoder(
            self.shape,
            self.settings,
            path,
            threads=threads,
            seconds=float((end - begin) * self.time_base),
            statistics=statistics,
            length_size=self.config.length_size,
            better_crf=better_crf(part, is_opening=begin <= self.source.origin),
        )
        encoded = SPS.parse(encoder.sps)
        if (reason := reason_against(encoded, self.sps)) is not None:
            raise Malformed(reason)
        number, base = self._number(encoder.pps), self._keyframe_base + _KEYFRAME_NUMBERS[part]
        encoder.rewrite = Retarget(encoded, PPS.parse(encoder.pps), self.sps, number, base).slice
        return encoder

    def drawing(self, hook: str) -> Picture | None:
        upright = text.picture_of(hook, self.settings, *self.stored.shown)
        return None if upright is None else self.stored.picture(upright)

    def track(self, before: Segment | None, window: Segment | None, after: Segment | None) -> TrackOut:
        samples = Samples.none()
        if not self._begins_encoded:
            samples.extend_by(self._head)
        for segment in (before, window, after):
            if segment is not None:
                samples.extend(segment.times, segment.samples(), segment.syncs)
        samples.extend_by(self._tail)
        with self._lock:
            ours = [PPS.parse(pps).with_ids(number, self.sps.id) for pps, number in self._numbers.items()]
        config = replace(self.config, pps=(*self.config.pps, *ours))
        entry = with_child(self.source.track.entry, b"avcC", config.to_bytes(), VISUAL_HEADER, drop=(b"btrt",))
        look = Look.of(self.source.track, entry)
        return picture_track(samples, look, self.source.origin, self.source.end)

    @property
    def _begins_encoded(self) -> bool:
        """Nothing that is shown lies before the first decoded group: what an edit list hides is left out."""
        return self.source.times[self.cut.first] <= self.source.origin

    @property
    def _after_ends(self) -> int:
        return self.source.times[self.cut.last] if self.cut.last < len(self.source.times) else self.source.end

    def _seconds(self, time: int) -> Fraction:
        return (time - self.source.origin) * self.source.time_base

    def _free_keyframe_numbers(self) -> int:
        """An even number from which on none is used by the source's keyframes on either side."""
        beside = {self.cut.first - 1, self.cut.last} & set(self.source.keyframes)
        used = {self.source.keyframe(index).idr_pic_id for index in beside}
        return next(base for base in range(0, 100, _SPAN) if used.isdisjoint(range(base, base + _SPAN)))

    def _number(self, pps: bytes) -> int:
        """Of a picture parameter set of ours in this stream; the same for all segments that share it."""
        with self._lock:
            if pps not in self._numbers:
                taken = {PPS.parse(own).id for own in self.config.pps} | set(self._numbers.values())
                free = next((number for number in range(PPS_COUNT) if number not in taken), None)
                if free is None:
                    raise Malformed("it has no free picture parameter set")
                self._numbers[pps] = free
            return self._numbers[pps]

    def _decoded(self, first: int, last: int) -> Iterator[av.VideoFrame]:
        track, times = self.source.track, self.source.times
        samples = (Timed(track.sample(index), times[index], track.decode_times[index]) for index in range(first, last))
        return decoded("h264", self.config.to_bytes(), samples, self.source.time_base)
