"""Small pictures and clips by which a person recognises a file."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image, ImageDraw

from novai_web.engines.ffmpeg.inside import audio, pictures
from novai_web.engines.ffmpeg.inside.graphs import Framer
from novai_web.engines.ffmpeg.inside.opening import open_media, video_stream
from novai_web.engines.ffmpeg.media import POSTER_SIDE, THUMB_SIDE, Limits, Media
from novai_web.errors import UnusableMedia

CLIP_SIDE = 480
POSTER_SECONDS = 1.0  # the very first frame is often black
POSTER_WAITS_SECONDS = 3  # for a keyframe
CLIP_SECONDS = 3.0
CLIP_RATE_MAX = 30
WAVE_SIZE = (640, 160)
WAVE_COLOUR = (139, 148, 165, 255)  # reads on dark and on light

Make = Callable[[Path, Media, Path, Limits], Path]


def answer(request: dict[str, Any], limits: Limits, say: Callable[..., None]) -> None:
    """`name`, `path`, `media`, `folder` → the path of the preview."""
    make: Make = {"poster": poster, "thumb": thumb, "clip": clip, "waveform": waveform}[request["name"]]
    try:
        made = make(Path(request["path"]), Media.from_json(request["media"]), Path(request["folder"]), limits)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UnusableMedia("No preview could be made of this file.") from error
    say(answer=str(made))


def poster(path: Path, media: Media, folder: Path, limits: Limits) -> Path:
    return save(still(path, media, limits, POSTER_SIDE), folder / "poster.webp")


def thumb(path: Path, media: Media, folder: Path, limits: Limits) -> Path:
    return save(still(path, media, limits, THUMB_SIDE), folder / "thumb.webp")


def clip(path: Path, media: Media, folder: Path, limits: Limits) -> Path:
    """Three silent seconds that begin with a keyframe every half second, so that they can be scrubbed."""
    target = folder / "clip.mp4"
    size = _fitted(media, CLIP_SIDE)
    every = max(1, round((media.frame_rate or 1) / CLIP_RATE_MAX))
    with open_media(path, limits) as source, av.open(str(target), "w", options={"movflags": "+faststart"}) as out:
        stream = video_stream(source)
        assert stream is not None
        assert stream.time_base is not None
        rate = Fraction(media.frame_rate or 30).limit_denominator(1001) / every
        options = {"preset": "veryfast", "crf": "28", "g": str(max(1, round(rate / 2)))}
        encoder = out.add_stream("libx264", rate=rate, options=options)
        encoder.codec_context.width, encoder.codec_context.height = size
        encoder.codec_context.pix_fmt = "yuv420p"
        encoder.codec_context.time_base = stream.time_base
        framer = _framer(size, stream)
        origin: int | None = None
        for number, decoded in enumerate(source.decode(stream)):
            origin = decoded.pts if origin is None else origin
            if decoded.pts is None or origin is None or (decoded.pts - origin) * stream.time_base >= CLIP_SECONDS:
                break
            for frame in framer.push(decoded) if number % every == 0 else ():
                frame.pts = (frame.pts or 0) - origin
                frame.time_base = stream.time_base
                frame.pict_type = 0
                out.mux(encoder.encode(frame))
        out.mux(encoder.encode(None))
    return target


def waveform(path: Path, media: Media, folder: Path, limits: Limits) -> Path:
    """One bar for each column, as high as its loudest sample."""
    width, height = WAVE_SIZE
    samples = max(1, round((media.duration_seconds or 0) * audio.RATE))
    peaks = np.zeros(width)
    at = 0
    for piece in audio.decoded(path, limits, aligned=False):
        columns = np.minimum((np.arange(at, at + piece.shape[1]) * width) // samples, width - 1)
        np.maximum.at(peaks, columns, np.abs(piece).max(axis=0))
        at += piece.shape[1]
    bars = np.maximum(1, peaks / max(float(peaks.max()), 1e-6) * (height / 2 - 2))
    picture = Image.new("RGBA", WAVE_SIZE)
    draw = ImageDraw.Draw(picture)
    for x in range(0, width, 4):
        high = round(float(bars[x : x + 4].max()))
        draw.rounded_rectangle((x, height // 2 - high, x + 2, height // 2 + high), 1, fill=WAVE_COLOUR)
    target = folder / "waveform.png"
    picture.save(target, "PNG", optimize=True)
    return target


def still(path: Path, media: Media, limits: Limits, side: int) -> Image.Image:
    """A frame of a video, or the picture itself, upright, at most `side` on its longer side."""
    if media.kind == "image":
        return pictures.upright(path, limits, side)
    with open_media(path, limits) as source:
        stream = video_stream(source)
        assert stream is not None
        assert stream.time_base is not None
        moment = min(POSTER_SECONDS, (media.duration_seconds or 0) / 3)
        begin = (stream.start_time or 0) + int(moment / stream.time_base)
        chosen = _keyframe_after(source, stream, begin) or _frame_at(source, stream, begin)
        if chosen is None:
            raise UnusableMedia("There is no picture in this video that can be decoded.")
        framer = _framer(_fitted(media, side), stream)
        shown = [*framer.push(chosen), *framer.flush()]
        picture: Image.Image = shown[0].to_image()  # type: ignore[no-untyped-call]
        return picture


def _keyframe_after(source: InputContainer, stream: VideoStream, begin: int) -> av.VideoFrame | None:
    """One that comes soon: the only frame to decode, where any other needs all since the keyframe before it."""
    assert stream.time_base is not None
    source.seek(begin, stream=stream)
    for packet in source.demux(stream):
        if packet.pts is None or packet.pts > begin + POSTER_WAITS_SECONDS / stream.time_base:
            return None
        if packet.is_keyframe and packet.pts >= begin:
            try:
                frames = [*packet.decode(), *stream.codec_context.decode(None)]
            except av.FFmpegError:
                return None
            return next((frame for frame in frames if not frame.is_corrupt), None)
    return None


def _frame_at(source: InputContainer, stream: VideoStream, begin: int) -> av.VideoFrame | None:
    """The last one, if none is so late."""
    source.seek(begin, stream=stream)
    chosen = None
    for frame in source.decode(stream):
        chosen = frame
        if frame.pts is not None and frame.pts >= begin:
            break
    return chosen


def _framer(size: tuple[int, int], stream: VideoStream) -> Framer:
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    assert stream.time_base is not None
    return Framer(size, "source", "crop", aspect, stream.time_base)


def _fitted(media: Media, side: int) -> tuple[int, int]:
    width, height = media.width or 2, media.height or 2
    scale = min(1.0, side / max(width, height))
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


def save(picture: Image.Image, target: Path) -> Path:
    picture.convert("RGB").save(target, "WEBP", quality=80, method=4)
    return target
