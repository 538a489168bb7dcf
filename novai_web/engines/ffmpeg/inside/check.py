"""Reading a finished variant back before it counts: what is wrong with it is an error, never a delivery."""

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from novai_web.engines.ffmpeg.inside.opening import audio_stream, codec, open_media, video_stream
from novai_web.engines.ffmpeg.inside.probe import examine
from novai_web.engines.ffmpeg.media import Checked, Limits
from novai_web.errors import UnusableMedia

FRAMES_AROUND = 3  # decoded on each side of a joint
INAUDIBLE = 10 ** (-60 / 20)


class CheckFailed(UnusableMedia):
    """The finished file is not what it should be."""


@dataclass(frozen=True)
class Expected:
    """What a variant must be. `frames` are those that are shown; `joints` are moments, in seconds, to look at."""

    codec: str
    size: tuple[int, int]
    frames: int
    duration: Fraction
    sound_seconds: Fraction | None  # None: no sound; the length of a made track, 0 where the original's is kept
    audible: bool
    joints: tuple[float, ...]


class Checker:
    """Remembers which picture tracks it has decoded: packets that are the same, byte for byte, are decoded once."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._seen: set[tuple[str, tuple[float, ...]]] = set()

    def check(self, path: Path, expected: Expected) -> Checked:
        """Raises CheckFailed with the first thing that is wrong."""
        media = examine(path, self.limits)
        _compare("codec", media.codec, expected.codec)
        _compare("size", (media.width, media.height), expected.size)
        _compare("sound", media.has_audio, expected.sound_seconds is not None)
        with open_media(path, self.limits) as container:
            video = video_stream(container)
            if video is None or len(container.streams.video) != 1 or len(container.streams.audio) > 1:
                raise CheckFailed("the finished file does not have the tracks it should have")
            digest, frames, seconds = _read(container, video)
            _compare("number of frames", frames, expected.frames)
            if abs(seconds - expected.duration) > max(Fraction(1, 10), 2 * expected.duration / expected.frames):
                raise CheckFailed(f"it lasts {float(seconds):.2f} s instead of {float(expected.duration):.2f} s")
            if (digest, expected.joints) not in self._seen:
                _decode_around(container, video, (0.0, *expected.joints, float(expected.duration)))
                self._seen.add((digest, expected.joints))
        peak = self._hear(path, expected) if expected.sound_seconds is not None else None
        return Checked(_sha256(path), path.stat().st_size, media, frames, peak)

    def _hear(self, path: Path, expected: Expected) -> float:
        peak, samples, rate = 0.0, 0, 1
        with open_media(path, self.limits) as container:
            stream = audio_stream(container)
            assert stream is not None
            for frame in container.decode(stream):
                values = frame.to_ndarray()
                peak = max(peak, float(np.abs(values).max(initial=0)))
                samples, rate = samples + frame.samples, frame.sample_rate
        wanted = expected.sound_seconds or 0
        if wanted and abs(Fraction(samples, rate) - wanted) > Fraction(1, 10):
            raise CheckFailed(f"its sound lasts {samples / rate:.2f} s instead of {float(wanted):.2f} s")
        if expected.audible and peak < INAUDIBLE:
            raise CheckFailed("its sound is silent")
        return float(20 * np.log10(max(peak, 1e-9)))


def _compare(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise CheckFailed(f"its {what} is {found} instead of {wanted}")


def _read(container: InputContainer, video: VideoStream) -> tuple[str, int, Fraction]:
    """A digest of all picture packets, how many are shown, and how long they last."""
    digest, frames, first, last = hashlib.sha256(), 0, None, 0
    for packet in container.demux(video):
        if packet.size == 0 or packet.pts is None:
            continue
        digest.update(bytes(packet))
        if not packet.is_discard:
            frames += 1
            first = packet.pts if first is None else min(first, packet.pts)
            last = max(last, packet.pts + (packet.duration or 0))
    assert video.time_base is not None
    return digest.hexdigest(), frames, (last - (first or 0)) * video.time_base


def _decode_around(container: InputContainer, video: VideoStream, moments: tuple[float, ...]) -> None:
    """From the keyframe before each moment to a few frames after it; a decoder that complains is a failure."""
    assert video.time_base is not None
    for moment in moments:
        container.seek(int(moment / video.time_base), stream=video)
        after = decoded = 0
        try:
            for frame in container.decode(video):
                decoded += 1
                if frame.is_corrupt:
                    raise CheckFailed(f"the picture at {moment:.2f} s is damaged")
                after += frame.time is not None and frame.time >= moment
                if after > FRAMES_AROUND:
                    break
        except av.FFmpegError as error:
            raise CheckFailed(f"the picture at {moment:.2f} s cannot be decoded") from error
        if not decoded:
            raise CheckFailed(f"there is no picture at {moment:.2f} s")


def shown_frames(path: Path, limits: Limits) -> tuple[str, int, Fraction]:
    """Codec, frames shown and duration of a video that is to be copied."""
    with open_media(path, limits) as container:
        video = video_stream(container)
        if video is None:
            raise UnusableMedia("There is no picture in this video.")
        _, frames, seconds = _read(container, video)
        return codec(video), frames, seconds


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
