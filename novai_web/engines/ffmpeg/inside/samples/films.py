"""One sample clip: frames of a scene and its sound, in an MP4 as a phone would make it."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from novai_web.engines.ffmpeg.inside.samples import tunes
from novai_web.engines.ffmpeg.inside.samples.scenes import Frame, Scene

RATE = 30
GOP_SECONDS = 1.5  # short, so that a hook touches few frames beside its own
FRAMES_A_WORD = 15
X264 = {"preset": "veryfast", "crf": "20", "profile": "high", "bf": "3"}
BT709, LIMITED = 1, 1


def film(scene: Scene, target: Path, width: int, longest_seconds: float, heard: Callable[[float], None]) -> Path:
    """Upright, 9:16, `width` across. `heard` is told from time to time how far it is, 0 to 1."""
    size = width // 2 * 2, width * 16 // 9 // 2 * 2
    seconds = min(scene.seconds, longest_seconds)
    count = round(seconds * RATE)
    with av.open(str(target), "w", options={"movflags": "+faststart"}) as out:
        picture = out.add_stream("libx264", rate=RATE, options=X264)
        context = picture.codec_context
        context.width, context.height = size
        context.pix_fmt, context.gop_size = "yuv420p", round(GOP_SECONDS * RATE)
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        sound = tunes.track(out)
        for packet in tunes.packets(sound, scene.sound(seconds)):
            out.mux(packet)
        for number, pixels in enumerate(scene.frames(size, count)):
            out.mux(picture.encode(_frame(pixels, size, number)))
            if number % FRAMES_A_WORD == 0:
                heard(number / count)
        out.mux(picture.encode(None))
    return target


def _frame(pixels: Frame, size: tuple[int, int], number: int) -> av.VideoFrame:
    """Scenes may be drawn small: what is soft is as soft when it is enlarged."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(
        *size, format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", interpolation="BICUBIC"
    )
    frame.pts = number
    return frame
