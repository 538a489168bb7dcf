"""How much of the picture survives: SSIM of what was encoded under the hook, against a lossless composite."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.error import BlockingIOError as NothingYet
from av.error import EOFError as Drained
from av.filter import Graph

from bench.batches import Batch, Composite, layer
from bench.floor import changed_frames, frame_of, planes_of
from bench.sources import RATE
from novai_web.engines.ffmpeg import Variant


def ssim(batch: Batch, variant: Variant, made: Path) -> float:
    """FFmpeg's SSIM over all planes, mean of the frames under the hook."""
    assert variant.hook is not None
    composite = Composite(layer(variant.hook, batch.settings, batch.case.size))
    compare = _Comparison(batch.case.size)
    pairs = zip(changed_frames(batch, variant.video, composite), _first_frames(made), strict=False)
    found = [value for wanted, frame in pairs for value in compare(wanted, frame)]
    found += compare.rest()
    under = sum(batch.is_under_hook(number) for number in range(round(batch.case.seconds * RATE)))
    if len(found) != under:
        raise SystemExit(f"{made}: {len(found)} frames under the hook instead of {under}")
    return sum(found) / len(found)


def _first_frames(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            yield frame_of(planes_of(frame), number)


class _Comparison:
    """FFmpeg's filter, fed with pairs of frames."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.graph = Graph()
        shape = av.VideoFormat("yuv420p", *size)
        self.inputs = [
            self.graph.add_buffer(width=size[0], height=size[1], format=shape, time_base=Fraction(1, RATE))
            for _ in range(2)
        ]
        comparing, sink = self.graph.add("ssim"), self.graph.add("buffersink")
        for number, source in enumerate(self.inputs):
            source.link_to(comparing, 0, number)
        comparing.link_to(sink)
        self.graph.configure()

    def __call__(self, wanted: av.VideoFrame, found: av.VideoFrame) -> list[float]:
        for source, frame in zip(self.inputs, (wanted, found), strict=True):
            source.push(frame)
        return list(self._values())

    def rest(self) -> list[float]:
        for source in self.inputs:
            source.push(None)
        return list(self._values())

    def _values(self) -> Iterator[float]:
        while True:
            try:
                frame = self.graph.vpull()
            except (NothingYet, Drained):
                return
            yield float(frame.metadata["lavfi.ssim.All"])
