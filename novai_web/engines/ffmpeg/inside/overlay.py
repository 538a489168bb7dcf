"""Laying a picture over frames in their own colours: 8-bit 4:2:0, any matrix, full or limited range."""

from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from novai_web.engines.ffmpeg.inside.drawing import Picture

FULL_RANGE = 2  # AVCOL_RANGE_JPEG
UNKNOWN_MATRIX = 2
# Kr and Kb by ITU-T H.273 matrix coefficients.
_MATRICES = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}

Pixels = NDArray[np.uint16]
_HALF = 128  # of 256, so that the shift rounds


@dataclass(frozen=True)
class _Plane:
    """What a plane of a frame is multiplied with and what is added to it, in 256ths; and room to do it in.

    All in 16 bits: blending is one multiplication, one addition and a shift, none of which asks for memory.
    """

    rest: Pixels
    share: Pixels
    room: Pixels

    @classmethod
    def of(cls, premultiplied: NDArray[np.float64], alpha: NDArray[np.float64]) -> "_Plane":
        rest = np.round((1 - alpha) * 256)
        share = np.minimum(np.round(premultiplied * 256) + _HALF, 65535 - rest * 255)
        return cls(rest.astype(np.uint16), share.astype(np.uint16), np.empty(rest.shape, np.uint16))

    def blend(self, part: NDArray[np.uint8]) -> None:
        np.multiply(part, self.rest, out=self.room)
        np.add(self.room, self.share, out=self.room)
        np.right_shift(self.room, 8, out=self.room)
        part[:] = self.room


class Overlay:
    """A picture made ready once, for as many frames as will carry it, one after another.

    Colour conversion is ITU-T H.273's.
    """

    def __init__(self, picture: Picture, frame: av.VideoFrame) -> None:
        self.key = _colours(frame)
        full, matrix = self.key
        self.x, self.y = picture.x & ~1, picture.y & ~1
        pixels = _on_even_box(picture, self.x, self.y, frame.width, frame.height)
        self.height, self.width = pixels.shape[:2]
        alpha = pixels[..., 3] / 255
        luma, *chroma = (plane * alpha for plane in _to_yuv(pixels, full, _MATRICES[matrix]))
        small = _halved(alpha)
        self.planes = [_Plane.of(luma, alpha), *(_Plane.of(_halved(plane), small) for plane in chroma)]

    def fits(self, frame: av.VideoFrame) -> bool:
        return _colours(frame) == self.key

    def blend(self, frame: av.VideoFrame) -> None:
        """Onto the frame itself, which must be writable and yuv420p."""
        for number, (plane, own) in enumerate(zip(frame.planes, self.planes, strict=True)):
            halved = int(number > 0)
            pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            rows = slice(self.y >> halved, (self.y + self.height) >> halved)
            columns = slice(self.x >> halved, (self.x + self.width) >> halved)
            own.blend(pixels[rows, columns])


def _colours(frame: av.VideoFrame) -> tuple[bool, int]:
    full = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
    if frame.colorspace in _MATRICES:
        return full, frame.colorspace
    # What players assume where a file does not say.
    return full, 1 if frame.width >= 1280 or frame.height > 576 else 6


def _on_even_box(picture: Picture, x: int, y: int, width: int, height: int) -> NDArray[np.float64]:
    """The picture on a box that begins and ends between chroma samples, within the frame."""
    image = np.asarray(picture.image.convert("RGBA"), np.float64)
    right, bottom = picture.x + image.shape[1], picture.y + image.shape[0]
    box = np.zeros((min(height, bottom + (bottom & 1)) - y, min(width, right + (right & 1)) - x, 4))
    part = box[picture.y - y :, picture.x - x :][: image.shape[0], : image.shape[1]]
    part[:] = image[: part.shape[0], : part.shape[1]]
    return box


def _to_yuv(pixels: NDArray[np.float64], full: bool, weights: tuple[float, float]) -> list[NDArray[np.float64]]:
    red, green, blue = (pixels[..., channel] for channel in range(3))
    kr, kb = weights
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    scale_y, zero, scale_c = (1.0, 0, 1.0) if full else (219 / 255, 16, 224 / 255)
    chroma_blue = 128 + (blue - luma) / (2 * (1 - kb)) * scale_c
    chroma_red = 128 + (red - luma) / (2 * (1 - kr)) * scale_c
    return [np.clip(plane, 0, 255) for plane in (zero + luma * scale_y, chroma_blue, chroma_red)]


def _halved(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = plane.shape
    small: NDArray[np.float64] = plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    return small
