"""Making pictures of one clip in one way: decoded once, what carries no hook encoded once, each hook once."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import av
from PIL import Image

from novai_web.engines.ffmpeg.inside import faces
from novai_web.engines.ffmpeg.inside.canvas import Canvas
from novai_web.engines.ffmpeg.inside.lanes import Lanes, Work
from novai_web.engines.ffmpeg.inside.looking import FRAMES_AROUND, Joint, Meant
from novai_web.engines.ffmpeg.inside.materials import Material
from novai_web.engines.ffmpeg.inside.progress import Meter
from novai_web.engines.ffmpeg.inside.segments import Part, Segment
from novai_web.engines.ffmpeg.inside.upright import Turn
from novai_web.engines.ffmpeg.inside.x264 import STATISTICS_FRAMES_MIN, Encoder, Statistics
from novai_web.engines.ffmpeg.mp4.writing import TrackOut
from novai_web.engines.ffmpeg.planning import Picture

# Shortly before a window's end there is a keyframe, so that its joint can be decoded, and sought, without all of it.
TAIL_FRAMES, TAIL_AFTER_FRAMES = FRAMES_AROUND, 45
CHUNK_FRAMES = 24  # decoded at a time where a window is too long to be held
SIDE_BY_SIDE_MAX = 8  # encoders that share one decoding

UNKNOWN = Fraction(60)  # a duration, while a clip is decoded for the first time

HOOKS, DECODING = 2, 3  # urgency within a clip: what frees memory goes first


NEVER_SEEN = "Its hook is shown so briefly that no picture of the video carries it. Show it longer."


@dataclass(frozen=True)
class Finished:
    """A picture track, ready to get its sounds."""

    picture: Picture
    track: TrackOut
    frames: int
    duration: Fraction
    joints: tuple[Joint, ...]
    meant: Meant = field(default_factory=Meant)
    face: Image.Image | None = None


@dataclass
class _Hooked:
    """One picture under way."""

    picture: Picture
    meter: Meter
    number: int
    meant: Meant = field(default_factory=Meant)
    face: Image.Image | None = None
    segment: Segment | None = None
    encoder: Encoder | None = None
    canvas: Canvas | None = None


@dataclass(frozen=True)
class Setting:
    """What a take is given besides its material. `guarded` makes work of this take out of work that may fail."""

    lanes: Lanes
    work: Path
    number: int
    held: bool
    threads: int
    turn: Turn
    shown: tuple[int, int]
    guarded: Callable[[Callable[[], None]], Callable[[], None]]
    publish: Callable[[Finished], None]
    refuse: Callable[[Picture, str], None]


class Take:
    """The first hook is encoded at constant quality; what x264 decided for it is taken over by the others."""

    def __init__(
        self, setting: Setting, material: Material, pictures: Sequence[tuple[Picture, Meter]], common: Meter
    ) -> None:
        self.setting, self.material, self.common = setting, material, common
        self.hooked = [_Hooked(picture, meter, number) for number, (picture, meter) in enumerate(pictures)]
        self.statistics: Statistics | None = None
        self.window: list[av.VideoFrame] = []
        self.around: dict[Part, Encoder] = {}
        self.bridges: dict[Part, Segment] = {}
        self.common_meant = Meant()
        self.face: Image.Image | None = None
        self._has_window = False
        self._launched = False
        self._is_decoded = False
        self._is_common_checked = False
        self._lock = threading.Lock()

    def start(self) -> None:
        self._add(DECODING, self._decode)

    def _add(self, urgency: int, work: Callable[[], None]) -> None:
        self.setting.lanes.add((self.setting.number, urgency), self.setting.guarded(work))

    # The one decoding that all share

    def _decode(self) -> None:
        inline: _Hooked | None = None
        for part, frame in self.material.frames(window_only=False):
            if part is Part.WINDOW:
                self._has_window = True
                if self.setting.held:
                    self.window.append(frame)
                else:
                    inline = inline or self._opened(self.hooked[0], repeats=len(self.hooked) > 1)
                    self._draw(inline, frame)
            else:
                if part is Part.AFTER:
                    self._launch()
                self._bridge(part, frame)
        self._launch()
        if not self._has_window:
            self._refuse_unseen()
            if not self.hooked:
                return
        for part, encoder in self.around.items():
            self.bridges[part] = encoder.finish()
        if (edge := self.material.edge()) is not None:
            self.common_meant.remember(self._moment(edge), edge)
        with self._lock:
            self._is_decoded = True
        self.common.finish()
        if inline is not None:
            self._finish(inline)
            self._rest()
        self._publish_finished()

    def _refuse_unseen(self) -> None:
        """There is nothing to draw these hooks on, whichever way a picture is made."""
        for hooked in [hooked for hooked in self.hooked if hooked.picture.hook]:
            self.hooked.remove(hooked)
            self.setting.refuse(hooked.picture, NEVER_SEEN)

    def _bridge(self, part: Part, frame: av.VideoFrame) -> None:
        if part not in self.around:
            path = self.setting.work / f"{part.value}.h264"
            self.around[part] = self.material.encoder(part, path, threads=self.setting.threads, statistics=None)
            self.common_meant.remember(self._moment(frame), frame)
        self.face = self.face or self._face(frame)
        self.around[part].push(frame)
        self.common.add(1)

    def _face(self, frame: av.VideoFrame) -> Image.Image | None:
        """Of a frame that is late enough to be one."""
        if self._moment(frame) < faces.moment_of(self.material.duration or UNKNOWN):
            return None
        return faces.upright(frame, self.setting.turn, self.setting.shown)

    def _launch(self) -> None:
        """The window is complete: the first hook can be encoded while the rest is still decoded."""
        if self._launched or not self.setting.held:
            return
        self._launched = True
        if not self.window:
            return
        first, *others = self.hooked
        if not others or len(self.window) < STATISTICS_FRAMES_MIN:
            for hooked in self.hooked:
                self._add(HOOKS, partial(self._whole, hooked))
        else:
            self._add(HOOKS, lambda: self._whole(first, repeats=True, then=self._rest))

    # Windows that are held

    def _whole(self, hooked: _Hooked, repeats: bool = False, then: Callable[[], None] | None = None) -> None:
        self._opened(hooked, repeats)
        last = len(self.window) - TAIL_FRAMES
        for number, frame in enumerate(self.window):
            self._draw(hooked, frame, keyframe=number == last and number >= TAIL_AFTER_FRAMES)
        self._finish(hooked)
        if then is not None:
            then()
        self._publish_finished()

    def _rest(self) -> None:
        others = [hooked for hooked in self.hooked if hooked.segment is None]
        if self.setting.held:
            for hooked in others:
                self._add(HOOKS, partial(self._whole, hooked, repeats=True))
        elif others:
            self._side_by_side(others)

    # Windows that are too long to be held: decoded again, a chunk at a time, for several encoders side by side

    def _side_by_side(self, others: list[_Hooked]) -> None:
        group, later = others[:SIDE_BY_SIDE_MAX], others[SIDE_BY_SIDE_MAX:]
        for hooked in group:
            self._opened(hooked, repeats=True)
        frames = (frame for part, frame in self.material.frames(window_only=True) if part is Part.WINDOW)
        self._round(group, later, frames, list(islice(frames, CHUNK_FRAMES)))

    def _round(
        self, group: list[_Hooked], later: list[_Hooked], frames: Iterator[av.VideoFrame], chunk: list[av.VideoFrame]
    ) -> None:
        """Each encoder takes this chunk, while the next one is decoded."""
        coming: list[av.VideoFrame] = []

        def then() -> None:
            if coming:
                self._round(group, later, frames, coming)
                return
            for hooked in group:
                self._finish(hooked)
            self._publish_finished()
            if later:
                self._side_by_side(later)

        decode = partial(_move, frames, coming)
        works: list[Work] = [decode, *(partial(self._chunk, hooked, chunk) for hooked in group)]
        guarded = [self.setting.guarded(work) for work in works]
        self.setting.lanes.together((self.setting.number, HOOKS), guarded, self.setting.guarded(then))

    def _chunk(self, hooked: _Hooked, chunk: list[av.VideoFrame]) -> None:
        for frame in chunk:
            self._draw(hooked, frame)

    # One hook

    def _opened(self, hooked: _Hooked, repeats: bool = False) -> _Hooked:
        path = self.setting.work / f"hook-{hooked.number}.h264"
        if repeats and self.statistics is None:
            self.statistics = Statistics(self.setting.work / "statistics")
        hooked.encoder = self.material.encoder(
            Part.WINDOW, path, threads=self.setting.threads, statistics=self.statistics if repeats else None
        )
        drawing = self.material.drawing(hooked.picture.hook) if hooked.picture.hook else None
        hooked.canvas = Canvas(drawing) if drawing is not None else None
        return hooked

    def _draw(self, hooked: _Hooked, frame: av.VideoFrame, *, keyframe: bool = False) -> None:
        assert hooked.encoder is not None
        drawn = hooked.canvas.draw(frame) if hooked.canvas is not None else frame
        moment = self._moment(frame)
        _, end = self.material.window_seconds
        if not hooked.meant.points or moment + Fraction(1, 10) >= end:
            hooked.meant.remember(moment, drawn)
        hooked.face = hooked.face or self._face(drawn)
        hooked.encoder.push(drawn, keyframe=keyframe)
        hooked.meter.add(1)

    def _finish(self, hooked: _Hooked) -> None:
        assert hooked.encoder is not None
        hooked.segment = hooked.encoder.finish()
        hooked.encoder = hooked.canvas = None

    def _moment(self, frame: av.VideoFrame) -> Fraction:
        return ((frame.pts or 0) - self.material.origin) * self.material.time_base

    # Handing over

    def _publish_finished(self) -> None:
        """What is complete, once; the first of a take is also decoded where its shared parts meet."""
        with self._lock:
            if not self._is_decoded:
                return
            ready = [hooked for hooked in self.hooked if hooked.segment is not None or not self._has_window]
            self.hooked = [hooked for hooked in self.hooked if hooked not in ready]
            if not self.hooked:
                self.window = []
        for hooked in ready:
            self.setting.publish(self._finished(hooked))

    def _finished(self, hooked: _Hooked) -> Finished:
        material = self.material
        with self._lock:
            with_common, self._is_common_checked = not self._is_common_checked, True
        track = material.track(self.bridges.get(Part.BEFORE), hooked.segment, self.bridges.get(Part.AFTER))
        start, end = material.window_seconds
        joints = [Joint(end, after=with_common)]
        if with_common or start > 0:
            joints.append(Joint(start, before=with_common))
        joints = [joint for joint in joints if joint.moment < material.duration]
        if with_common:
            joints += map(Joint, material.joints)
        meant = Meant(self.common_meant.points | hooked.meant.points)
        return Finished(
            picture=hooked.picture,
            track=track,
            frames=material.frame_count,
            duration=material.duration,
            joints=tuple(sorted(joints)),
            meant=meant,
            face=hooked.face or self.face,
        )


def _move(frames: Iterator[av.VideoFrame], chunk: list[av.VideoFrame]) -> None:
    chunk.extend(islice(frames, CHUNK_FRAMES))
