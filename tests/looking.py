"""Looks at rendered files as a viewer and as a decoder would: which frames, when, how good, with what sound."""

import os
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import av
import imageio_ffmpeg
import matrix
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from novai_web.engines.ffmpeg import RenderSettings
from novai_web.engines.ffmpeg.inside import text

# A hook whose colour no source has anywhere.
HOOK_TEXT, SECOND_TEXT = "Wait for it", "Wait for me"
HOOK = RenderSettings(
    hook_position="center", hook_size=14, hook_box=True, hook_box_color="#00ff00", hook_box_opacity=1, crf=20
)
HOOKED_SHARE = 0.02  # of the frame, at least, that the hook colours; encoding alone never colours a tenth of that
CLICK_REST_SECONDS = 0.1
DECODERS = {"debian": "ffmpeg", "imageio": imageio_ffmpeg.get_ffmpeg_exe()}

Plane = NDArray[np.uint8]


class Frame(NamedTuple):
    """One shown frame, upright. `time` is since the first, in seconds."""

    time: Fraction
    luma: Plane
    blue: Plane
    red: Plane

    @property
    def number(self) -> int:
        return sum(lit << bit for bit, lit in enumerate(self._code[1:9]))

    @property
    def flashes(self) -> bool:
        return self._code[0]

    @property
    def hook_share(self) -> float:
        """How much of the frame has the colour of the hook's box: green, whose both differences are far below."""
        return float(np.mean((self.blue < 85) & (self.red < 75)))

    @property
    def hooked(self) -> bool:
        return self.hook_share > HOOKED_SHARE

    @property
    def _code(self) -> list[bool]:
        height, width = self.luma.shape
        return [bool(self.luma[cell].mean() > 128) for cell in matrix.code_cells(width, height)]


@lru_cache(maxsize=3)
def frames(path: Path) -> list[Frame]:
    """What is shown, in order, edit lists and rotation obeyed."""
    found: list[Frame] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        first = None
        for frame in container.decode(stream):
            assert frame.pts is not None
            first = frame.pts if first is None else first
            if frame.format.name not in ("yuv420p", "yuvj420p"):
                frame = _as_yuv420(frame)
            planes = [np.ascontiguousarray(np.rot90(plane, frame.rotation // 90)) for plane in _planes(frame)]
            found.append(Frame((frame.pts - first) * stream.time_base, *planes))
    return found


def _as_yuv420(frame: av.VideoFrame) -> av.VideoFrame:
    changed = frame.reformat(format="yuv420p")
    changed.pts = frame.pts
    return changed


def _planes(frame: av.VideoFrame) -> list[Plane]:
    halves = [(frame.height, frame.width), *[((frame.height + 1) // 2, (frame.width + 1) // 2)] * 2]
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height, :width].copy()
        for plane, (height, width) in zip(frame.planes, halves, strict=True)
    ]


# --- How good ------------------------------------------------------------------------------------------------------


def ssim(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Structural similarity of two planes, over windows of 8 × 8 at every fourth point, as FFmpeg's filter has it."""
    x, y = one.astype(np.float64), other.astype(np.float64)
    mean_x, mean_y = _windows(x), _windows(y)
    variance = _windows(x * x) - mean_x**2 + _windows(y * y) - mean_y**2
    covariance = _windows(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similar = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(similar / ((mean_x**2 + mean_y**2 + c1) * (variance + c2))))


def _windows(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = (length // 4 * 4 for length in plane.shape)
    blocks = plane[:height, :width].reshape(height // 4, 4, width // 4, 4).mean((1, 3))
    return (blocks[1:, 1:] + blocks[:-1, 1:] + blocks[1:, :-1] + blocks[:-1, :-1]) / 4


def at_size(luma: Plane, size: tuple[int, int]) -> Plane:
    """`size` is width and height. An odd last row or column is cut off, as the encoder does; the rest is scaled."""
    height, width = luma.shape
    if (width & ~1, height & ~1) == size:
        return luma[: size[1], : size[0]]
    return np.asarray(Image.fromarray(luma).resize(size, Image.Resampling.BICUBIC))


def composite(luma: Plane, hook: str = HOOK_TEXT, *, full_range: bool = False) -> Plane:
    """The hook over a frame without any loss: what an encoder of endless quality would show."""
    return _composite_over(luma, *_hook_planes(hook, luma.shape[1], luma.shape[0], full_range))


def _composite_over(luma: Plane, hook: NDArray[np.float64], alpha: NDArray[np.float64]) -> Plane:
    return np.round(luma * (1 - alpha) + hook * alpha).astype(np.uint8)


@lru_cache(maxsize=16)
def _hook_planes(
    text_: str, width: int, height: int, full_range: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Luma and opacity of the hook in a frame of this size, by BT.601, which small pictures have."""
    picture = text.picture_of(text_, HOOK, width, height)
    assert picture is not None
    canvas = Image.new("RGBA", (width, height))
    canvas.paste(picture.image, (picture.x, picture.y))
    pixels = np.asarray(canvas, np.float64)
    luma = pixels[..., :3] @ np.array([0.299, 0.587, 0.114])
    return luma if full_range else 16 + luma * 219 / 255, pixels[..., 3] / 255


# --- What decoders say ---------------------------------------------------------------------------------------------


class Decoded(NamedTuple):
    """`frames` are the time since the first, and a digest, of each shown frame as it is stored."""

    frames: list[tuple[Fraction, str]]
    said: str


def decoded(path: Path, decoder: str = "debian", *, strictly: bool = False) -> Decoded:
    """All streams through FFmpeg's command. `strictly`: the first fault of a bit ends it."""
    strict = ("-xerror", "-err_detect", "explode") if strictly else ()
    command = [
        DECODERS[decoder],
        "-v",
        "warning",
        "-nostdin",
        *strict,
        "-threads",
        "1",
        "-noautorotate",
        "-i",
        str(path),
    ]
    command += ["-map", "0:v:0", "-map", "0:a:0?", "-fps_mode", "passthrough", "-f", "framemd5", "-"]
    answer = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.defpath})
    rows = [line.split(",") for line in answer.stdout.splitlines()]
    base = next((Fraction(row[0].split()[-1]) for row in rows if row[0].startswith("#tb 0:")), Fraction(1))
    shown = [(int(row[2]) * base, row[5].strip()) for row in rows if row[0] == "0"]
    said = answer.stderr.strip() or ("" if answer.returncode == 0 else f"it ended with {answer.returncode}")
    return Decoded([(time - shown[0][0], digest) for time, digest in shown], said)


# --- What is heard -------------------------------------------------------------------------------------------------


def clicks(path: Path) -> list[float]:
    """When the clicks are heard, in seconds since the first frame is shown."""
    with av.open(str(path)) as container:
        first = next(container.decode(video=0))
        assert first.pts is not None and first.time_base is not None
        shown_at = first.pts * first.time_base
    moments, levels = [], []
    with av.open(str(path)) as container:
        for sound in container.decode(audio=0):
            assert sound.pts is not None and sound.time_base is not None and sound.format.is_planar
            start = float(sound.pts * sound.time_base - shown_at)  # there may be a gap before it
            moments.append(start + np.arange(sound.samples) / sound.sample_rate)
            levels.append(np.abs(sound.to_ndarray()).max(axis=0))
    heard = np.concatenate(levels)
    loud = np.concatenate(moments)[heard > max(0.02, 0.4 * heard.max())]
    begins: list[float] = loud[np.diff(loud, prepend=-1) > CLICK_REST_SECONDS].tolist()
    return begins


def flashes(shown: Sequence[Frame]) -> list[float]:
    return [float(frame.time) for frame in shown if frame.flashes]
