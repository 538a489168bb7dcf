"""Clips and songs as people upload them, made once and kept: x264 `medium` with B-frames, grain, 5 to 11 Mb/s."""

import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from bench import scenes, songs
from bench.cases import Case
from bench.programs import CORES, ffmpeg, run

VERSION = 1  # of what is made here; another one makes everything anew
RATE = 30
COLOURS = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
H264 = ["-c:v", "libx264", "-preset", "medium", "-crf", "21", "-maxrate", "14M", "-bufsize", "20M"]
HEVC = ["-c:v", "libx265", "-preset", "superfast", "-crf", "23", "-tag:v", "hvc1", "-x265-params", "log-level=none"]
SONGS = ((".mp3", 20, 120, 0.8), (".m4a", 45, 95, 0.35), (".wav", 8, 140, 0.6))  # the last one has to be looped


@dataclass(frozen=True, order=True)
class Clip:
    """One file: a scene, and how it is encoded."""

    scene: int
    size: tuple[int, int]
    seconds: float
    gop: int
    codec: str

    @property
    def name(self) -> str:
        wide, high = self.size
        return f"{self.codec}-scene{self.scene}-{wide}x{high}-{self.seconds:g}s-gop{self.gop}-v{VERSION}.mp4"

    @property
    def frames(self) -> int:
        return round(self.seconds * RATE)


@dataclass(frozen=True)
class Material:
    """The files of a case."""

    videos: Sequence[Path]
    audios: Sequence[Path]


def make(cases: Iterable[Case], folder: Path) -> dict[str, Material]:
    """What these cases need, by their names; made where it is missing, on all cores."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = {case.name: _clips(case) for case in cases}
    missing = {clip for each in clips.values() for clip in each if not (folder / clip.name).exists()}
    # Clips that show the same are made from one run of their scene.
    together = [list(same) for _, same in groupby(sorted(missing), key=lambda clip: (clip.scene, clip.size))]
    with ProcessPoolExecutor(CORES) as pool:
        audios = [_song(number, folder) for number in range(max(case.audios for case in cases))]
        for _ in pool.map(_film, together, [folder] * len(together)):
            pass
    return {
        case.name: Material([folder / clip.name for clip in clips[case.name]], audios[: case.audios]) for case in cases
    }


def _clips(case: Case) -> list[Clip]:
    return [Clip(scene, case.size, case.seconds, case.gop, case.codec) for scene in range(case.videos)]


def _film(clips: Sequence[Clip], folder: Path) -> None:
    """Several encodes of one scene at once. A file has its name only when it is whole."""
    wide, high = clips[0].size
    count = max(clip.frames for clip in clips)
    command: list[Any] = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{wide}x{high}", "-r", RATE, "-i", "-"]
    command += ["-stream_loop", "-1", "-i", _song(1, folder)]
    arriving = [folder / f".{clip.name}" for clip in clips]
    for clip, path in zip(clips, arriving, strict=True):
        encoder = [*(H264 if clip.codec == "h264" else HEVC), "-g", clip.gop, "-frames:v", clip.frames]
        sound = ["-c:a", "aac", "-b:a", "128k", "-t", clip.seconds]
        command += ["-map", "0:v", "-map", "1:a", *encoder, *COLOURS, *sound, "-movflags", "+faststart", path]
    process = subprocess.Popen([ffmpeg(), "-v", "error", "-y", *map(str, command)], stdin=subprocess.PIPE)
    assert process.stdin is not None
    with process.stdin as pipe:
        for frame in scenes.frames(clips[0].scene, clips[0].size, count):
            pipe.write(frame)
    if process.wait():
        raise SystemExit(f"{', '.join(clip.name for clip in clips)} could not be made")
    for clip, path in zip(clips, arriving, strict=True):
        path.rename(folder / clip.name)


def _song(number: int, folder: Path) -> Path:
    ending, seconds, beats, loudness = SONGS[number % len(SONGS)]
    path = folder / f"song{number}-v{VERSION}{ending}"
    if not path.exists():
        arriving, raw = folder / f".{path.name}", folder / f".raw-{number}.wav"
        songs.write(raw, seconds, number + 1, beats, loudness)
        if ending == ".wav":
            raw.rename(arriving)
        else:
            run(ffmpeg(), "-i", raw, "-b:a", "192k", arriving)
            raw.unlink()
        arriving.rename(path)
    return path
