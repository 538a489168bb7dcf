"""A render whose process dies: what was being made is tried again apart, everything else goes on."""

import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from novai_web.engines import ffmpeg
from novai_web.engines.ffmpeg import Checked, Limits, RenderSettings, Variant
from novai_web.engines.ffmpeg.child import Crashed
from tests import media

CHILD = "novai_web.engines.ffmpeg.inside"
SETTINGS = RenderSettings(hook_duration_seconds=1, preset="ultrafast", method="normalise")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    options = {"preset": "ultrafast", "g": "30"}
    return {
        "long": media.video(folder / "long.mp4", frames=900, options=options),
        "short": media.video(folder / "short.mp4", frames=60, options=options),
        "song": media.audio(folder / "song.wav"),
        # So long that a sound for it is not held in memory: its file stays open while it is made.
        "slow": media.video(folder / "slow.mp4", frames=200, rate=1, options=options),
        "endless": media.audio(folder / "endless.wav", seconds=300),
    }


class Render:
    """A render of these cells, in which every process is shot that does what `guilty` says."""

    def __init__(self, folder: Path, cells: list[tuple[Path, Path | None, str | None]], settings: RenderSettings):
        batch = [Variant(n, *cell, name=str(n)) for n, cell in enumerate(cells)]
        self.folder, self.plan = folder, ffmpeg.plan(batch, settings)
        self.done: dict[int, Checked] = {}
        self.failed: dict[int, str] = {}
        self.shots = 0
        self.shares: list[float] = []

    def run(self, guilty: Callable[[psutil.Process], bool]) -> "Render":
        def shoot(share: float) -> None:
            self.shares.append(share)
            for process in psutil.Process().children():
                with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    if CHILD in process.cmdline() and guilty(process):
                        self.shots += 1
                        process.send_signal(signal.SIGKILL)

        def keep(n: int, path: Path, checked: Checked) -> None:
            assert n not in self.done and n not in self.failed and path.exists()
            self.done[n] = checked

        ffmpeg.render(self.plan, self.folder, Limits(), shoot, keep, self.failed.__setitem__)
        return self


def reads(path: Path) -> Callable[[psutil.Process], bool]:
    return lambda process: any(file.path == str(path) for file in process.open_files())


def test_what_was_being_made_is_made_again_plainly_and_says_so(clips, tmp_path):
    cells = [(clips["long"], None, "a"), (clips["long"], clips["song"], "a"), (clips["short"], None, "b")]
    render = Render(tmp_path, cells, SETTINGS)
    is_read = reads(clips["long"])
    render.run(lambda process: render.shots == 0 and is_read(process))
    assert render.shots == 1 and render.failed == {} and set(render.done) == {0, 1, 2}
    for n in (0, 1):
        assert (render.done[n].way, render.done[n].why) == ("naive", "its first render stopped our media process")


@pytest.mark.slow
def test_a_sound_that_kills_its_process_takes_no_other_sound_of_the_same_picture_with_it(clips, tmp_path):
    cells = [(clips["slow"], clips["song"], None), (clips["slow"], clips["endless"], None)]
    render = Render(tmp_path, cells, SETTINGS).run(reads(clips["endless"]))
    assert set(render.failed) == {1} and "twice" in render.failed[1]
    assert render.done[0].way == "copy", "it was not the picture's fault"


def test_progress_never_goes_back_over_all_tries(clips, tmp_path):
    render = Render(tmp_path, [(clips["long"], None, "a"), (clips["short"], None, "a")], SETTINGS)
    render.run(reads(clips["long"]))
    assert set(render.failed) == {0} and set(render.done) == {1}
    assert render.shares == sorted(render.shares) and render.shares[-1] == 1.0


def test_nothing_is_left_behind_but_what_was_delivered(clips, tmp_path):
    render = Render(tmp_path, [(clips["long"], None, "a"), (clips["short"], None, None)], SETTINGS)
    render.run(reads(clips["long"]))
    assert [path.name for path in tmp_path.iterdir()] == ["000001.mp4"]


def test_a_process_that_cannot_even_begin_blames_no_variant(clips, tmp_path):
    plan = ffmpeg.plan([Variant(0, clips["short"], None, "a", "")], SETTINGS)
    blamed: dict[int, str] = {}
    with pytest.raises(Crashed):
        ffmpeg.render(
            plan, tmp_path, Limits(memory_bytes_max=64 * 1024**2), lambda _: None, lambda *_: None, blamed.__setitem__
        )
    assert blamed == {}
