"""This engine alone: plan and render in one call, checks included, without jobs, database and storage."""

import resource
import shutil
import time
from pathlib import Path

from bench.batches import Batch
from bench.programs import Cost
from novai_web.engines import ffmpeg
from novai_web.engines.ffmpeg import Limits


class Engine:
    def __init__(self, batch: Batch, folder: Path) -> None:
        self.batch, self.folder = batch, folder

    def run(self) -> Cost:
        """For one variant. The files stay until the next run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        limits, start, used = Limits(), time.perf_counter(), _cpu_seconds()
        plan = ffmpeg.plan(self.batch.variants, self.batch.settings, limits)
        ffmpeg.render(plan, self.folder, limits, lambda _: None, lambda *_: None, _failed)
        return Cost(time.perf_counter() - start, _cpu_seconds() - used).per(self.batch.case.variants)

    def path(self, n: int) -> Path:
        return self.folder / f"{n:06d}.mp4"

    def bytes_each(self) -> float:
        sizes = [path.stat().st_size for path in self.folder.glob("*.mp4")]
        return sum(sizes) / len(sizes)


def _failed(n: int, why: str) -> None:
    raise SystemExit(f"variant {n} was not made: {why}")


def _cpu_seconds() -> float:
    each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in each)
