"""The least that has to be done: x264 on nothing but the frames that change, decoded and blended beforehand in RAM.

One thread each, as many at a time as there are cores. Every hook is encoded by itself here; an engine that lets x264
reuse the decisions of one hook for the others can go below this floor, which is why that is measured too.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from bench.batches import Batch, Composite, layer
from bench.cases import HOOKS
from bench.programs import CORES
from bench.sources import RATE
from novai_web.engines.ffmpeg import RenderSettings


@dataclass(frozen=True)
class Floor:
    """Seconds of one core for one variant."""

    alone: float
    reusing: float


def measure(batch: Batch) -> Floor | None:
    """None where nothing has to be encoded."""
    if not batch.case.hooks:
        return None
    videos = batch.material.videos
    with ProcessPoolExecutor(CORES) as pool:
        spent = list(pool.map(_encode_hooks, [batch] * len(videos), videos))
    alone, reusing = (sum(each) / batch.case.variants for each in zip(*spent, strict=True))
    return Floor(alone, reusing)


def changed_frames(batch: Batch, video: Path, composite: Composite) -> Iterator[av.VideoFrame]:
    """The frames of a video under the hook, with it."""
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if not batch.is_under_hook(number):
                return  # every window of the bench begins with the clip
            blended = composite.over(planes_of(frame))
            yield frame_of(blended, number)


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    """Y, Cb and Cr as they lie in the frame."""
    planes = []
    for plane in frame.planes:
        pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        planes.append(pixels[: plane.height, : plane.width])
    return planes


def frame_of(planes: list[np.ndarray], number: int) -> av.VideoFrame:
    packed = np.concatenate([plane.reshape(-1) for plane in planes])
    high, wide = planes[0].shape
    frame = av.VideoFrame.from_ndarray(packed.reshape(high * 3 // 2, wide), format="yuv420p")
    frame.pts, frame.time_base = number, Fraction(1, RATE)
    return frame


def _encode_hooks(batch: Batch, video: Path) -> tuple[float, float]:
    """CPU seconds for all hooks of one video: each by itself, and the others with the decisions of the first."""
    alone = reusing = 0.0
    bit_rate: int | None = None
    with TemporaryDirectory(prefix="novai-floor-") as folder:
        statistics = str(Path(folder) / "statistics")
        for number, hook in enumerate(HOOKS[: batch.case.hooks]):
            frames = list(changed_frames(batch, video, Composite(layer(hook, batch.settings, batch.case.size))))
            spent, size = _encode(frames, batch.settings, f"pass=1:stats={statistics}" if number == 0 else "")
            alone += spent
            if bit_rate is None:
                bit_rate = size * 8 * RATE // len(frames)
            else:
                spent, _ = _encode(frames, batch.settings, f"pass=2:stats={statistics}", bit_rate)
            reusing += spent
    return alone, reusing


def _encode(
    frames: list[av.VideoFrame], settings: RenderSettings, parameters: str, bit_rate: int | None = None
) -> tuple[float, int]:
    """CPU seconds of this thread, in which x264 works, and bytes."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
    context.time_base, context.framerate, context.thread_count = Fraction(1, RATE), Fraction(RATE), 1
    quality = {} if bit_rate else {"crf": str(settings.crf)}
    context.bit_rate = bit_rate or 0
    context.options = {"preset": settings.preset, "x264-params": f"keyint=infinite:{parameters}".rstrip(":"), **quality}
    start, size = time.thread_time(), 0
    for frame in frames:
        size += sum(packet.size for packet in context.encode(frame))
    size += sum(packet.size for packet in context.encode(None))
    spent = time.thread_time() - start
    del context  # x264 writes its statistics only when it is closed
    return spent, size
