"""Reading a finished variant back before it counts: what is wrong with it is an error, never a delivery.

Variants that share a picture share its packets, so a picture is decoded once, where something was joined in it, and
compared with what was meant; that every variant carries those same packets is compared byte for byte.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from novai_web.engines.ffmpeg.inside.opening import audio_stream, codec, open_media, video_stream
from novai_web.engines.ffmpeg.inside.probe import bit_rate, examine, frame_count, sound_of
from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.media import Limits, Media
from novai_web.engines.ffmpeg.mp4.reading import Movie, Track
from novai_web.engines.ffmpeg.mp4.writing import TrackOut
from novai_web.errors import UnusableMedia

FRAMES_AROUND = 3  # decoded in full on each side of a joint
DURATION_TOLERANCE = Fraction(1, 10)  # seconds
EVERY = 4  # every so many-th point of every so many-th line is compared
# Mean difference in luma, of 255. Encoding at the worst quality that can be asked for stays far below it, another
# picture is far above.
DIFFERENCE_MAX = 20.0

Points = NDArray[np.uint8]


class CheckFailed(UnusableMedia):
    """The finished file is not what it should be."""


@dataclass
class Meant:
    """What is to be seen: luma of a few frames, by their moment in seconds. Filled while they are encoded."""

    points: dict[Fraction, Points] = field(default_factory=dict)

    def remember(self, moment: Fraction, frame: av.VideoFrame) -> None:
        self.points[moment] = _points(frame).copy()


@dataclass(frozen=True)
class Expected:
    """What a variant must be. `joints` are moments, in seconds, around which it is decoded."""

    codec: str
    size: tuple[int, int]
    frames: int
    duration: Fraction
    tracks: Sequence[TrackOut]
    joints: tuple[Fraction, ...] = ()
    meant: Meant = field(default_factory=Meant)


def check_picture(path: Path, expected: Expected, limits: Limits) -> Media:
    """The picture alone, before it gets its sounds. Raises CheckFailed with the first thing that is wrong."""
    _compare_packets(path, expected.tracks)
    media = examine(path, limits)
    _compare("codec", media.codec, expected.codec)
    _compare("size", (media.width, media.height), expected.size)
    _compare("number of frames", media.frames, expected.frames)
    _compare_duration(Fraction(media.duration_seconds or 0), expected)
    look(path, expected, limits)
    return media


def check_variant(path: Path, expected: Expected, picture: Media, limits: Limits) -> tuple[Media, str]:
    """A whole variant, whose picture was checked before. Returns what the file is, and its SHA-256."""
    _compare_packets(path, expected.tracks)
    with open_media(path, limits) as container:
        video, sound = video_stream(container), audio_stream(container)
        if video is None or video.time_base is None:
            raise CheckFailed("there is no picture in it")
        _compare("codec", codec(video), expected.codec)
        _compare("number of frames", frame_count(video), expected.frames)
        _compare("sound", sound is not None, len(expected.tracks) > 1)
        seconds = Fraction(video.duration or 0) * video.time_base
        _compare_duration(seconds, expected)
        media = replace(picture, duration_seconds=float(seconds), bit_rate=bit_rate(path, seconds), **sound_of(sound))
    with path.open("rb") as file:
        return media, hashlib.file_digest(file, "sha256").hexdigest()


def look(path: Path, expected: Expected, limits: Limits) -> None:
    """Decode around the joints, and compare what comes out with what was meant, where that is known."""
    with open_media(path, limits) as container:
        video = video_stream(container)
        if video is None:
            raise CheckFailed("there is no picture in it")
        video.codec_context.options = {"skip_loop_filter": "all"}
        for joint in expected.joints:
            with _complaining(joint):
                _look_around(container, video, joint, expected)


def _look_around(container: InputContainer, video: VideoStream, joint: Fraction, expected: Expected) -> None:
    """From the keyframe before the joint to a few frames after it; far from it, only frames that others need.

    Without the loop filter, which costs much and hides no error.
    """
    assert video.time_base is not None
    begin = (video.start_time or 0) * video.time_base
    near = FRAMES_AROUND * expected.duration / expected.frames
    container.seek(max(0, int((begin + joint - near) / video.time_base)), stream=video, backward=True)
    context = video.codec_context
    decoded = after = 0
    for packet in container.demux(video):
        is_near = packet.pts is None or packet.pts * video.time_base - begin >= joint - near
        context.skip_frame = "DEFAULT" if is_near or packet.is_keyframe else "NONREF"
        for frame in packet.decode():
            decoded += 1
            assert isinstance(frame, av.VideoFrame)
            moment = (frame.pts or 0) * video.time_base - begin
            if frame.is_corrupt:
                raise CheckFailed(f"the picture at {float(moment):.2f} s is damaged")
            _compare_points(frame, moment, expected.meant)
            after += moment >= joint
        if after > FRAMES_AROUND:
            break
    if not decoded:
        raise CheckFailed(f"there is no picture at {float(joint):.2f} s")


@contextmanager
def _complaining(joint: Fraction) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        raise CheckFailed(f"the picture at {float(joint):.2f} s cannot be decoded") from error


def _compare_duration(seconds: Fraction, expected: Expected) -> None:
    if abs(seconds - expected.duration) > max(DURATION_TOLERANCE, 2 * expected.duration / expected.frames):
        raise CheckFailed(f"it lasts {float(seconds):.2f} s instead of {float(expected.duration):.2f} s")


def _compare_points(frame: av.VideoFrame, moment: Fraction, meant: Meant) -> None:
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


def _compare_packets(path: Path, tracks: Sequence[TrackOut]) -> None:
    try:
        movie = Movie(path)
        found = [movie.video, movie.audio]
    except (Malformed, OSError) as error:
        raise CheckFailed("it cannot be read back") from error
    _compare("number of tracks", sum(track is not None for track in found), len(tracks))
    for track, wanted in zip([track for track in found if track is not None], tracks, strict=True):
        _compare_track(track, wanted)


def _compare_track(track: Track, wanted: TrackOut) -> None:
    _compare("number of samples", len(track.sizes), len(wanted.samples))
    _compare("timing", sum(track.durations), sum(wanted.durations))
    same = all(bytes(track.sample(number)) == bytes(sample) for number, sample in enumerate(wanted.samples))
    if not same:
        raise CheckFailed("its packets are not those that were written")


def _compare(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise CheckFailed(f"its {what} is {found} instead of {wanted}")
