"""What others use: a MoviePy script, and a single pass of raw frames through a drawing program, as editly makes."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.batches import Batch
from bench.naive import Naive
from bench.programs import CORES, Cost, side_by_side

HERE = Path(__file__).parent
SAMPLE = 2  # they are slow


def measure_copies(batch: Batch, folder: Path) -> dict[str, Cost]:
    """Where there is no hook: what a script does that knows it. It still encodes the sound each time."""
    return {"one FFmpeg each that copies the picture": Naive(batch, {}, folder, copies=True).run()}


def measure(batch: Batch, layers: Mapping[str, Path], folder: Path, venv: Path) -> dict[str, Cost]:
    """For one variant, measured on a few, as many at a time as there are cores."""
    programs: dict[str, Sequence[object]] = {
        "MoviePy": [_python_with_moviepy(venv), HERE / "with_moviepy.py"],
        "single pass of raw frames, as editly does": [sys.executable, "-m", "bench.single_pass"],
    }
    made = enumerate(programs.items())
    return {name: _cost(program, batch, layers, folder / str(n)) for n, (name, program) in made}


def _cost(program: Sequence[object], batch: Batch, layers: Mapping[str, Path], folder: Path) -> Cost:
    folder.mkdir(parents=True, exist_ok=True)
    settings, (start, end) = batch.settings, batch.settings.window
    commands = []
    for variant in batch.sample[:SAMPLE]:
        assert variant.hook is not None
        encoding = [settings.preset, settings.crf, settings.audio_bit_rate, folder / f"{variant.n:06d}.mp4"]
        commands.append([*program, variant.video, variant.audio, layers[variant.hook], start, end, *encoding])
    return side_by_side(commands, CORES).per(len(commands))


def _python_with_moviepy(venv: Path) -> Path:
    """In an environment of its own: nothing of it is needed by anything else."""
    python, wanted = venv / "bin/python", HERE / "requirements.txt"
    done = venv / wanted.name
    if not done.exists() or done.read_text() != wanted.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)]
        subprocess.run(pip, check=True)
        done.write_text(wanted.read_text())
    return python
