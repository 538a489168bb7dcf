"""Decoding a finished picture track around its joints, and comparing what comes out with what was meant."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from novai_web.engines.ffmpeg.h264.parameters import IDR_SLICE, NAL_TYPE, SLICE, AvcConfig, nals_of_sample
from novai_web.engines.ffmpeg.inside.decoding import Timed, decoded
from novai_web.engines.ffmpeg.inside.failing import CheckFailed
from novai_web.engines.ffmpeg.mp4.boxes import VISUAL_HEADER, Bytes, child
from novai_web.engines.ffmpeg.mp4.writing import TrackOut

FRAMES_AROUND = 3  # decoded in full on each side of a joint
EVERY = 4  # every so many-th point of every so many-th line is compared
# Mean difference in luma, of 255. Encoding at the worst quality that can be asked for stays far below it, another
# picture is far above.
DIFFERENCE_MAX = 20.0
_DECODERS = {b"avc1": ("h264", b"avcC"), b"avc3": ("h264", b"avcC")}
_DECODERS |= {b"hvc1": ("hevc", b"hvcC"), b"hev1": ("hevc", b"hvcC")}

Points = NDArray[np.uint8]


class Joint(NamedTuple):
    """A moment at which parts meet, in seconds, and the sides of it that have not been looked at elsewhere."""

    moment: Fraction
    before: bool = True
    after: bool = True


@dataclass
class Meant:
    """What is to be seen: luma of a few frames, by their moment in seconds. Filled while they are encoded."""

    points: dict[Fraction, Points] = field(default_factory=dict)

    def remember(self, moment: Fraction, frame: av.VideoFrame) -> None:
        self.points[moment] = _points(frame).copy()


def look(track: TrackOut, joints: Sequence[Joint], meant: Meant) -> None:
    """Each joint from the keyframe before it to a few frames after it. Raises CheckFailed for what is not as meant."""
    looked = _Looked(track)
    for joint in joints:
        try:
            looked.around(joint, meant)
        except av.FFmpegError as error:
            raise CheckFailed(f"the picture at {float(joint.moment):.2f} s cannot be decoded") from error


def look_at_last_keyframe(track: TrackOut) -> None:
    """Alone: of a clip that was joined from several encodes without care, the later ones cannot be decoded.

    Raises CheckFailed.
    """
    looked = _Looked(track)
    last = max((n for n, sync in enumerate(looked.syncs) if sync), default=0)
    try:
        frames = list(looked.decoded([last]))
    except av.FFmpegError as error:
        raise CheckFailed("its last keyframe cannot be decoded") from error
    if not frames or any(frame.is_corrupt for frame in frames):
        raise CheckFailed("its last keyframe is damaged")


class _Looked:
    def __init__(self, track: TrackOut) -> None:
        self.track = track
        self.name, self.box = _DECODERS[track.entry[4:8]]
        self.extradata = child(track.entry, self.box, VISUAL_HEADER) or b""
        self.length_size = AvcConfig.parse(self.extradata).length_size if self.name == "h264" else None
        self.decode_times = list(accumulate(track.durations[:-1], initial=0))
        offsets = track.composition or [0] * len(self.decode_times)
        self.times = [decoded + offset for decoded, offset in zip(self.decode_times, offsets, strict=True)]
        self.syncs = track.sync or [True] * len(self.times)
        self.seen: set[int] = set()
        self.near = FRAMES_AROUND * max(1, track.duration // max(1, len(self.times)))

    def around(self, joint: Joint, meant: Meant) -> None:
        begin = self.track.media_time
        moment = begin + round(joint.moment * self.track.timescale)
        first, last = moment - self.near * joint.before, moment + self.near * joint.after
        if moment <= begin:
            last = begin + 1  # only that it begins: nothing was joined there
        near = range(max(begin, first), min(begin + self.track.duration, last))
        missing = {time for time in self.times if time in near} - self.seen
        if not missing:
            return
        for frame in self._frames(near.start):
            assert frame.pts is not None
            missing.discard(frame.pts)
            self.seen.add(frame.pts)
            if frame.is_corrupt:
                raise CheckFailed(f"the picture at {float(joint.moment):.2f} s is damaged")
            _compare(frame, Fraction(frame.pts - begin, self.track.timescale), meant)
            if not missing:
                return
        raise CheckFailed(f"there is no picture at {float(joint.moment):.2f} s")

    def _frames(self, near: int) -> Iterator[av.VideoFrame]:
        """From the keyframe before `near` on; before `near`, only frames that others need."""
        numbers = range(self._keyframe_before(near), len(self.times))
        return self.decoded(n for n in numbers if self.times[n] >= near or self._is_needed(self.track.samples[n]))

    def decoded(self, numbers: Iterable[int]) -> Iterator[av.VideoFrame]:
        """Without the loop filter, which costs much and hides no error."""
        samples = (Timed(self.track.samples[n], self.times[n], self.decode_times[n]) for n in numbers)
        time_base = Fraction(1, self.track.timescale)
        return decoded(self.name, self.extradata, samples, time_base, skip_loop_filter="all")

    def _keyframe_before(self, time: int) -> int:
        return max((n for n, sync in enumerate(self.syncs) if sync and self.times[n] <= time), default=0)

    def _is_needed(self, sample: Bytes) -> bool:
        """Whether other frames refer to it (ITU-T H.264, 7.4.1: nal_ref_idc)."""
        if self.length_size is None:
            return True
        nals = nals_of_sample(memoryview(sample), self.length_size)
        return any(nal[0] >> 5 & 3 for nal in nals if nal[0] & NAL_TYPE in (SLICE, IDR_SLICE))


def _compare(frame: av.VideoFrame, moment: Fraction, meant: Meant) -> None:
    wanted = meant.points.get(moment)
    if wanted is None:
        return
    found = _points(frame)
    if found.shape != wanted.shape:
        raise CheckFailed(f"the picture at {float(moment):.2f} s has another size")
    difference = float(np.abs(found.astype(np.int16) - wanted).mean())
    if difference > DIFFERENCE_MAX:
        raise CheckFailed(f"the picture at {float(moment):.2f} s is not what was meant")


def _points(frame: av.VideoFrame) -> Points:
    plane = frame.planes[0]
    luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return luma[: frame.height : EVERY, : frame.width : EVERY]
