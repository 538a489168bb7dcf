"""Makes real media for tests: every kind that people upload, small, and recognisable frame by frame.

Each video is a grey ground whose brightness says the frame's number, so that a test can tell frames apart.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

RATE = 48_000
GROUND_Y, STEP = 40, 4  # luma of frame 0, and how much brighter each of the next 40 frames is


def ground(number: int) -> int:
    """The luma that frame `number` was made with."""
    return GROUND_Y + STEP * (number % 40)


def video(
    path: Path,
    *,
    size: tuple[int, int] = (180, 320),
    frames: int = 60,
    rate: int = 30,
    codec: str = "libx264",
    sound: bool = True,
    stamps: Sequence[int] | None = None,
    rotation: int = 0,
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    colours: dict[str, int] | None = None,
) -> Path:
    """`stamps` are frame times in 1/90000 s (variable frame rate); `rotation` is in degrees, as a phone writes it."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, options=options or _options(codec))
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = *size, pixel_format
        context.time_base = Fraction(1, 90_000)
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        for name, value in (colours or {}).items():
            setattr(context, name, value)
        if rotation:
            stream.set_display_rotation(rotation)
        audio = (
            out.add_stream("libopus" if path.suffix == ".webm" else "aac", rate=RATE, layout="stereo")
            if sound
            else None
        )
        for number in range(frames):
            frame = _frame(number, size, pixel_format)
            frame.pts = stamps[number] if stamps else number * 90_000 // rate
            frame.time_base = Fraction(1, 90_000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if audio is not None:
            seconds = stamps[-1] / 90_000 + 1 / rate if stamps else frames / rate
            for piece in _tone(seconds, 440, 0.2):
                out.mux(audio.encode(piece))
            out.mux(audio.encode(None))
    return path


def b_frames(path: Path, **given: object) -> Path:
    return video(path, options={"preset": "medium", "bf": "3", "b_strategy": "0", "g": "30"}, **given)  # type: ignore[arg-type]


def hevc(path: Path, **given: object) -> Path:
    return video(path, codec="libx265", **given)  # type: ignore[arg-type]


def vp9(path: Path, **given: object) -> Path:
    return video(path, codec="libvpx-vp9", **given)  # type: ignore[arg-type]


def rotated(path: Path, **given: object) -> Path:
    """A phone held upright: stored lying, shown standing."""
    return video(path, size=(320, 180), rotation=-90, **given)  # type: ignore[arg-type]


def variable_rate(path: Path, frames: int = 60, **given: object) -> Path:
    """Steps of 20, 33 and 60 ms in turn, as a phone in changing light records."""
    steps = (1_800, 3_000, 5_400)
    stamps = [sum(steps[index % 3] for index in range(number)) for number in range(frames)]
    return video(path, frames=frames, stamps=stamps, **given)  # type: ignore[arg-type]


def silent(path: Path, **given: object) -> Path:
    return video(path, sound=False, **given)  # type: ignore[arg-type]


def audio(path: Path, *, seconds: float = 4, frequency: int = 220, level: float = 0.1) -> Path:
    """By the name's ending: mp3, wav, m4a, flac, ogg, aac."""
    codec = {".mp3": "libmp3lame", ".wav": "pcm_s16le", ".flac": "flac", ".ogg": "libopus"}.get(path.suffix, "aac")
    layout = {".m4a": "mp4", ".aac": "adts"}.get(path.suffix)
    with av.open(str(path), "w", format=layout) as out:
        stream = out.add_stream(codec, rate=RATE, layout="stereo")
        for piece in _tone(seconds, frequency, level):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return path


def image(path: Path, size: tuple[int, int] = (64, 48), orientation: int | None = None) -> Path:
    """Red on the left, blue on the right. `orientation` is EXIF's."""
    picture = Image.new("RGB", size, "red")
    picture.paste("blue", (size[0] // 2, 0, *size))
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    picture.save(path, exif=exif)
    return path


def _options(codec: str) -> dict[str, str]:
    return {
        "libx264": {"preset": "ultrafast", "g": "30"},
        "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
        "libsvtav1": {"preset": "12"},
    }.get(codec, {})


def _frame(number: int, size: tuple[int, int], pixel_format: str) -> av.VideoFrame:
    """Made as 4:4:4, which may have odd sides, and converted."""
    width, height = size
    planes = np.full((3, height, width), 128, np.uint8)
    planes[0] = ground(number)
    frame = av.VideoFrame.from_ndarray(planes, format="yuv444p")
    return frame if pixel_format == "yuv444p" else frame.reformat(format=pixel_format)


def _tone(seconds: float, frequency: int, level: float) -> list[av.AudioFrame]:
    moments = np.arange(round(seconds * RATE))
    wave = (np.sin(2 * np.pi * frequency * moments / RATE) * level * 32767).astype(np.int16)
    frames = []
    for start in range(0, len(wave), 960):
        part = wave[start : start + 960]
        frame = av.AudioFrame.from_ndarray(np.repeat(part, 2)[None, :], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        frames.append(frame)
    return frames
