"""Carrying out a plan: clip by clip, each variant checked and told of as soon as it stands."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from novai_web.engines.ffmpeg.inside.clips import ClipWork, Shop
from novai_web.engines.ffmpeg.inside.failing import is_full
from novai_web.engines.ffmpeg.inside.lanes import Lanes
from novai_web.engines.ffmpeg.inside.progress import Progress
from novai_web.engines.ffmpeg.inside.sounds import Sounds
from novai_web.engines.ffmpeg.media import FACES, Limits
from novai_web.engines.ffmpeg.planning import Plan
from novai_web.engines.ffmpeg.settings import RenderSettings
from novai_web.engines.ffmpeg.shelf import Shelf

LANES_MAX = 32
COPIES_AT_ONCE = 8  # clips of which nothing is held: while some wait for a sound, a lane can begin others

Say = Callable[..., None]


def answer(request: dict[str, Any], limits: Limits, say: Say) -> None:
    """Says started [n], progress 0..1, done n with path and checked, failed n with why, full (the disk)."""
    folder = Path(request["folder"])
    shelf = Shelf(Path(request["shelf"]), limits.shelf_bytes_max) if request.get("shelf") else None
    plan = Plan.from_json(request["plan"])
    (folder / FACES).mkdir(exist_ok=True)
    with _work_folder(folder) as work:
        lanes = Lanes(lane_count(plan.settings))
        progress = Progress(lambda share: say(progress=share))
        sounds = Sounds(lanes, work, plan.settings, limits, shelf, progress.alive)
        _Render(
            plan, Shop(plan, folder, work, limits, say, lanes, sounds, Progress(lambda share: say(progress=share)))
        ).run()


def lane_count(settings: RenderSettings) -> int:
    return min(LANES_MAX, settings.threads or len(os.sched_getaffinity(0)))


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    work = Path(mkdtemp(prefix=".work-", dir=folder))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Render:
    """Clips begin one after another: as many at a time as lanes, and as their decoded frames fit into memory."""

    def __init__(self, plan: Plan, shop: Shop) -> None:
        self.shop = shop
        self._waiting = [ClipWork(number, clip, shop, self._clip_over) for number, clip in enumerate(plan.clips)]
        self._waiting.reverse()
        self._running = 0
        self._held_bytes = 0
        self._lock = threading.Lock()

    def run(self) -> None:
        self._admit()
        try:
            self.shop.lanes.run()
        except OSError as error:
            if is_full(error):
                self.shop.say(full=True)
            raise

    def _admit(self) -> None:
        with self._lock:
            while self._waiting and self._fits(self._waiting[-1]):
                clip = self._waiting.pop()
                self._running += 1
                self._held_bytes += clip.held_bytes
                clip.start()

    def _fits(self, clip: ClipWork) -> bool:
        if not self._running:
            return True
        has_lane = self._running < max(self.shop.lanes.width, COPIES_AT_ONCE if clip.is_copied else 0)
        return has_lane and self._held_bytes + clip.held_bytes <= self.shop.limits.frame_bytes_max

    def _clip_over(self, clip: ClipWork) -> None:
        with self._lock:
            self._running -= 1
            self._held_bytes -= clip.held_bytes
        self._admit()
