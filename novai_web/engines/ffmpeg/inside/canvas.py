"""Laying a hook over frames that others need as they are."""

import av
import numpy as np

from novai_web.engines.ffmpeg.inside.drawing import Picture
from novai_web.engines.ffmpeg.inside.overlay import Overlay


class Canvas:
    """A frame of one's own to draw on, used again for every frame: x264 has copied it when it returns."""

    def __init__(self, drawing: Picture) -> None:
        self.drawing = drawing
        self.frame: av.VideoFrame | None = None
        self.overlay: Overlay | None = None

    def draw(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self.frame is None or self.overlay is None or not self.overlay.fits(frame):
            self.frame = av.VideoFrame(frame.width, frame.height, frame.format.name)
            self.frame.colorspace, self.frame.color_range = frame.colorspace, frame.color_range
            self.overlay = Overlay(self.drawing, frame)
        own = self.frame
        for source, target in zip(frame.planes, own.planes, strict=True):
            np.copyto(_plane(target)[:, : target.width], _plane(source)[:, : target.width])
        own.pts, own.time_base = frame.pts, frame.time_base
        self.overlay.blend(own)
        return own


def _plane(plane: av.video.plane.VideoPlane) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height]
