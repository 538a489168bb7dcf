"""Turning decoded frames into what the encoder wants: upright, square pixels, the right size, 8-bit 4:2:0."""

from collections.abc import Iterator
from fractions import Fraction

import av
from av.error import BlockingIOError as NothingYet
from av.error import EOFError as Drained
from av.filter import Graph
from av.filter.context import FilterContext

from novai_web.engines.ffmpeg.inside.upright import displayed_size, turn_of
from novai_web.engines.ffmpeg.planning import needs_reframing
from novai_web.engines.ffmpeg.settings import Fill, Frame

HDR_TRANSFERS = (16, 18)  # PQ and HLG, in ITU-T H.273
_TO_SDR = "out_transfer=bt709:out_primaries=bt709:out_color_matrix=bt709:out_range=tv:intent=perceptual"
_BLUR = "w=ceil(iw/16)*2:h=ceil(ih/16)*2"  # blurred small and enlarged: as soft, and far cheaper

Steps = list[tuple[str, str]]


class Framer:
    """A filter graph, built again whenever the frames change their shape in the middle of a stream."""

    def __init__(
        self, size: tuple[int, int], frame: Frame, fill: Fill, sample_aspect: Fraction | None, time_base: Fraction
    ) -> None:
        self.size, self.frame, self.fill = size, frame, fill
        self.sample_aspect, self.time_base = sample_aspect, time_base
        self._shape: tuple[object, ...] = ()
        self._graph: Graph | None = None
        self._degrees = 0

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        shape = (frame.width, frame.height, frame.format.name, frame.color_trc)
        if shape != self._shape:
            yield from self.flush()
            self._shape = shape
            self._graph = self._build(frame)
        if self._graph is None:
            yield frame
        else:
            self._graph.push(frame)
            yield from _pull(self._graph)

    def flush(self) -> Iterator[av.VideoFrame]:
        if self._graph is not None:
            self._graph.push(None)
            yield from _pull(self._graph)
            self._graph = None

    def _build(self, frame: av.VideoFrame) -> Graph | None:
        """None where frames can go to the encoder as they are."""
        steps, blurred = self._steps(frame)
        if not steps and not blurred and frame.format.name in ("yuv420p", "yuvj420p"):
            return None
        graph = Graph()
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=self.time_base)
        end = _chain(graph, source, steps)
        if blurred:
            end = _over_its_blur(graph, end, *self.size)
        end = _chain(graph, end, [("setsar", "1"), ("format", "yuv420p")])
        end.link_to(graph.add("buffersink"))
        graph.configure()
        return graph

    def _steps(self, frame: av.VideoFrame) -> tuple[Steps, bool]:
        width, height = self.size
        turn = turn_of(frame)
        shown = displayed_size(frame.width, frame.height, self.sample_aspect, turn.degrees)
        steps: Steps = [("bwdif", "mode=send_frame:deint=interlaced")] if frame.interlaced_frame else []
        if frame.color_trc in HDR_TRANSFERS:
            steps.append(("scale", _TO_SDR))
        for turning in turn.filters:
            name, _, arguments = turning.partition("=")
            steps.append((name, arguments))
        if self.sample_aspect not in (None, 0, 1):
            steps += [("scale", f"w={shown[0]}:h={shown[1]}"), ("setsar", "1")]
        if needs_reframing(*shown, self.frame):
            if self.fill == "blur":
                return steps, True
            fit = f"w={width}:h={height}:force_original_aspect_ratio=increase:force_divisible_by=2"
            return [*steps, ("scale", fit), ("crop", f"w={width}:h={height}")], False
        if (shown[0] // 2 * 2, shown[1] // 2 * 2) == self.size:
            odd = shown != self.size
            return [*steps, ("crop", f"w={width}:h={height}:x=0:y=0")] if odd else steps, False
        return [*steps, ("scale", f"w={width}:h={height}")], False


def _chain(graph: Graph, end: FilterContext, steps: Steps) -> FilterContext:
    for name, arguments in steps:
        step = graph.add(name, arguments) if arguments else graph.add(name)
        end.link_to(step)
        end = step
    return end


def _over_its_blur(graph: Graph, end: FilterContext, width: int, height: int) -> FilterContext:
    split, over = graph.add("split"), graph.add("overlay", "x=(W-w)/2:y=(H-h)/2:format=auto")
    end.link_to(split)
    cover = f"w={width}:h={height}:force_original_aspect_ratio=increase:force_divisible_by=2"
    behind: Steps = [
        ("scale", cover),
        ("crop", f"w={width}:h={height}"),
        ("scale", _BLUR),
        ("gblur", "sigma=6"),
        ("scale", f"w={width}:h={height}"),
        ("setsar", "1"),
    ]
    contained = f"w={width}:h={height}:force_original_aspect_ratio=decrease:force_divisible_by=2"
    branches = (behind, [("scale", contained), ("setsar", "1")])
    for number, steps in enumerate(branches):
        name, arguments = steps[0]
        first = graph.add(name, arguments)
        split.link_to(first, number, 0)
        _chain(graph, first, steps[1:]).link_to(over, 0, number)
    return over


def _pull(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (NothingYet, Drained):
            return
