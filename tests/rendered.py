"""Renders the matrix of sources, in few processes, and once for all workers of pytest-xdist."""

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import boxes
import looking
import matrix
import pytest

from novai_web.engines import ffmpeg
from novai_web.engines.ffmpeg import Checked, Limits, RenderSettings, Variant

LIMITS = Limits()
WINDOWS: dict[str, tuple[float, float | None]] = {  # start and duration
    "start": (0, 1.5),
    "middle": (1.7, 1.5),
    "end": (3.3, 3),  # past the end of all
    "whole": (0, None),
}
CLICKS = (0.3, 1.1, 1.85, 2.9, 3.3)
SHORT_SECONDS = 1.3
SHORT_CLICK = 0.35
HALF_A_TICK = 0.0005  # seconds; of the coarsest clock there is, Matroska's

T = TypeVar("T")
Cell = tuple[Path, Path | None, str | None]  # video, audio, hook


class Batch(NamedTuple):
    """What became of a batch: by the variant's number."""

    files: dict[int, Path]
    checked: dict[int, Checked]
    failed: dict[int, str]
    ways: dict[int, tuple[str, str]]  # the plan's way of the picture, and why


def render(folder: Path, cells: Sequence[Cell], settings: RenderSettings, limits: Limits = LIMITS) -> Batch:
    made = Batch({}, {}, {}, {})
    batch = [Variant(n, *cell, name=str(n)) for n, cell in enumerate(cells)]

    def on_done(n: int, path: Path, checked: Checked) -> None:
        assert n not in made.files and n not in made.failed, "each variant ends once"
        made.files[n], made.checked[n] = path, checked

    def on_failed(n: int, sentence: str) -> None:
        assert n not in made.files and n not in made.failed, "each variant ends once"
        made.failed[n] = sentence

    plan = ffmpeg.plan(batch, settings, limits)
    for clip in plan.clips:
        for picture in clip.pictures:
            made.ways.update({variant.n: (picture.way, picture.why) for variant, _ in picture.variants})
    ffmpeg.render(plan, folder / "out", limits, lambda _: None, on_done, on_failed)
    assert set(made.files) | set(made.failed) == set(range(len(cells))), "each variant ends"
    return made


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """`make(folder)` is called by the first process of this test run that asks; the others wait for what it made."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, kept = root / f"matrix-{name}", root / f"matrix-{name}.pickle"
    with (root / f"matrix-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one who failed
            folder.mkdir()
            kept.write_bytes(pickle.dumps(make(folder)))
        found: T = pickle.loads(kept.read_bytes())
        return found


def source(factory: pytest.TempPathFactory, name: str) -> Path:
    """One source of the matrix, in a folder of its own."""
    return once(factory, name, lambda folder: matrix.SOURCES[name].make(folder / name))


def songs(factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One longer than every video, one shorter, which is repeated."""
    return once(factory, "songs", _songs)


def _songs(folder: Path) -> tuple[Path, Path]:
    long = matrix.click_track(folder / "long.wav", CLICKS, 12, matrix.Sound(codec="pcm_s16le"))
    short = matrix.Sound(44_100, "mono", "pcm_s16le")
    return long, matrix.click_track(folder / "short.wav", [SHORT_CLICK], SHORT_SECONDS, short)


@dataclass(frozen=True)
class Case:
    """One source with a hook in one window and its own sound, and again with a second hook and a chosen sound.

    Everything is looked at when it is asked for, and once.
    """

    name: str
    window: str
    sources: tuple[Path, ...]
    batch: Batch
    naive: Batch
    first: int  # the variant's number; the next has the second hook
    factory: pytest.TempPathFactory

    @property
    def expected(self) -> matrix.Source:
        return matrix.SOURCES[self.name]

    @property
    def way(self) -> str:
        """How it must be made: a source that could be exact is not where nothing of it would be left as it was."""
        is_exact = self.expected.way == "exact" and len(self.may_change) < len(self.before)
        return "exact" if is_exact else "normalise"

    @property
    def source(self) -> Path:
        return self.sources[self.first // 2]

    @property
    def file(self) -> Path:
        assert self.first in self.batch.files, self.batch.failed.get(self.first)
        return self.batch.files[self.first]

    @property
    def second(self) -> Path:
        assert self.first + 1 in self.batch.files, self.batch.failed.get(self.first + 1)
        return self.batch.files[self.first + 1]

    @property
    def song_is_short(self) -> bool:
        return bool(self.first // 2 % 2)

    @cached_property
    def before(self) -> list[looking.Frame]:
        return looking.frames(self.source)

    @cached_property
    def after(self) -> list[looking.Frame]:
        return looking.frames(self.file)

    @cached_property
    def after_second(self) -> list[looking.Frame]:
        return looking.frames(self.second)

    @cached_property
    def naively(self) -> list[looking.Frame]:
        return looking.frames(self.naive.files[self.first // 2])

    @cached_property
    def decoded(self) -> looking.Decoded:
        return looking.decoded(self.file, "debian", strictly=True)

    @cached_property
    def second_decoded(self) -> looking.Decoded:
        """By the other decoder: all are exact to the bit."""
        return looking.decoded(self.second, "imageio", strictly=True)

    @cached_property
    def decoded_before(self) -> looking.Decoded:
        return once(self.factory, f"decoded-{self.name}", lambda _: looking.decoded(self.source))

    @cached_property
    def movie(self) -> boxes.Movie:
        return boxes.Movie(self.file)

    @cached_property
    def hooked(self) -> range:
        """The frames that must have the hook: those whose middle moment is in the window."""
        start, duration = WINDOWS[self.window]
        end = float("inf") if duration is None else start + duration
        inside = [n for n, frame in enumerate(self.before) if start <= float(frame.time) + HALF_A_TICK < end]
        return range(inside[0], inside[-1] + 1)

    @cached_property
    def may_change(self) -> range:
        """The frames from the clean keyframe at or before the window to the next one at or after it."""
        track = self._stored_source.video
        keys = [track.times[index] for index in boxes.clean_keyframes(track)]
        shown = sorted(time for time in track.times if self._is_shown(time))[: len(self.before)]
        keys = [shown.index(key) for key in keys if key in shown]
        first = max((key for key in keys if key <= self.hooked.start), default=0)
        return range(first, min((key for key in keys if key >= self.hooked.stop), default=len(self.before)))

    def _is_shown(self, time: int) -> bool:
        return any(edit.media_time >= 0 and time >= edit.media_time for edit in self._stored_source.video.edits)

    @cached_property
    def _stored_source(self) -> boxes.Movie:
        """The source as an MP4 with one index, whatever it is: its packets copied by Debian's FFmpeg."""
        if self.source.suffix in (".mp4", ".mov") and self.name != "fragmented.mp4":
            return boxes.Movie(self.source)
        copy = self.batch.files[self.first].with_name(f"copy-of-{self.name}-{self.window}.mp4")
        matrix.debian("-i", self.source, "-map", "0:v:0", "-c", "copy", copy)
        return boxes.Movie(copy)


def case(factory: pytest.TempPathFactory, name: str, window: str) -> Case:
    """The case, rendered together with others of its kind."""
    main = name in matrix.MAIN
    names = [other for other in matrix.SOURCES if (other in matrix.MAIN) == main]
    sources = tuple(source(factory, other) for other in names)
    both = songs(factory)
    cells: list[Cell] = []
    for n, path in enumerate(sources):
        cells += [(path, None, looking.HOOK_TEXT), (path, both[n % 2], looking.SECOND_TEXT)]
    kind = f"{window}-{'main' if main else 'more'}"

    def made(method: str, cells: Sequence[Cell]) -> Callable[[Path], Batch]:
        return lambda folder: render(folder, cells, in_window(window, method=method))

    batch = once(factory, f"exact-{kind}", made("exact", cells))
    naive = once(factory, f"naive-{kind}", made("naive", cells[::2]))
    return Case(name, window, sources, batch, naive, 2 * names.index(name), factory)


def in_window(window: str, **changes: Any) -> RenderSettings:
    """With one thread, unless told otherwise: with two, x264 does something else, and qualities do not compare."""
    start, duration = WINDOWS[window]
    fields = {"hook_start_seconds": start, "hook_duration_seconds": duration, "threads": 1, **changes}
    return RenderSettings(**{**looking.HOOK.model_dump(), **fields})
