"""Decoding samples that lie in an MP4, without libav's own reading of it."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple, cast

import av
from av.video.codeccontext import VideoCodecContext

from novai_web.engines.ffmpeg.mp4.boxes import Bytes


class Timed(NamedTuple):
    """A sample, when it is shown and when it is decoded, in ticks."""

    data: Bytes
    pts: int
    dts: int


def decoded(
    codec: str, extradata: bytes, samples: Iterable[Timed], time_base: Fraction, **options: str
) -> Iterator[av.VideoFrame]:
    """In order of display. `samples` begin with a keyframe; `options` are libav's."""
    decoder = cast(VideoCodecContext, av.CodecContext.create(codec, "r"))
    decoder.extradata = extradata
    # Strictly by the level, or a stream that does not say how far it reorders comes out in a wrong order at first.
    decoder.options = {"strict": "strict", **options}
    decoder.thread_count = 1  # frame threads can deadlock when closed after an error; the lanes fill the cores
    for sample in samples:
        packet = av.Packet(bytes(sample.data))
        packet.pts, packet.dts, packet.time_base = sample.pts, sample.dts, time_base
        yield from decoder.decode(packet)
    for frame in decoder.decode(None):
        frame.time_base = time_base  # which libav forgets at the end
        yield frame
