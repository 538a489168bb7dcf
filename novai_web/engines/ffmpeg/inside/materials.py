"""What a way of making pictures needs of a clip: its frames, encoders that fit it, and the finished track."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av

from novai_web.engines.ffmpeg.inside.drawing import Picture
from novai_web.engines.ffmpeg.inside.segments import Part, Segment
from novai_web.engines.ffmpeg.inside.x264 import Encoder, Statistics
from novai_web.engines.ffmpeg.mp4.writing import TrackOut


class Material(Protocol):
    """Frames have times in ticks of one clock, in order of display."""

    def frames(self, *, window_only: bool) -> Iterator[tuple[Part, av.VideoFrame]]:
        """Decode once more. `window_only` ends with the window and leaves out what lies before it."""

    def encoder(self, part: Part, path: Path, *, threads: int, statistics: Statistics | None) -> Encoder:
        """May be asked for once the first frame was seen."""

    def drawing(self, hook: str) -> Picture | None:
        """The hook for frames as they are stored; None if there is nothing to see."""

    def track(self, before: Segment | None, window: Segment | None, after: Segment | None) -> TrackOut:
        """The whole picture. May be asked for once all frames were seen."""

    def edge(self) -> av.VideoFrame | None:
        """The first frame that is copied after the encoded part."""

    @property
    def joints(self) -> list[Fraction]:
        """Moments in seconds at which parts that all pictures share begin, end, or meet copied ones."""

    @property
    def origin(self) -> int: ...

    @property
    def time_base(self) -> Fraction: ...

    @property
    def window_seconds(self) -> tuple[Fraction, Fraction]: ...

    @property
    def frame_count(self) -> int: ...

    @property
    def duration(self) -> Fraction: ...
