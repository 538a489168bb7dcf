"""Having a plan carried out in child processes, so that a variant that kills one takes no other with it."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from novai_web.engines.ffmpeg import child
from novai_web.engines.ffmpeg.child import Crashed
from novai_web.engines.ffmpeg.media import Checked, Limits
from novai_web.engines.ffmpeg.planning import Plan
from novai_web.errors import DiskFull

log = logging.getLogger(__name__)

OnProgress = Callable[[float], None]
OnDone = Callable[[int, Path, Checked], None]
OnFailed = Callable[[int, str], None]

CRASHED = "Rendering it stopped our media process, twice. Its video or audio is probably damaged; export it again."


def render(
    plan: Plan, folder: Path, limits: Limits, on_progress: OnProgress, on_done: OnDone, on_failed: OnFailed
) -> None:
    """Every variant of the plan ends in exactly one call of `on_done` or `on_failed`.

    Finished files are `folder/<n>.mp4`; the folder is made. `on_progress` gets the share done, which never goes
    back, at least twice a second; whatever any callback raises ends the render and its process, and goes on up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for n, sentence in plan.refused.items():
        on_failed(n, sentence)
    _Rendering(plan, folder.absolute(), limits, on_progress, on_done, on_failed).run()


class _Rendering:
    def __init__(
        self, plan: Plan, folder: Path, limits: Limits, on_progress: OnProgress, on_done: OnDone, on_failed: OnFailed
    ) -> None:
        self.plan, self.folder, self.limits = plan, folder, limits
        self.on_progress, self.on_done, self.on_failed = on_progress, on_done, on_failed
        self.pending = [variant.n for variant in plan.variants]
        self.all = len(self.pending)
        self.share = 0.0

    def run(self) -> None:
        """After a crash, those being made at that moment are tried once more, each alone; the rest goes on together."""
        alone: list[int] = []
        while together := [n for n in self.pending if n not in alone]:
            started = self._try(together)
            alone += [n for n in started if n in self.pending]
        for n in alone:
            if self._try([n]):
                self._failed(n, CRASHED)
        self._progress(1.0)

    def _try(self, numbers: list[int]) -> list[int]:
        """Those that were being made when the child crashed: none, if it did not."""
        started: list[int] = []
        part = self.plan.only(numbers)
        floor, room = self.share, (1 - self.share) * (len(numbers) / max(1, len(self.pending)))
        self._progress(self.share)
        try:
            for event in child.talk(
                "render", self.limits, self.limits.render_seconds_max, plan=part.to_json(), folder=str(self.folder)
            ):
                started = event.get("started", started)
                self._hear(event, floor, room)
        except Crashed:
            if not started:
                raise  # it is not about any variant: the process cannot even begin
            log.warning("A render crashed among the variants %s", started)
            return [n for n in started if n in self.pending]
        finally:
            for work in self.folder.glob(".work-*"):
                shutil.rmtree(work, ignore_errors=True)
        return [n for n in numbers if n in self.pending]

    def _hear(self, event: child.Event, floor: float, room: float) -> None:
        if "done" in event:
            self.pending.remove(event["done"])
            self.on_done(event["done"], Path(event["path"]), Checked.from_json(event["checked"]))
        elif "failed" in event:
            self._failed(event["failed"], event["why"])
        elif "full" in event:
            raise DiskFull
        self._progress(floor + room * event.get("progress", 0.0))

    def _failed(self, n: int, sentence: str) -> None:
        self.pending.remove(n)
        self.on_failed(n, sentence)

    def _progress(self, share: float) -> None:
        self.share = min(1.0, max(self.share, share))
        self.on_progress(self.share)
