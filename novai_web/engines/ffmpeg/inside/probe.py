"""What a file really is, found by opening it and decoding its beginning and its end."""

from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from novai_web.engines.ffmpeg.inside import pictures
from novai_web.engines.ffmpeg.inside.opening import (
    AUDIO_CODECS,
    VIDEO_CODECS,
    audio_stream,
    codec,
    open_media,
    video_stream,
)
from novai_web.engines.ffmpeg.inside.upright import displayed_size, turn_of
from novai_web.engines.ffmpeg.media import Limits, Media
from novai_web.engines.ffmpeg.sniff import ACCEPTED, Format, sniff
from novai_web.errors import UnusableMedia

PACKETS_LOOKED_AT = 300  # enough to tell a variable frame rate
HDR_TRANSFERS = (16, 18)  # PQ and HLG, in ITU-T H.273

_MIMES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mka": "audio/x-matroska",
}


def answer(request: dict[str, Any], limits: Limits, say: Any) -> None:
    """`paths` → one answer, a list of {"media"} or {"refusal"} in the same order."""
    answers: list[dict[str, Any]] = []
    for path in request["paths"]:
        try:
            answers.append({"media": examine(Path(path), limits).to_json()})
        except UnusableMedia as error:
            answers.append({"refusal": str(error)})
        say(examined=path)
    say(answer=answers)


def examine(path: Path, limits: Limits) -> Media:
    found = sniff(path)
    if found.demuxer is None:
        return pictures.examine(path, found, limits)
    try:
        with open_media(path, limits) as container:
            video = video_stream(container)
            if video is not None:
                return _video(container, video, found, path, limits)
            audio = audio_stream(container)
            if audio is not None:
                return _audio(container, audio, found, path, limits)
    except (av.FFmpegError, ArithmeticError, ValueError) as error:
        raise UnusableMedia("This file is damaged: it opens, but cannot be decoded. Export it again.") from error
    raise UnusableMedia(f"There is neither a picture nor a sound in this file. {ACCEPTED}")


def _video(container: InputContainer, video: VideoStream, found: Format, path: Path, limits: Limits) -> Media:
    name = codec(video)
    if name not in VIDEO_CODECS:
        known = ", ".join(VIDEO_CODECS.values())
        raise UnusableMedia(f"This video is encoded as {name}, which is not supported. Export it as one of: {known}.")
    if video.codec_context.width * video.codec_context.height > limits.frame_pixels_max:
        raise UnusableMedia("The picture of this video is too large. Export it at 4K or smaller.")
    duration = _duration(container, video)
    _refuse_length(duration, limits)
    variable, counted_rate = _pace(container, video)
    first = _first_frame(container, video)
    duration = _true_length(container, video, duration)
    _refuse_length(duration, limits)
    turn = turn_of(first)
    sample_aspect = video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio
    width, height = displayed_size(first.width, first.height, sample_aspect, turn.degrees)
    sound = audio_stream(container)
    return Media(
        kind="video",
        container=found.name,
        mime=_MIMES[found.name],
        extension=f".{found.name}",
        duration_seconds=float(duration),
        width=width,
        height=height,
        frame_rate=float(video.average_rate or video.guessed_rate or counted_rate or 0) or None,
        frames=frame_count(video),
        variable_frame_rate=variable,
        codec=name,
        pixel_format=first.format.name,
        rotation=turn.degrees,
        upright=not turn.filters and (sample_aspect or 1) == 1,
        high_dynamic_range=first.color_trc in HDR_TRANSFERS,
        bit_rate=bit_rate(path, duration),
        **sound_of(sound),
    )


def _audio(container: InputContainer, audio: AudioStream, found: Format, path: Path, limits: Limits) -> Media:
    if not sound_of(audio)["has_audio"]:
        raise UnusableMedia(f"The sound of this file is encoded as {codec(audio)}, which is not supported. {ACCEPTED}")
    duration = _duration(container, audio)
    _refuse_length(duration, limits)
    container.seek(0)
    if next(container.decode(audio), None) is None:
        raise UnusableMedia("There is no sound in this file.")
    if found.demuxer in ("wav", "flac", "mov"):
        duration = _true_length(container, audio, duration)
        _refuse_length(duration, limits)
    name = {"mov": "m4a", "matroska": "mka"}.get(found.demuxer or "", found.name)
    return Media(
        kind="audio",
        container=name,
        mime=_MIMES[name],
        extension=f".{name}",
        duration_seconds=float(duration),
        codec=codec(audio),
        bit_rate=bit_rate(path, duration),
        **sound_of(audio),
    )


def sound_of(audio: AudioStream | None) -> dict[str, Any]:
    """Sound in a codec that we do not decode counts as none: the video can still be used with another sound."""
    if audio is None or codec(audio) not in AUDIO_CODECS or not audio.codec_context.sample_rate:
        return {"has_audio": False}
    context = audio.codec_context
    return {
        "has_audio": True,
        "audio_codec": codec(audio),
        "sample_rate": context.sample_rate,
        "channels": context.channels,
    }


def _duration(container: InputContainer, stream: VideoStream | AudioStream) -> Fraction:
    """From the stream, else the container; counted packet by packet where neither says, or only guesses."""
    time_base = stream.time_base or Fraction(1, av.time_base)
    guesses = container.format.name in ("mp3", "aac")
    if stream.duration and not guesses:
        return stream.duration * time_base
    if container.duration and not guesses:
        return Fraction(container.duration, av.time_base)
    start, end = None, 0
    for packet in container.demux(stream):
        if packet.pts is not None:
            start = packet.pts if start is None else min(start, packet.pts)
            end = max(end, packet.pts + (packet.duration or 0))
    container.seek(0)
    return (end - (start or 0)) * time_base


def _refuse_length(duration: Fraction, limits: Limits) -> None:
    if duration <= 0:
        raise UnusableMedia("This file is empty: it has no duration. Export it again.")
    if duration > limits.media_seconds_max:
        minutes = limits.media_seconds_max / 60
        raise UnusableMedia(f"This is longer than {minutes:g} minutes, the longest accepted here. Cut it first.")


def _pace(container: InputContainer, video: VideoStream) -> tuple[bool, Fraction | None]:
    """Whether frames come at changing distances (more than rounding to the container's clock), and their mean rate."""
    stamps = sorted(
        packet.pts
        for packet in islice(container.demux(video), PACKETS_LOOKED_AT)
        if packet.pts is not None and not packet.is_discard
    )
    container.seek(0)
    tick = video.time_base or Fraction(1, av.time_base)
    steps = [(after - before) * tick for before, after in pairwise(stamps)]
    if len(steps) < 2 or sum(steps) <= 0:
        return False, None
    mean = sum(steps, Fraction(0)) / len(steps)
    usual = sorted(steps)[len(steps) // 2]
    tolerance = max(0.0015, float(usual) / 20)
    odd = sum(abs(step - usual) > tolerance for step in steps)
    return odd > len(steps) * 0.02, 1 / mean


def _first_frame(container: InputContainer, video: VideoStream) -> av.VideoFrame:
    frame = next(container.decode(video), None)
    if frame is None or not frame.width or not frame.height:
        raise UnusableMedia("There is no picture in this video that can be decoded. Export it again.")
    return frame


def _true_length(container: InputContainer, stream: VideoStream | AudioStream, duration: Fraction) -> Fraction:
    """What it says, unless it goes on after that: whoever is paid by the second counts what there is.

    One that claims a minute and stops after ten seconds would give variants that freeze, and is refused.
    """
    tick = stream.time_base or Fraction(1, av.time_base)
    start = (stream.start_time or 0) * tick
    container.seek(int((start + max(Fraction(0), duration - 1)) / tick), stream=stream)
    last = end = start
    for packet in container.demux():
        if packet.pts is not None and packet.time_base:
            last = max(last, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.stream_index == stream.index and not packet.is_discard:
                decoded = packet.pts if packet.dts is None else packet.dts  # a picture shown late is none that lasts
                end = max(end, (decoded + (packet.duration or 0)) * packet.time_base)
    rounding = max(Fraction(1, 2), duration / 50)
    if last - start < duration - rounding:
        raise UnusableMedia("This file is cut short: its end is missing. Export or upload it again.")
    return end - start if end - start > duration + rounding else duration


def frame_count(video: VideoStream) -> int | None:
    """Frames a player shows: what an edit list leaves out is not counted. None where the container has no index."""
    if not video.frames:
        return None
    hidden = sum(entry.is_discard for entry in video.index_entries)
    return video.frames - hidden if len(video.index_entries) == video.frames else video.frames


def bit_rate(path: Path, duration: Fraction) -> int:
    return round(path.stat().st_size * 8 / duration)
