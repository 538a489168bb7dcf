"""Having a plan carried out in child processes, so that a variant that kills one takes no other with it."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from novai_web.engines.ffmpeg import child
from novai_web.engines.ffmpeg.child import Crashed
from novai_web.engines.ffmpeg.media import FACES, Checked, Limits
from novai_web.engines.ffmpeg.planning import Plan
from novai_web.errors import DiskFull

log = logging.getLogger(__name__)

OnProgress = Callable[[float], None]
OnDone = Callable[[int, Path, Checked], None]
OnFailed = Callable[[int, str], None]

CRASHED = "Rendering it stopped our media process, twice. Its video or audio is probably damaged; export it again."
AGAIN = "its first render stopped our media process"


def render(
    plan: Plan,
    folder: Path,
    limits: Limits,
    on_progress: OnProgress,
    on_done: OnDone,
    on_failed: OnFailed,
    shelf: Path | None = None,
) -> None:
    """Every variant of the plan ends in exactly one call of `on_done` or `on_failed`.

    Finished files are `folder/<n>.mp4`; the folder is made. `on_progress` gets the share done, which never goes
    back, at least twice a second; whatever any callback raises ends the render and its process, and goes on up.
    In the folder `shelf`, finished sounds stay for other renders.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for n, sentence in plan.refused.items():
        on_failed(n, sentence)
    try:
        _Rendering(plan, folder.absolute(), limits, on_progress, on_done, on_failed, shelf).run()
    finally:
        shutil.rmtree(folder / FACES, ignore_errors=True)


class _Rendering:
    def __init__(
        self,
        plan: Plan,
        folder: Path,
        limits: Limits,
        on_progress: OnProgress,
        on_done: OnDone,
        on_failed: OnFailed,
        shelf: Path | None,
    ) -> None:
        self.plan, self.folder, self.limits = plan, folder, limits
        self.on_progress, self.on_done, self.on_failed = on_progress, on_done, on_failed
        self.shelf = str(shelf.absolute()) if shelf and limits.shelf_bytes_max else None
        self.pending = dict.fromkeys(variant.n for variant in plan.variants)
        self.share = 0.0
        self.has_begun_again = False

    def run(self) -> None:
        """What was being made when the process died is tried again apart from the rest, which goes on together.

        Each picture is then made alone and in the plainest way; where that does not help, each of its variants.
        """
        apart: dict[int, None] = {}
        while together := [n for n in self.pending if n not in apart]:
            apart |= dict.fromkeys(self._try(self.plan.only(together)))
        plain = self.plan.plainly(AGAIN)
        for numbers in _pictures(plain.only(apart)):
            if len(numbers) > 1:
                self._try(plain.only(numbers))
            for n in (n for n in numbers if n in self.pending):
                self._try(plain.only([n]))
                if n in self.pending:
                    self._failed(n, CRASHED)
        self._progress(1.0)

    def _try(self, part: Plan) -> list[int]:
        """Those that were being made when the child crashed, or that it forgot: none, if all went well."""
        numbers = [variant.n for variant in part.variants]
        started: set[int] = set()
        floor, room = self.share, (1 - self.share) * (len(numbers) / max(1, len(self.pending)))
        self._progress(self.share)
        request = {"plan": part.to_json(), "folder": str(self.folder), "shelf": self.shelf}
        try:
            for event in child.talk("render", self.limits, self.limits.render_seconds_max, **request):
                started.update(event.get("started", ()))
                self._hear(event, floor, room)
        except Crashed:
            if not started and self.has_begun_again:
                raise  # it is not about any variant: the process cannot even begin
            if not started:
                self.has_begun_again = True
                return []  # what is pending is begun once more
            left = [n for n in numbers if n in started and n in self.pending]
            log.warning("A render crashed among the variants %s", left)
            # Between two variants there is nobody to blame: then all of them are under suspicion.
            return left or [n for n in numbers if n in self.pending]
        finally:
            for work in self.folder.glob(".work-*"):
                shutil.rmtree(work, ignore_errors=True)
        return [n for n in numbers if n in self.pending]

    def _hear(self, event: child.Event, floor: float, room: float) -> None:
        if "done" in event:
            del self.pending[event["done"]]
            self.on_done(event["done"], Path(event["path"]), Checked.from_json(event["checked"]))
        elif "failed" in event:
            self._failed(event["failed"], event["why"])
        elif "full" in event:
            raise DiskFull
        self._progress(floor + room * event.get("progress", 0.0))

    def _failed(self, n: int, sentence: str) -> None:
        del self.pending[n]
        self.on_failed(n, sentence)

    def _progress(self, share: float) -> None:
        self.share = min(1.0, max(self.share, share))
        self.on_progress(self.share)


def _pictures(plan: Plan) -> Iterator[list[int]]:
    for clip in plan.clips:
        for picture in clip.pictures:
            yield [variant.n for variant, _ in picture.variants]
