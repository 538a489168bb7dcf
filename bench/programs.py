"""Other people's programs, and what it costs to run them."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Cost:
    """Seconds for a whole batch."""

    wall: float
    cpu: float

    def per(self, variants: int) -> "Cost":
        return Cost(self.wall / variants, self.cpu / variants)


@cache
def ffmpeg() -> str:
    """The one on PATH, else the one in the imageio-ffmpeg wheel. Only the comparison and the sources need it."""
    if found := shutil.which("ffmpeg"):
        return found
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def version(program: str) -> str:
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stdout
    return " ".join(said.split()[:3]).removesuffix(",")


def run(program: str, *arguments: object) -> None:
    subprocess.run([program, "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def measured(command: Sequence[object]) -> Cost:
    """Run a program to its end; its children count where it waited for them. Ends the bench if it fails."""
    start = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{Path(str(command[0])).name} failed: {' '.join(map(str, command))}")
    return Cost(time.perf_counter() - start, used.ru_utime + used.ru_stime)


def side_by_side(commands: Sequence[Sequence[object]], slots: int) -> Cost:
    """So many at a time as there are slots. Wall time is the time slots were busy, shared by all slots.

    So a last program that runs alone does not count as if the other slots had been taken: in a long batch they are.
    """
    with ThreadPoolExecutor(slots) as pool:
        each = list(pool.map(measured, commands))
    return Cost(sum(cost.wall for cost in each) / slots, sum(cost.cpu for cost in each))


def busy_seconds() -> float:
    """CPU time that this machine has spent so far on anything, other guests of its host included (man 5 proc)."""
    first = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _waiting, irq, soft_irq, stolen = map(int, first[:8])
    return (user + nice + system + irq + soft_irq + stolen) / os.sysconf("SC_CLK_TCK")
