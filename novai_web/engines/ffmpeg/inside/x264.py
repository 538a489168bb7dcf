"""Encoding one segment with libx264, so that it can stand between others in one stream."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from novai_web.engines.ffmpeg.h264.parameters import (
    IDR_SLICE,
    NAL_TYPE,
    PPS_TYPE,
    SLICE,
    SPS,
    SPS_TYPE,
    nals_of_annexb,
)
from novai_web.engines.ffmpeg.inside.segments import Part, Segment, Spool
from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.settings import RenderSettings

KEYFRAME_SECONDS = 2  # so that players can seek
# A segment up to this long begins with its only forced keyframe: what follows it begins with one too.
ONE_GOP_SECONDS = 4
# A part is made so much better than was asked for, in CRF, that its picture is no worse than within a whole encode.
# There, later keyframes profit from what x264 has learnt by then; the first keyframe of an encoder does not.
CONTINUED_CRF = 0.8
# And there, the frames before a part's end are worth more, as others refer to them.
CUT_SHORT_CRF = 0.2
# The second pass has no motion vectors from looking ahead to begin its search with, and finds worse ones. So it gets
# this many more bits, and where motion takes more than a calm share of them, as much more again; giving it those
# vectors would cost most of the time that it saves. Four scenes with shares of 0.20 to 0.28 needed up to 8 % more.
MORE_BITS, CALM_SHARE, MOTION_BITS_MAX = 0.03, 0.22, 0.07
STATISTICS_FRAMES_MIN = 30  # fewer give x264's second pass too little to distribute
REFERENCES_OF_PYRAMID = 4
# Reference frames that x264's presets would use.
_PRESET_REFERENCES = {"faster": 2, "fast": 2, "medium": 3, "slow": 5}
_COUNTED = re.compile(r"\b(tex|mv|misc):(\d+)")
_GLOBAL_HEADER = 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER: parameter sets apart, not in the packets

Rewrite = Callable[[bytes], bytes]


@dataclass
class Statistics:
    """x264's decisions on a window (frame types, macroblock tree), written by the first hook and read by the others.

    Two hooks differ in a few pixels, so the costly look ahead gives the same for both. The second pass is told to
    reach a bitrate, from that which the first one had at its constant quality.
    """

    path: Path
    bit_rate: int | None = None

    def take(self, segment: Segment, rate: Fraction) -> None:
        """What the first pass made; its encoder is closed."""
        more = MORE_BITS + min(MOTION_BITS_MAX, max(0.0, self._motion_share() - CALM_SHARE))
        per_frame = segment.size_bytes * 8 / max(1, len(segment.sizes))
        self.bit_rate = round(per_frame * float(rate) * (1 + more))

    def _motion_share(self) -> float:
        """Of motion vectors in the bits of frames that have any (x264's ratecontrol.c writes a line a frame)."""
        lines = [dict(_COUNTED.findall(line)) for line in self.path.read_text().splitlines() if " type:I " not in line]
        spent = {name: sum(int(line.get(name, 0)) for line in lines) for name in ("tex", "mv", "misc")}
        return spent["mv"] / max(1, sum(spent.values()))


@dataclass(frozen=True)
class Shape:
    """What all segments of one stream have in common. `like` is the parameter set that they must fit, if any,
    and `reorder_frames` how many frames may be decoded before one that is shown earlier.
    """

    size: tuple[int, int]
    pixel_format: str
    time_base: Fraction
    rate: Fraction
    colours: dict[str, int] = field(default_factory=dict)
    like: SPS | None = None
    reorder_frames: int = 0


class Encoder:
    """Frames in, in order of display; a segment out. Samples have NAL units with lengths of `length_size` bytes."""

    def __init__(
        self,
        shape: Shape,
        settings: RenderSettings,
        path: Path,
        *,
        threads: int = 1,
        seconds: float | None = None,
        statistics: Statistics | None = None,
        length_size: int = 4,
        better_crf: float = 0,
    ) -> None:
        self.shape, self.length_size, self.statistics = shape, length_size, statistics
        self.repeats = statistics is not None and statistics.bit_rate is not None
        self._spool = Spool(path)
        self._context: VideoCodecContext | None = _open(
            shape, settings, threads, seconds, statistics, settings.crf - better_crf
        )
        units = {unit[0] & NAL_TYPE: unit for unit in nals_of_annexb(bytes(self._context.extradata or b""))}
        if SPS_TYPE not in units or PPS_TYPE not in units:
            raise Malformed("x264 gave no parameter sets")
        self.sps, self.pps = units[SPS_TYPE], units[PPS_TYPE]
        self.rewrite: Rewrite | None = None

    def push(self, frame: av.VideoFrame, *, keyframe: bool = False) -> None:
        assert self._context is not None
        # Without a word about its type, x264 would repeat the source's choice of frame types.
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        self._write(self._context.encode(frame))

    def finish(self) -> Segment:
        """Ends the encoder: x264 writes its statistics only when it is closed."""
        assert self._context is not None
        self._write(self._context.encode(None))
        self._context = None
        segment = self._spool.finish(self.sps, self.pps)
        if self.statistics is not None and not self.repeats:
            self.statistics.take(segment, self.shape.rate)
        return segment

    def _write(self, packets: "list[av.Packet[av.VideoStream]]") -> None:
        for packet in packets:
            sample, sync = bytearray(), False
            for unit in nals_of_annexb(bytes(packet)):
                kind = unit[0] & NAL_TYPE
                if kind not in (SLICE, IDR_SLICE):
                    continue
                sync = sync or kind == IDR_SLICE
                slice_ = self.rewrite(unit) if self.rewrite else unit
                sample += len(slice_).to_bytes(self.length_size, "big")
                sample += slice_
            assert packet.pts is not None
            self._spool.add(packet.pts, bytes(sample), sync)


def better_crf(part: Part, *, is_opening: bool) -> float:
    if not is_opening:
        return CONTINUED_CRF
    return CUT_SHORT_CRF if part is Part.WINDOW else 0


def _open(
    shape: Shape,
    settings: RenderSettings,
    threads: int,
    seconds: float | None,
    statistics: Statistics | None,
    crf: float,
) -> VideoCodecContext:
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height = shape.size
    context.pix_fmt = shape.pixel_format
    context.time_base, context.framerate = shape.time_base, shape.rate
    context.thread_count = threads
    context.flags |= _GLOBAL_HEADER
    for name, value in shape.colours.items():
        setattr(context, name, value)
    # `stitchable` keeps the parameter sets of all segments the same, whatever the rate control does.
    parameters = ["annexb=1", "stitchable=1", "force-cfr=0"]
    one_gop = seconds is not None and seconds <= ONE_GOP_SECONDS
    parameters.append("keyint=infinite" if one_gop else f"keyint={max(1, round(shape.rate * KEYFRAME_SECONDS))}")
    options = {"preset": settings.preset, "profile": "high"}
    if shape.like is not None:
        parameters += _like(shape.like, shape.reorder_frames, settings.preset)
        options["profile"] = shape.like.encoder_profile
        options["level"] = f"{shape.like.level / 10:.1f}"
    if statistics is not None:
        options["stats"] = str(statistics.path)
        parameters.append("pass=1" if statistics.bit_rate is None else "pass=2")
    if statistics is not None and statistics.bit_rate is not None:
        context.bit_rate = statistics.bit_rate
    else:
        options["crf"] = str(crf)
    context.options = options | {"x264-params": ":".join(parameters)}
    context.open()
    return context


def _like(source: SPS, reorder_frames: int, preset: str) -> list[str]:
    """What keeps x264 within the reordering and the references that a decoder of the source prepares for."""
    references = max(1, source.ref_frames)
    parameters = [f"ref={min(_PRESET_REFERENCES.get(preset, 1), references)}", f"dpb-size={references}"]
    if reorder_frames == 0 or not source.allows_b_slices:
        parameters.append("bframes=0")
    elif reorder_frames == 1 or references < REFERENCES_OF_PYRAMID:
        parameters += ["b-pyramid=none", "bframes=2"]
    return parameters
