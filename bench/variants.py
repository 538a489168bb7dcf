"""Variants a second: this engine against one FFmpeg process for each variant, with the same settings, side by side.

    python -m bench.variants                            about two minutes on two cores
    python -m bench.variants --videos 4 --hooks 5 --audios 3 --seconds 15 --size 1080x1920
    python -m bench.variants --folder ~/clips           your own videos and audios instead of made ones

Both make every combination, with libx264 at the same preset and CRF, AAC at the same bitrate, and hooks drawn by the
same code; FFmpeg gets them as PNGs to overlay. The two take turns, so that both see the same weather on the machine.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from novai_web.engines import ffmpeg
from novai_web.engines.ffmpeg import Limits, RenderSettings, Variant

HOOKS = (
    "Wait for the end, you won't believe what happens next",
    "POV: you found the hack that saves 3 hours a day",
    "Nobody talks about this...",
    "3 mistakes everyone makes in the first 30 days",
    "Stop scrolling: this changes everything",
)
VIDEOS = {".mp4", ".mov", ".mkv", ".webm"}
AUDIOS = {".mp3", ".wav", ".m4a", ".aac", ".flac", ".ogg"}


@dataclass
class Run:
    """One way of making all variants once."""

    wall_seconds: float
    cpu_seconds: float
    bytes: int


def main() -> None:
    given = arguments()
    program = ffmpeg_program()
    settings = RenderSettings(
        crf=given.crf, preset=given.preset, hook_duration_seconds=given.hook_seconds, audio_loudness_lufs=None
    )
    with TemporaryDirectory(prefix="novai-bench-") as name:
        folder = Path(name)
        videos, audios = sources(given, program, folder)
        hooks = [*HOOKS[: given.hooks]] if given.hooks else [None]
        cells = list(product(videos, audios or [None], hooks))
        batch = [Variant(n, video, audio, hook, str(n)) for n, (video, audio, hook) in enumerate(cells)]
        print(f"{len(videos)} videos × {len(audios)} audios × {given.hooks} hooks = {len(batch)} variants")
        print(f"{os.cpu_count()} cores, {given.preset}, CRF {given.crf}, {program}\n")
        ways: dict[str, Callable[[Path], None]] = {
            "one FFmpeg process each": lambda out: by_ffmpeg(program, batch, settings, out),
            "this engine": lambda out: by_engine(batch, settings, out),
        }
        runs: dict[str, list[Run]] = {way: [] for way in ways}
        for number in range(given.runs):
            for way, make in ways.items():
                runs[way].append(measured(make, folder / "out", len(batch)))
                print(f"run {number + 1}, {way}: {runs[way][-1].wall_seconds:.1f} s", file=sys.stderr)
        table(runs, len(batch))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=2, help="how many to make")
    parser.add_argument("--audios", type=int, default=3, help="how many to make")
    parser.add_argument("--hooks", type=int, default=2, choices=range(6), help="0: variants without a hook")
    parser.add_argument("--seconds", type=float, default=4, help="length of the made videos")
    parser.add_argument("--hook-seconds", type=float, default=3)
    parser.add_argument("--size", default="720x1280", help="of the made videos")
    parser.add_argument("--folder", type=Path, help="take videos and audios from here")
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--crf", type=int, default=20)
    parser.add_argument("--runs", type=int, default=2)
    return parser.parse_args()


def ffmpeg_program() -> str:
    """The one on PATH, else the one in the imageio-ffmpeg wheel. Only this comparison needs it."""
    if found := shutil.which("ffmpeg"):
        return found
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def sources(given: argparse.Namespace, program: str, folder: Path) -> tuple[list[Path], list[Path]]:
    if given.folder:
        files = sorted(path.absolute() for path in given.folder.iterdir())
        return [path for path in files if path.suffix in VIDEOS], [path for path in files if path.suffix in AUDIOS]
    videos = [folder / f"video-{n}.mp4" for n in range(given.videos)]
    for n, path in enumerate(videos):
        # Moving detail and grain, so that the encoder has to work as it does on filmed material.
        picture = f"testsrc2=size={given.size}:rate=30,hue=h={60 * n},noise=alls=3:allf=t"
        tone = "sine=frequency=440"
        encoder = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-g", "60", "-pix_fmt", "yuv420p"]
        run(
            program,
            "-f",
            "lavfi",
            "-i",
            picture,
            "-f",
            "lavfi",
            "-i",
            tone,
            "-t",
            given.seconds,
            *encoder,
            "-c:a",
            "aac",
            path,
        )
    audios = [folder / f"audio-{n}.mp3" for n in range(given.audios)]
    for n, path in enumerate(audios):
        run(program, "-f", "lavfi", "-i", f"sine=frequency={220 * (n + 1)}", "-t", given.seconds + 5, path)
    return videos, audios


def measured(make: Callable[[Path], None], out: Path, expected: int) -> Run:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    start, used = time.perf_counter(), cpu_of_children()
    make(out)
    run = Run(
        time.perf_counter() - start, cpu_of_children() - used, sum(path.stat().st_size for path in out.glob("*.mp4"))
    )
    if (made := len(list(out.glob("*.mp4")))) != expected:
        raise SystemExit(f"only {made} of {expected} variants were made")
    return run


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_engine(batch: list[Variant], settings: RenderSettings, out: Path) -> None:
    """With planning, probing and the check of every variant: what a person waits for."""

    def failed(n: int, why: str) -> None:
        raise SystemExit(f"variant {n}: {why}")

    plan = ffmpeg.plan(batch, settings)
    ffmpeg.render(plan, out, Limits(), lambda _: None, lambda *_: None, failed)


def by_ffmpeg(program: str, batch: list[Variant], settings: RenderSettings, out: Path) -> None:
    """Decode, overlay, encode both tracks, for each variant anew; FFmpeg uses all cores itself."""
    pictures = drawn(batch, settings, out)
    for variant in batch:
        inputs = ["-i", variant.video]
        picture = ["-map", "0:v"]
        if variant.audio:
            inputs += ["-stream_loop", "-1", "-i", variant.audio]
        sound = ["-map", "1:a" if variant.audio else "0:a?"]
        if variant.hook:
            inputs += ["-i", pictures[variant.video, variant.hook]]
            layer = 2 if variant.audio else 1
            window = f"between(t,{settings.window[0]},{settings.window[1] - 0.001})"
            picture = ["-filter_complex", f"[0:v][{layer}:v]overlay=enable='{window}'[v]", "-map", "[v]"]
        encode = ["-c:v", "libx264", "-preset", settings.preset, "-crf", settings.crf, "-pix_fmt", "yuv420p"]
        encode += ["-c:a", "aac", "-b:a", settings.audio_bit_rate, "-shortest", "-movflags", "+faststart"]
        run(program, *inputs, *picture, *sound, *encode, out / f"{variant.n:06d}.mp4")


def drawn(batch: list[Variant], settings: RenderSettings, out: Path) -> dict[tuple[Path, str], Path]:
    """Each hook as a transparent PNG of the frame's size, drawn in a process of its own by the engine's own code."""
    wanted = sorted({(variant.video, variant.hook) for variant in batch if variant.hook})
    videos = [path for path, _ in wanted]
    found = ffmpeg.probe_all(videos, Limits())
    jobs = [
        [hook, media.width, media.height, str(out / f"hook-{n}.png")]
        for n, ((_, hook), media) in enumerate(zip(wanted, found, strict=True))
        if isinstance(media, ffmpeg.Media)
    ]
    code = (
        "import json, sys; from PIL import Image; from novai_web.engines.ffmpeg import RenderSettings\n"
        "from novai_web.engines.ffmpeg.inside.text import picture_of\n"
        "style, jobs = json.load(sys.stdin)\n"
        "for hook, width, height, path in jobs:\n"
        "    drawn = picture_of(hook, RenderSettings(**style), width, height)\n"
        "    frame = Image.new('RGBA', (width, height))\n"
        "    frame.paste(drawn.image, (drawn.x, drawn.y)); frame.save(path)\n"
    )
    request = json.dumps([settings.model_dump(), jobs])
    subprocess.run([sys.executable, "-c", code], input=request, text=True, check=True)
    return {key: Path(job[3]) for key, job in zip(wanted, jobs, strict=True)}


def run(program: str, *arguments: object) -> None:
    subprocess.run([program, "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def table(runs: dict[str, list[Run]], variants: int) -> None:
    print(f"{'':26}{'variants/s':>12}{'wall s':>10}{'CPU s':>10}{'MB':>8}      (medians)")
    walls, works = [], []
    for way, each in runs.items():
        wall, cpu = median(run.wall_seconds for run in each), median(run.cpu_seconds for run in each)
        size = median(run.bytes for run in each) / 1_000_000
        print(f"{way:26}{variants / wall:12.2f}{wall:10.1f}{cpu:10.1f}{size:8.1f}")
        walls.append(wall)
        works.append(cpu)
    print(f"{'ratio':26}{walls[0] / walls[1]:12.1f}{'×':<10}{works[0] / works[1]:10.1f}×")


if __name__ == "__main__":
    main()
