"""Reading a finished variant back before it counts: what is wrong with it is an error, never a delivery.

Variants that share a picture share its packets, so a picture is decoded once, where something was joined in it; that
every variant carries those same packets is compared byte for byte.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from novai_web.engines.ffmpeg.inside.failing import CheckFailed
from novai_web.engines.ffmpeg.inside.opening import audio_stream, codec, open_media, video_stream
from novai_web.engines.ffmpeg.inside.probe import bit_rate, examine, frame_count, sound_of
from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.media import Limits, Media
from novai_web.engines.ffmpeg.mp4.reading import Movie, Track
from novai_web.engines.ffmpeg.mp4.writing import TrackOut

DURATION_TOLERANCE = Fraction(1, 10)  # seconds


@dataclass(frozen=True)
class Expected:
    """What a variant must be."""

    codec: str
    size: tuple[int, int]
    frames: int
    duration: Fraction
    tracks: Sequence[TrackOut]


def check_picture(path: Path, expected: Expected, limits: Limits) -> Media:
    """What all variants with this picture have in common. Raises CheckFailed with the first thing that is wrong."""
    media = examine(path, limits)
    _compare("codec", media.codec, expected.codec)
    _compare("size", (media.width, media.height), expected.size)
    _compare("number of frames", media.frames, expected.frames)
    _compare_duration(Fraction(media.duration_seconds or 0), expected)
    return media


def check_variant(path: Path, expected: Expected, picture: Media, limits: Limits) -> Media:
    """A whole variant, whose picture and sound were decoded before. Returns what the file is."""
    compare_packets(path, expected.tracks)
    with open_media(path, limits, decoding=False) as container:
        video, sound = video_stream(container), audio_stream(container)
        if video is None or video.time_base is None:
            raise CheckFailed("there is no picture in it")
        _compare("codec", codec(video), expected.codec)
        _compare("number of frames", frame_count(video), expected.frames)
        _compare("sound", sound is not None, len(expected.tracks) > 1)
        seconds = Fraction(video.duration or 0) * video.time_base
        _compare_duration(seconds, expected)
        return replace(picture, duration_seconds=float(seconds), bit_rate=bit_rate(path, seconds), **sound_of(sound))


def _compare_duration(seconds: Fraction, expected: Expected) -> None:
    if abs(seconds - expected.duration) > max(DURATION_TOLERANCE, 2 * expected.duration / expected.frames):
        raise CheckFailed(f"it lasts {float(seconds):.2f} s instead of {float(expected.duration):.2f} s")


def compare_packets(path: Path, tracks: Sequence[TrackOut]) -> None:
    """Raises CheckFailed if they are not, byte for byte, in the file."""
    try:
        with Movie(path) as movie:
            found = [track for track in (movie.video, movie.audio) if track is not None]
            _compare("number of tracks", len(found), len(tracks))
            for track, wanted in zip(found, tracks, strict=True):
                _compare_track(track, wanted)
    except Malformed as error:
        raise CheckFailed("it cannot be read back") from error


def _compare_track(track: Track, wanted: TrackOut) -> None:
    _compare("number of samples", len(track.sizes), len(wanted.samples))
    _compare("timing", sum(track.durations), sum(wanted.durations))
    same = all(bytes(track.sample(number)) == bytes(sample) for number, sample in enumerate(wanted.samples))
    if not same:
        raise CheckFailed("its packets are not those that were written")


def _compare(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise CheckFailed(f"its {what} is {found} instead of {wanted}")
