"""Makes the sources of the correctness matrix: every structure a clip may have, with frames that say who they are.

Each picture is a texture that moves, with a cut, so that x264 has work; its foot carries a code: the frame's number,
and a lamp that flashes together with a click in the sound. No hook reaches there.
"""

import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, cycle, islice, pairwise
from pathlib import Path

import av
import boxes
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from numpy.typing import NDArray

FRAMES, RATE = 150, 30
CUT_AT = 100  # the scene changes here, where x264 sets a keyframe if it may
FLASHES = (12, 57, 102, 141)  # frames
CELLS = 10  # of the code: the lamp, eight bits, one that stays white
CODE_SHARE = 0.06  # of the height
BRIGHT, DARK = 220, 30
TICKS = 90_000

Options = dict[str, str]


@dataclass(frozen=True)
class Sound:
    rate: int = 48_000
    layout: str = "stereo"
    codec: str = "aac"


@dataclass(frozen=True)
class Clip:
    """How one video is made. `stamps` are frame times in 1/90000 s; `movie` is for the muxer."""

    size: tuple[int, int] = (180, 320)
    options: Options = field(default_factory=dict)
    x264: str = ""
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    stamps: Sequence[int] | None = None
    rotation: int = 0
    aspect: Fraction | None = None
    colours: Options = field(default_factory=dict)
    movie: Options = field(default_factory=dict)
    sound: Sound | None = Sound()
    first: int = 0  # the number of the first frame
    frames: int = FRAMES

    def make(self, path: Path) -> Path:
        with av.open(str(path), "w", options=self.movie) as out:
            stream = out.add_stream(self.codec, rate=RATE, options=self._options())
            context = stream.codec_context
            context.width, context.height = self._stored_size
            context.pix_fmt, context.time_base, context.thread_count = self.pixel_format, Fraction(1, TICKS), 1
            if self.aspect:
                context.sample_aspect_ratio = self.aspect
            for name, value in self.colours.items():
                setattr(context, name, int(value))
            if self.rotation:
                stream.set_display_rotation(self.rotation)
            audio = (
                out.add_stream(self.sound.codec, rate=self.sound.rate, layout=self.sound.layout) if self.sound else None
            )
            stamps = self.stamps or [number * TICKS // RATE for number in range(self.frames)]
            for number, stamp in enumerate(stamps[: self.frames], self.first):
                frame = self.frame(number)
                frame.pts, frame.time_base = stamp, Fraction(1, TICKS)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
            if audio is not None and self.sound is not None:
                clicks = [
                    stamps[number - self.first] / TICKS for number in FLASHES if 0 <= number - self.first < self.frames
                ]
                write_sound(out, audio, clicking(clicks, stamps[self.frames - 1] / TICKS + 1 / RATE, self.sound.rate))
        return path

    @property
    def _stored_size(self) -> tuple[int, int]:
        return self.size if self.rotation % 180 == 0 else self.size[::-1]

    def _options(self) -> Options:
        if self.codec == "libx265":
            return {"preset": "ultrafast", "crf": "12", "x265-params": "log-level=none"}
        if self.codec == "libvpx-vp9":
            return {"deadline": "realtime", "cpu-used": "8", "b": "1M"}
        return {"preset": "veryfast", "crf": "12", "x264-params": self.x264} | self.options

    def frame(self, number: int) -> av.VideoFrame:
        planes = np.rot90(picture(number, self.size), -self.rotation // 90, axes=(1, 2))
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(planes), format="yuv444p")
        if self.pixel_format == "yuv444p":
            return frame
        source_range = 2 if self.pixel_format.startswith("yuvj") else 1  # no scaling of values: they are ours
        return frame.reformat(format=self.pixel_format, src_color_range=source_range, dst_color_range=source_range)


@lru_cache(maxsize=FRAMES)
def picture(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The frame with this number as shown, in 4:4:4."""
    width, height = size
    ground = _ground(width + 160, height + 160)
    step = number % CUT_AT
    x, y = (40 + step, 30 + step // 2) if number < CUT_AT else (150 - step, 140 - step)
    planes = ground[:, y : y + height, x : x + width].copy()
    if number >= CUT_AT:
        planes[0] = 235 - planes[0] // 2
    grain = np.random.default_rng(number).normal(0, 1.2, (height, width))
    planes[0] = np.clip(planes[0] + grain, 20, 230)
    _write_code(planes, number)
    return planes.astype(np.uint8)


def code_cells(width: int, height: int) -> list[tuple[slice, slice]]:
    """Where each cell of the code is, without its edges, as rows and columns."""
    top = round(height * (1 - CODE_SHARE))
    edges = [round(width * cell / CELLS) for cell in range(CELLS + 1)]
    rim = max(2, width // CELLS // 5)
    return [(slice(top + rim, height - rim), slice(left + rim, right - rim)) for left, right in pairwise(edges)]


def _write_code(planes: NDArray[np.float64], number: int) -> None:
    height, width = planes.shape[1:]
    lit = [number in FLASHES, *(number >> bit & 1 for bit in range(8)), True]
    top = round(height * (1 - CODE_SHARE))
    planes[1:, top:] = 128
    for cell, on in enumerate(lit):
        planes[0, top:, round(width * cell / CELLS) : round(width * (cell + 1) / CELLS)] = BRIGHT if on else DARK


@lru_cache(maxsize=8)
def _ground(width: int, height: int) -> NDArray[np.float64]:
    """Noise at several scales with sharp shapes in it: soft, fine and hard parts, as in a photograph."""
    chance = np.random.default_rng(7)
    planes = np.full((3, height, width), 128.0)
    for scale, strength in ((64, 45), (16, 25), (4, 14)):
        coarse = chance.uniform(-1, 1, (3, height // scale + 2, width // scale + 2))
        fine = np.kron(coarse, np.ones((1, scale, scale)))[:, :height, :width]
        weights = np.array([1, 0.25, 0.25])[:, None, None]
        planes += strength * weights * _softened(fine, scale)
    rows, columns = np.mgrid[:height, :width]
    planes[0] += 30 * (((rows // 23 + columns // 31) % 5) == 0)
    return planes


def _softened(plane: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    for axis in (1, 2):
        plane = sum(np.roll(plane, shift, axis) for shift in range(0, scale, max(1, scale // 4))) / len(
            range(0, scale, max(1, scale // 4))
        )
    return plane


def clicking(clicks: Sequence[float], seconds: float, rate: int) -> NDArray[np.int16]:
    """A quiet hum, and a click of a millisecond at each of these moments."""
    moments = np.arange(round(seconds * rate))
    wave = np.sin(2 * np.pi * 220 * moments / rate) * 300
    for click in clicks:
        at = round(click * rate)
        wave[at : at + rate // 1000] = 20_000
    return wave.astype(np.int16)


def write_sound(out: OutputContainer, stream: AudioStream, samples: NDArray[np.int16]) -> None:
    rate, channels = stream.codec_context.sample_rate, stream.codec_context.layout.nb_channels
    for start in range(0, len(samples), 960):
        part = np.repeat(samples[start : start + 960], channels)[None, :]
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout=stream.codec_context.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def click_track(path: Path, clicks: Sequence[float], seconds: float, sound: Sound) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream(sound.codec, rate=sound.rate, layout=sound.layout)
        write_sound(out, stream, clicking(clicks, seconds, sound.rate))
    return path


# --- What cannot be had from one encode ----------------------------------------------------------------------------


def debian(*arguments: object) -> None:
    """Debian's FFmpeg, for what PyAV cannot do."""
    subprocess.run(["ffmpeg", "-y", "-v", "error", *map(str, arguments)], check=True, capture_output=True)


def concatenated(path: Path) -> Path:
    """Two encodes that differ, joined without encoding: the second's parameter sets come inside the stream."""
    parts = [
        Clip(options={"g": "30"}, frames=60, sound=None).make(path.with_name("first.mp4")),
        Clip(
            options={"g": "30", "preset": "medium", "refs": "5"}, x264="cabac=0", first=60, frames=90, sound=None
        ).make(path.with_name("second.mp4")),
    ]
    listed = path.with_name("parts.txt")
    listed.write_text("".join(f"file '{part}'\n" for part in parts))
    debian("-f", "concat", "-safe", 0, "-i", listed, "-c", "copy", path)
    return path


def waiting(path: Path) -> Path:
    """Its picture begins half a second after its sound: an empty edit leads."""
    whole = GOP_60.make(path.with_name("whole.mp4"))
    debian("-itsoffset", 0.5, "-i", whole, "-i", whole, "-map", "0:v", "-map", "1:a", "-c", "copy", path)
    return path


def trimmed(path: Path, start: float, end: float) -> Path:
    """As a phone trims: everything is in the file, the edit lists say what is shown, picture and sound alike."""
    GOP_60.make(path)
    movie = boxes.Movie(path)
    data = bytearray(movie.data)
    duration = round((end - start) * movie.timescale)
    for track in movie.tracks:
        (edit,) = boxes.find(movie.data, "edts.elst", track.trak)
        (header,) = boxes.find(movie.data, "tkhd", track.trak)
        assert not data[edit.body] and not data[header.body], "all its durations have 32 bits"
        media_time = track.edits[0].media_time + round(start * track.timescale)
        struct.pack_into(">II", data, edit.body + 8, duration, media_time)
        struct.pack_into(">I", data, header.body + 20, duration)
    struct.pack_into(">I", data, boxes.find(movie.data, "moov.mvhd")[0].body + 16, duration)
    path.write_bytes(data)
    return path


def uneven(frames: int = FRAMES) -> list[int]:
    """Steps of 20, 33 and 60 ms in turn, as a phone in changing light records."""
    return list(accumulate(islice(cycle((1_800, 3_000, 5_400)), frames - 1), initial=0))


# --- The matrix ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """`way` is how its picture is made under a hook; `why` is a word the reason must have where it is not exact."""

    make: Callable[[Path], Path]
    way: str = "exact"
    why: str = ""


GOP_60 = Clip(options={"g": "60"})
FULL_RANGE = {"color_range": "2", "colorspace": "5", "color_primaries": "5", "color_trc": "6"}
CONSTANT = {"b": "900k", "maxrate": "900k", "minrate": "900k", "bufsize": "900k", "crf": "-1"}

# With a hook in every window whenever the tests run; the others in the middle only, and everywhere in the slow tests.
MAIN = {
    "gop_60.mp4": Source(GOP_60.make),
    "open_gop.mp4": Source(Clip(options={"g": "60", "bf": "3"}, x264="open-gop=1").make),
    "baseline.mp4": Source(Clip(options={"g": "30", "profile": "baseline"}).make),
    "variable_rate.mp4": Source(Clip(options={"g": "60"}, stamps=uneven()).make),
    "trimmed_start.mp4": Source(lambda path: trimmed(path, 0.7, 5)),
    "phone.mp4": Source(
        Clip(options={"g": "30", "bf": "0", "refs": "1"}, movie={"video_track_timescale": "600"}, rotation=-90).make
    ),
}

SOURCES = MAIN | {
    "gop_30.mp4": Source(Clip(options={"g": "30"}).make),
    "gop_250.mp4": Source(Clip(options={"g": "250"}).make),
    "one_gop.mp4": Source(Clip(x264="keyint=infinite:scenecut=0").make),
    "hevc.mp4": Source(Clip(codec="libx265").make, "normalise", "HEVC"),
    "main_profile.mp4": Source(
        Clip(options={"g": "60", "profile": "main", "bf": "2"}, x264="b-pyramid=none").make,
    ),
    "b_pyramid.mp4": Source(
        Clip(options={"g": "60", "preset": "medium", "bf": "5", "refs": "4"}, x264="b-pyramid=normal:b-adapt=0").make
    ),
    "slices.mp4": Source(Clip(options={"g": "60", "slices": "4", "aud": "1"}).make),
    "hrd.mp4": Source(Clip(options={"g": "60", **CONSTANT}, x264="nal-hrd=cbr").make),
    "matrices.mp4": Source(Clip(options={"g": "60"}, x264="cqm=jvt").make),
    "trimmed_both.mp4": Source(lambda path: trimmed(path, 0.7, 4.4)),
    "waiting.mp4": Source(waiting),
    "turned_90.mp4": Source(Clip(options={"g": "60"}, rotation=90).make),
    "turned_180.mp4": Source(Clip(options={"g": "60"}, rotation=180).make),
    "turned_270.mp4": Source(Clip(options={"g": "60"}, rotation=270).make),
    "cropped.mp4": Source(Clip(options={"g": "60"}, size=(182, 322)).make),
    "odd.mp4": Source(Clip(size=(181, 321), pixel_format="yuv444p").make, "normalise", "4:4:4"),
    "full_range.mp4": Source(Clip(options={"g": "60"}, pixel_format="yuvj420p", colours=FULL_RANGE).make),
    "narrow.mp4": Source(Clip(options={"g": "60"}, aspect=Fraction(4, 3)).make),
    "ten_bit.mp4": Source(Clip(pixel_format="yuv420p10le").make, "normalise", "10 bits"),
    "interlaced.mp4": Source(
        Clip(options={"g": "60", "flags": "+ildct+ilme"}, x264="tff=1").make, "normalise", "interlaced"
    ),
    "concatenated.mp4": Source(concatenated, "normalise", "parameters"),
    "fragmented.mp4": Source(Clip(options={"g": "60"}, movie={"movflags": "frag_keyframe+empty_moov"}).make),
    "gop_60.mov": Source(GOP_60.make),
    "gop_60.mkv": Source(GOP_60.make),
    "vp9.webm": Source(Clip(codec="libvpx-vp9", sound=Sound(codec="libopus")).make, "normalise", "VP9"),
    "silent.mp4": Source(Clip(options={"g": "60"}, sound=None).make),
    "mono_44.mp4": Source(Clip(options={"g": "60"}, sound=Sound(44_100, "mono")).make),
}
