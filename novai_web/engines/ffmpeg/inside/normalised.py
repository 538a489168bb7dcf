"""The normalise way: a clip that cannot be continued is encoded once, in parts, and all its hooks share the rest."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from novai_web.engines.ffmpeg.h264.parameters import SPS, AvcConfig
from novai_web.engines.ffmpeg.inside import text
from novai_web.engines.ffmpeg.inside.drawing import Picture
from novai_web.engines.ffmpeg.inside.graphs import Framer
from novai_web.engines.ffmpeg.inside.opening import open_media, video_stream
from novai_web.engines.ffmpeg.inside.remux import first_moment
from novai_web.engines.ffmpeg.inside.segments import Part, Segment
from novai_web.engines.ffmpeg.inside.tracks import Samples, fresh_look, picture_track
from novai_web.engines.ffmpeg.inside.x264 import Encoder, Shape, Statistics, better_crf
from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.media import Limits, Media
from novai_web.engines.ffmpeg.mp4.writing import TrackOut
from novai_web.engines.ffmpeg.settings import RenderSettings
from novai_web.errors import UnusableMedia

CLOCK = 90_000  # ticks a second, where the source's own cannot be written in an MP4
FOR_EVER = 1e9  # seconds
MISSING_MAX, MISSING_SHARE_MAX = 8, 0.01  # frames: some clips begin with a few that need what was cut off before them
UNDECODABLE_SECONDS_MAX = Fraction(1, 2)
NO_PICTURE = "There is no picture in this video that can be decoded."


class Normalised:
    """Material of anything that can be decoded, at its own times, beginning at 0."""

    origin = 0

    def __init__(
        self,
        video: Path,
        media: Media,
        size: tuple[int, int],
        settings: RenderSettings,
        limits: Limits,
        has_window: bool,
    ) -> None:
        self.video, self.media, self.size, self.settings, self.limits = video, media, size, settings, limits
        start, end = settings.window if has_window else (0.0, 0.0)
        self.start, self.end = start, end
        self.frame_count = 0
        self.time_base = Fraction(1, CLOCK)
        self._ends = 0
        self._shape: Shape | None = None
        self._rate = Fraction(30)

    @property
    def duration(self) -> Fraction:
        return self._ends * self.time_base

    @property
    def window_seconds(self) -> tuple[Fraction, Fraction]:
        end = Fraction(min(self.end, FOR_EVER))
        return Fraction(self.start), min(end, self.duration) if self._ends else end

    @property
    def joints(self) -> list[Fraction]:
        return [Fraction(0), self.duration]

    def edge(self) -> av.VideoFrame | None:
        return None

    def frames(self, *, window_only: bool) -> Iterator[tuple[Part, av.VideoFrame]]:
        with open_media(self.video, self.limits) as container:
            stream = video_stream(container)
            if stream is None:
                raise UnusableMedia(NO_PICTURE)
            if stream.time_base is not None and stream.time_base.numerator == 1:
                self.time_base = stream.time_base
            self._rate = stream.average_rate or stream.guessed_rate or Fraction(30)
            frame_count, last_ends = 0, 0
            for frame, ends in self._timed(container, stream):
                if self._shape is None:
                    self._shape = self._shape_of(frame)
                frame_count, last_ends = frame_count + 1, ends
                assert frame.pts is not None
                moment = float((frame.pts + Fraction(1, 2)) * self.time_base)
                part = Part.BEFORE if moment < self.start else Part.WINDOW if moment < self.end else Part.AFTER
                if window_only and part is Part.AFTER:
                    return
                if not window_only or part is Part.WINDOW:
                    yield part, frame
        require_all(frame_count, self.media)
        self.frame_count, self._ends = frame_count, last_ends

    @property
    def _opening(self) -> Part:
        """Which part comes first."""
        return Part.BEFORE if self.start > 0 else Part.WINDOW if self.end > 0 else Part.AFTER

    def encoder(self, part: Part, path: Path, *, threads: int, statistics: Statistics | None) -> Encoder:
        assert self._shape is not None
        seconds = min(self.end, FOR_EVER) - self.start if part is Part.WINDOW else None
        return Encoder(
            self._shape,
            self.settings,
            path,
            threads=threads,
            seconds=seconds,
            statistics=statistics,
            better_crf=better_crf(part, is_opening=part in (Part.BEFORE, self._opening)),
        )

    def drawing(self, hook: str) -> Picture | None:
        return text.picture_of(hook, self.settings, *self.size)

    def track(self, before: Segment | None, window: Segment | None, after: Segment | None) -> TrackOut:
        segments = [segment for segment in (before, window, after) if segment is not None and segment.sizes]
        if not segments:
            raise UnusableMedia(NO_PICTURE)
        first = segments[0]
        samples = Samples.none()
        for segment in segments:
            if (segment.sps, segment.pps) != (first.sps, first.pps):
                raise Malformed("its parts were encoded differently")
            samples.extend(segment.times, segment.samples(), segment.syncs)
        assert self._shape is not None
        config = AvcConfig(4, (first.sps,), (first.pps,), SPS.parse(first.sps).level)
        look = fresh_look(self.time_base.denominator, self.size, config, self._shape.colours)
        return picture_track(samples, look, 0, self._ends)

    def _timed(self, container: InputContainer, stream: VideoStream) -> Iterator[tuple[av.VideoFrame, int]]:
        """Frames as they are encoded, at their own times since the first, each with the moment at which it ends."""
        assert stream.time_base is not None
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        framer = Framer(self.size, self.settings.frame, self.settings.frame_fill, aspect, stream.time_base)
        usual = max(1, round(1 / (self._rate * self.time_base)))
        origin = round(first_moment(stream) / self.time_base)
        last = -1
        for frame in _framed(container, stream, framer):
            scale = (frame.time_base or stream.time_base) / self.time_base  # deinterlacing counts in halves
            ticks = last + 1 + origin if frame.pts is None else round(frame.pts * scale)
            if last < 0:
                origin = self._opening_tick(ticks, origin)
            # Two frames at one time would break the file: the later yields. The first is shown from the beginning, so
            # that the sound keeps its distance where what came before cannot be decoded.
            last = max(ticks - origin, last + 1) if last >= 0 else 0
            lasts = round(frame.duration * scale) or usual
            frame.pts, frame.time_base = last, self.time_base
            yield frame, last + lasts

    def _opening_tick(self, ticks: int, origin: int) -> int:
        if (ticks - origin) * self.time_base > UNDECODABLE_SECONDS_MAX:
            raise UnusableMedia("The beginning of this video cannot be decoded. Export it again.")
        return min(ticks, origin)

    def _shape_of(self, frame: av.VideoFrame) -> Shape:
        full = frame.format.name.startswith("yuvj")
        colours = {"color_range": 2 if full else int(frame.color_range)}
        for name in ("colorspace", "color_primaries", "color_trc"):
            colours[name] = int(getattr(frame, name))
        return Shape(self.size, "yuvj420p" if full else "yuv420p", self.time_base, self._rate, colours)


def _framed(container: InputContainer, stream: VideoStream, framer: Framer) -> Iterator[av.VideoFrame]:
    for frame in container.decode(stream):
        yield from framer.push(frame)
    yield from framer.flush()


def require_all(frames: int, media: Media) -> None:
    """A video of which much cannot be read would stand still where it should move."""
    if not frames:
        raise UnusableMedia(NO_PICTURE)
    missing = (media.frames or 0) - frames
    if missing > max(MISSING_MAX, MISSING_SHARE_MAX * frames):
        raise UnusableMedia(
            f"Only {frames} of the {media.frames} pictures of this video can be decoded. "
            "It is damaged; export or upload it again."
        )
