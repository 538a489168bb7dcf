"""Putting a picture track and a sound track into one MP4, packet by packet, without touching either."""

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from heapq import merge
from itertools import count
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from novai_web.engines.ffmpeg.inside.opening import audio_stream, open_media, video_stream
from novai_web.engines.ffmpeg.media import Limits
from novai_web.errors import UnusableMedia

Timed = tuple[float, int, "av.Packet[Stream]"]


def mux(video: Path, sound: Path | None, target: Path, limits: Limits) -> None:
    """The first picture track of one file and the first sound track of another, both beginning at 0.

    Sound that comes with a picture of its own begins with that picture: it keeps its distance to it.
    """
    with ExitStack() as stack:
        container = stack.enter_context(open_media(video, limits))
        picture = video_stream(container)
        if picture is None:
            raise UnusableMedia("There is no picture in this video.")
        out = stack.enter_context(av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}))
        tracks = [_packets(container, picture, out.add_stream_from_template(picture), first_moment(picture), order=0)]
        if sound is not None:
            other = stack.enter_context(open_media(sound, limits))
            audio = audio_stream(other)
            if audio is None:
                raise UnusableMedia("There is no sound in this file.")
            beside = video_stream(other)
            zero = first_moment(beside) if beside is not None else Fraction(0)
            tracks.append(_packets(other, audio, out.add_stream_from_template(audio), zero, order=1))
        for _, _, packet in merge(*tracks, key=lambda timed: timed[:2]):
            out.mux(packet)


def first_moment(stream: VideoStream) -> Fraction:
    """When the first picture is shown, on the file's own clock, in seconds."""
    assert stream.time_base is not None
    return (stream.start_time or 0) * stream.time_base


def _packets(
    container: InputContainer,
    stream: VideoStream | AudioStream,
    target: VideoStream | AudioStream,
    zero: Fraction,
    order: int,
) -> Iterator[Timed]:
    """All packets in decoding order, moved so that `zero` becomes 0."""
    assert stream.time_base is not None
    shift = round(zero / stream.time_base)
    numbers = count()
    for packet in container.demux(stream):
        if packet.size == 0 or packet.pts is None:  # the end, and what has no place in time
            continue
        packet.pts -= shift
        packet.dts = packet.dts - shift if packet.dts is not None else None
        packet.stream = target
        moment = packet.dts if packet.dts is not None else packet.pts
        yield float(moment * stream.time_base), 2 * next(numbers) + order, packet
