"""Makes H.264 streams for tests, as NAL units and as parameter sets written bit by bit."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from novai_web.engines.ffmpeg.h264.bits import BitWriter, escape
from novai_web.engines.ffmpeg.h264.parameters import (
    HIGH,
    HIGH_10,
    HIGH_422,
    HIGH_444,
    PPS,
    SPS,
    AvcConfig,
    nals_of_annexb,
)
from novai_web.engines.ffmpeg.mp4.boxes import box
from novai_web.engines.ffmpeg.mp4.writing import TrackOut, write

SIZE = (112, 64)
RATE = 30
GLOBAL_HEADER = 1 << 22

Shown = list[tuple[int, bytes]]


@dataclass(frozen=True)
class Picture:
    """`time` counts frames; `nals` are its slices, without parameter sets and messages."""

    time: int
    nals: tuple[bytes, ...]

    @property
    def is_keyframe(self) -> bool:
        return any(nal[0] & 31 == 5 for nal in self.nals)

    @property
    def sample(self) -> bytes:
        return b"".join(len(nal).to_bytes(4, "big") + nal for nal in self.nals)


@dataclass(frozen=True)
class Stream:
    """In decoding order."""

    sps: bytes
    pps: bytes
    pictures: tuple[Picture, ...]

    @property
    def parsed(self) -> tuple[SPS, PPS]:
        return SPS.parse(self.sps), PPS.parse(self.pps)

    def later(self, frames: int) -> "Stream":
        return replace(self, pictures=tuple(replace(picture, time=picture.time + frames) for picture in self.pictures))

    def shown(self) -> Shown:
        """What it decodes to, by time."""
        return decode([self.sps, self.pps], self.pictures)


def encode(
    parameters: str = "",
    *,
    frames: int = 24,
    seed: int = 1,
    size: tuple[int, int] = SIZE,
    fade: bool = False,
    **options: str,
) -> Stream:
    """`parameters` are x264's, joined by colons; `fade` makes weights worth while."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = *size, options.pop("pixel_format", "yuv420p")
    context.time_base, context.framerate, context.thread_count = Fraction(1, RATE), Fraction(RATE), 1
    context.flags |= GLOBAL_HEADER
    given = {"preset": "veryfast", "crf": "28"} | options
    context.options = given | {"x264-params": ":".join(filter(None, ("annexb=1", parameters)))}
    context.open()
    sets = {nal[0] & 31: nal for nal in nals_of_annexb(bytes(context.extradata or b""))}
    pictures = []
    for frame in [*_frames(frames, seed, size, fade, context.pix_fmt), None]:
        for packet in context.encode(frame):
            nals = tuple(nal for nal in nals_of_annexb(bytes(packet)) if nal[0] & 31 in (1, 5))
            pictures.append(Picture(packet.pts or 0, nals))
    return Stream(sets[7], sets[8], tuple(pictures))


def decode(sets: Sequence[bytes], pictures: Sequence[Picture]) -> Shown:
    """Strictly: an error in the stream is an error here."""
    context = av.CodecContext.create("h264", "r")
    context.extradata = annexb(sets)
    context.thread_count = 1
    context.options = {"strict": "strict", "err_detect": "explode"}
    frames = []
    for number, picture in enumerate(pictures):
        packet = av.Packet(annexb(picture.nals))
        packet.pts, packet.dts = picture.time, number
        frames += context.decode(packet)
    frames += context.decode(None)
    return [(frame.pts, frame.to_ndarray().tobytes()) for frame in frames]


def annexb(nals: Sequence[bytes]) -> bytes:
    return b"".join(b"\0\0\0\1" + nal for nal in nals)


def sps_with(base: SPS, **changes: Any) -> bytes:
    """The same parameter set with other values, written anew, as a NAL unit; of the usability only the reordering."""
    sps = replace(base, **changes)
    bits = BitWriter()
    bits.u(sps.profile << 16 | sps.constraints << 8 | sps.level, 24)
    bits.ue(sps.id)
    if sps.profile in (HIGH, HIGH_10, HIGH_422, HIGH_444):
        bits.ue(sps.chroma_format)
        if sps.chroma_format == 3:
            bits.u(sps.separate_planes, 1)
        bits.ue(sps.bit_depths[0] - 8)
        bits.ue(sps.bit_depths[1] - 8)
        bits.u(sps.lossless, 1)
        bits.u(sps.has_scaling_matrix, 1)
        if sps.has_scaling_matrix:
            bits.u(0b1, 1)  # one list, of which all are the first: 8 + 8, then no change any more
            bits.se(8)
            bits.se(-16)
            bits.u(0, 7 if sps.chroma_format != 3 else 11)
    bits.ue(sps.log2_frame_num - 4)
    _write_picture_order(bits, sps)
    bits.ue(sps.ref_frames)
    bits.u(sps.gaps_allowed, 1)
    bits.ue(sps.macroblocks[0] - 1)
    bits.ue(sps.macroblocks[1] // (1 if sps.frame_mbs_only else 2) - 1)
    bits.u(sps.frame_mbs_only, 1)
    if not sps.frame_mbs_only:
        bits.u(0, 1)
    bits.u(sps.direct_8x8, 1)
    bits.u(any(sps.crop), 1)
    if any(sps.crop):
        down = 2 if sps.frame_mbs_only else 4
        for samples, unit in zip(sps.crop, (2, 2, down, down), strict=True):
            bits.ue(samples // unit)
    _write_reordering(bits, sps)
    bits.u(1, 1)
    return b"\x67" + escape(bits.aligned())


def write_mp4(path: Path, stream: Stream, ppss: Sequence[bytes] = (), **track: Any) -> Path:
    """With decode times that are the display times in order; `track` is what of the track is to be otherwise."""
    sps = SPS.parse(stream.sps)
    times, shown = [picture.time for picture in stream.pictures], sorted(picture.time for picture in stream.pictures)
    delay = max(first - second for first, second in zip(shown, times, strict=True))
    given: dict[str, Any] = {
        "kind": "vide",
        "timescale": RATE,
        "entry": entry(AvcConfig(4, (stream.sps,), tuple(ppss) or (stream.pps,), sps.level).to_bytes(), sps),
        "samples": [picture.sample for picture in stream.pictures],
        "durations": [*(after - before for before, after in pairwise(shown)), 1],
        "composition": [time - decoded + delay for time, decoded in zip(times, shown, strict=True)],
        "sync": [picture.is_keyframe for picture in stream.pictures],
        "media_time": delay,
        "duration": shown[-1] + 1 - shown[0],
        "width": sps.width << 16,
        "height": sps.height << 16,
    }
    write(path, [TrackOut(**given | track)])
    return path


def entry(configuration: bytes, sps: SPS, tag: bytes = b"avc1") -> bytes:
    shape = struct.pack(">HHII4xH32xHh", sps.width, sps.height, 72 << 16, 72 << 16, 1, 24, -1)
    return box(tag, bytes(6), struct.pack(">H", 1), bytes(16), shape, box(b"avcC", configuration))


def _write_picture_order(bits: BitWriter, sps: SPS) -> None:
    bits.ue(sps.poc_type)
    if sps.poc_type == 0:
        bits.ue(sps.log2_poc_lsb - 4)
    elif sps.poc_type == 1:
        bits.u(0, 1)
        for value in (-1, 1):
            bits.se(value)
        bits.ue(1)
        bits.se(2)


def _write_reordering(bits: BitWriter, sps: SPS) -> None:
    bits.u(sps.reorder_frames is not None, 1)
    if sps.reorder_frames is not None:
        bits.u(0, 8)  # aspect, overscan, signal, chroma location, timing, both buffers, structure: none
        bits.u(0b11, 2)
        for value in (0, 0, 10, 10, sps.reorder_frames, sps.dpb_frames or 0):
            bits.ue(value)


def _frames(count: int, seed: int, size: tuple[int, int], fade: bool, pixel_format: str) -> Iterator[av.VideoFrame]:
    """A texture that moves, different for each seed."""
    width, height = size
    ground = np.random.default_rng(seed).integers(16, 235, (2 * height, 2 * width, 1), np.uint8)
    for number in range(count):
        y, x = number % height, 2 * number % width
        luma = ground[y : y + height, x : x + width, 0].astype(np.float32) / 4 + 90 + 40 * np.sin(number / 3 + seed)
        if fade:
            luma = luma * (0.2 + 0.8 * abs(number % 20 - 10) / 10)
        planes = np.stack([luma, np.full_like(luma, 100 + number), np.full_like(luma, 90 + 5 * seed)])
        frame = av.VideoFrame.from_ndarray(planes.clip(0, 255).astype(np.uint8), format="yuv444p")
        frame = frame.reformat(format=pixel_format)
        frame.pts, frame.time_base = number, Fraction(1, RATE)
        yield frame
