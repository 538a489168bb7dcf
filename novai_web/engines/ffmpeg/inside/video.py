"""Encoding one picture track: decode, frame, lay the hook over its window, H.264."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from novai_web.engines.ffmpeg.inside import text
from novai_web.engines.ffmpeg.inside.graphs import Framer
from novai_web.engines.ffmpeg.inside.opening import open_media, video_stream
from novai_web.engines.ffmpeg.inside.overlay import Overlay
from novai_web.engines.ffmpeg.media import Limits
from novai_web.engines.ffmpeg.planning import Segment
from novai_web.engines.ffmpeg.settings import RenderSettings
from novai_web.errors import UnusableMedia

THREADS_MAX = 8
KEYFRAME_SECONDS = 2  # so that players and previews can seek
_UNSPECIFIED = 2  # colour properties, in ITU-T H.273


@dataclass(frozen=True)
class Encoded:
    """A picture track on disk, beginning at 0."""

    path: Path
    frames: int
    duration: Fraction


def encode(
    segment: Segment, settings: RenderSettings, limits: Limits, path: Path, on_frame: Callable[[], None]
) -> Encoded:
    with open_media(segment.video, limits) as source:
        stream = video_stream(source)
        if stream is None:
            raise UnusableMedia("There is no picture in this video.")
        with av.open(str(path), "w", format="mp4") as target:
            encoder = _Encoder(target, segment, settings, stream)
            for frame in _framed(source, stream, segment, settings):
                encoder.encode(frame)
                on_frame()
            return encoder.finish(path)


def thread_count(settings: RenderSettings) -> int:
    return settings.threads or min(THREADS_MAX, len(os.sched_getaffinity(0)))


def _framed(
    source: InputContainer, stream: VideoStream, segment: Segment, settings: RenderSettings
) -> Iterator[av.VideoFrame]:
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    assert stream.time_base is not None
    framer = Framer(segment.size, settings.frame, settings.frame_fill, aspect, stream.time_base)
    for frame in source.decode(stream):
        yield from framer.push(frame)
    yield from framer.flush()


class _Encoder:
    """x264 at the source's own times. Opened at the first frame, which knows the colours."""

    def __init__(
        self, target: OutputContainer, segment: Segment, settings: RenderSettings, source: VideoStream
    ) -> None:
        assert source.time_base is not None
        self.target, self.settings, self.size = target, settings, segment.size
        self.time_base = source.time_base
        self.rate = source.average_rate or source.guessed_rate or Fraction(30)
        self.start, self.end = settings.window
        self.picture = text.picture_of(segment.hook, settings, *segment.size) if segment.hook else None
        self.overlay: Overlay | None = None
        self.stream: VideoStream | None = None
        self.origin: int | None = None
        self.last = -1
        self.frames = 0
        self.durations: dict[int, int] = {}

    def encode(self, frame: av.VideoFrame) -> None:
        if self.stream is None:
            self.stream = self._open(frame)
        frame.pts = self._moment(frame)
        frame.time_base = self.time_base
        frame.pict_type = PictureType.NONE  # else x264 would repeat the source's choice of frame types
        if self.picture is not None and self.start <= float((frame.pts + 0.5) * self.time_base) < self.end:
            self._draw(frame)
        self.durations[frame.pts] = frame.duration or round(1 / (self.rate * self.time_base))
        self.frames += 1
        self._write(self.stream.encode(frame))

    def finish(self, path: Path) -> Encoded:
        if self.stream is None:
            raise UnusableMedia("There is no picture in this video that can be decoded.")
        self._write(self.stream.encode(None))
        return Encoded(path, self.frames, (self.last + self.last_duration) * self.time_base)

    def _moment(self, frame: av.VideoFrame) -> int:
        """The frame's own time since the first. Two frames at one time would break the file: the later yields."""
        pts = frame.pts if frame.pts is not None else self.last + 1 + (self.origin or 0)
        if self.origin is None:
            self.origin = pts
        self.last = max(pts - self.origin, self.last + 1)
        self.last_duration = frame.duration or max(1, round(1 / (self.rate * self.time_base)))
        return self.last

    def _draw(self, frame: av.VideoFrame) -> None:
        assert self.picture is not None
        frame.make_writable()  # the decoder still refers to it
        if self.overlay is None or not self.overlay.fits(frame):
            self.overlay = Overlay(self.picture, frame)
        self.overlay.blend(frame)

    def _open(self, frame: av.VideoFrame) -> VideoStream:
        keyframes = max(1, round(self.rate * KEYFRAME_SECONDS))
        options = {
            "preset": self.settings.preset,
            "crf": str(self.settings.crf),
            "profile": "high",
            "g": str(keyframes),
        }
        stream = self.target.add_stream("libx264", rate=self.rate, options=options)
        context = stream.codec_context
        context.width, context.height = self.size
        context.pix_fmt = "yuv420p"
        context.time_base = self.time_base
        context.thread_count = thread_count(self.settings)
        context.color_range = 2 if frame.format.name.startswith("yuvj") else frame.color_range
        for name in ("colorspace", "color_primaries", "color_trc"):
            if getattr(frame, name) != _UNSPECIFIED:
                setattr(context, name, getattr(frame, name))
        return stream

    def _write(self, packets: "list[av.Packet[VideoStream]]") -> None:
        for packet in packets:
            if packet.pts is not None:
                packet.duration = self.durations.pop(packet.pts, packet.duration)
            self.target.mux(packet)
