"""Putting the packets of a clip into an MP4 of their own, without touching them, so that they can be cut and copied."""

from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from novai_web.engines.ffmpeg.inside.opening import audio_stream, codec, open_media, video_stream
from novai_web.engines.ffmpeg.media import Limits
from novai_web.errors import UnusableMedia


def remux(video: Path, target: Path, limits: Limits, alive: Callable[[], None]) -> None:
    """The first picture track, and the first sound track if it is AAC."""
    with ExitStack() as stack:
        container = stack.enter_context(open_media(video, limits))
        picture, sound = video_stream(container), audio_stream(container)
        if picture is None:
            raise UnusableMedia("There is no picture in this video.")
        out = stack.enter_context(av.open(str(target), "w", format="mp4"))
        tracks = {picture.index: out.add_stream_from_template(picture)}
        if sound is not None and codec(sound) == "aac":
            tracks[sound.index] = out.add_stream_from_template(sound)  # type: ignore[assignment]
        for packet in container.demux([stream for stream in (picture, sound) if stream and stream.index in tracks]):
            if packet.size and packet.pts is not None:  # else it is the end, or has no place in time
                alive()
                packet.stream = tracks[packet.stream_index]
                out.mux(packet)


def first_moment(stream: VideoStream) -> Fraction:
    """When the first picture is shown, on the file's own clock, in seconds."""
    assert stream.time_base is not None
    return (stream.start_time or 0) * stream.time_base
