"""Clips that lie, wishes that cannot be granted: a clear word or another way, never a wrong file, never the batch."""

import re
import resource
import time
from pathlib import Path
from typing import NamedTuple

import av
import conformance
import lies
import looking
import pytest
import rendered
from boxes import Movie
from pydantic import ValidationError
from rendered import Batch

from novai_web.engines import ffmpeg
from novai_web.engines.ffmpeg import Checked, RenderSettings, Variant

pytestmark = pytest.mark.timeout(600)

NAMES = [*lies.LIES, *lies.FILES]
HOOKED = [*range(36, 48)]
SETTINGS = rendered.in_window("start", hook_start_seconds=lies.START, hook_duration_seconds=lies.DURATION)
OURS = re.compile(r"Traceback|Errno|Error|\bav\b|libav|returned|\[\w+\]|/tmp|/out/")  # words that help nobody
MAY_CHANGE = range(30, 60)  # the groups of pictures under the hook
HOOKS = 2_000


class Told(NamedTuple):
    """A clip that lies, in a batch with all the others; with a hook and without."""

    name: str
    source: Path
    number: int
    hook: str | None
    batch: Batch

    @property
    def file(self) -> Path | None:
        return self.batch.files.get(self.number)

    @property
    def checked(self) -> Checked:
        return self.batch.checked[self.number]


def _sources(folder: Path) -> list[Path]:
    good = lies.CLIP.make(folder / "good.mp4")
    made = [good]
    for number, name in enumerate(NAMES):
        (folder / str(number)).mkdir()
        made.append(lies.lie(name, good, folder / str(number) / "clip.mp4"))
    return made


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A good clip, and then the lies."""
    return rendered.once(tmp_path_factory, "lies", _sources)


@pytest.fixture(scope="module", params=[looking.HOOK_TEXT, None], ids=["hooked", "bare"])
def hook(request: pytest.FixtureRequest) -> str | None:
    given: str | None = request.param
    return given


@pytest.fixture(scope="module")
def batch(hook: str | None, sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """All of them together, the good one first and last."""
    cells = [(source, None, hook) for source in [*sources, sources[0]]]
    return rendered.once(tmp_path_factory, f"lies-{hook}", lambda folder: rendered.render(folder, cells, SETTINGS))


@pytest.fixture(params=NAMES)
def told(request: pytest.FixtureRequest, hook: str | None, batch: Batch, sources: list[Path]) -> Told:
    number = 1 + NAMES.index(request.param)
    return Told(request.param, sources[number], number, hook, batch)


def seen(path: Path) -> list[looking.Frame] | None:
    """What a player that forgives much shows of it; None if it stops somewhere."""
    try:
        return looking.frames(path)
    except av.FFmpegError:
        return None


def test_what_is_said_of_it_is_for_people(told: Told) -> None:
    sentence = told.batch.failed.get(told.number) or told.checked.why
    assert not OURS.search(sentence), sentence
    assert told.file or sentence.endswith(".")


def test_what_is_delivered_can_be_read_to_its_end(told: Told) -> None:
    if told.file is None:
        pytest.skip("it is refused")
    allowed = conformance.faults(told.source, trimmed=True) if told.checked.way == "copy" else []
    assert set(conformance.faults(told.file, trimmed=True)) <= set(allowed)
    frames = seen(told.file)
    assert frames is not None
    assert len(frames) == told.checked.frames


def test_what_is_delivered_shows_what_its_clip_shows(told: Told) -> None:
    """A copy of damage is damaged as it was; an encode of it shows what the decoder made of it."""
    if told.file is None:
        pytest.skip("it is refused")
    before, after = seen(told.source), seen(told.file)
    assert before is not None and after is not None
    assert len(after) == len(before)
    if "damaged" not in told.name:
        assert [frame.number for frame in after] == [frame.number for frame in before]
    elif told.checked.way in ("exact", "copy"):
        one, other = Movie(told.source).video.samples, Movie(told.file).video.samples
        kept = [n for n in range(len(before)) if told.checked.way == "copy" or n not in MAY_CHANGE]
        assert [n for n in kept if one[n] != other[n]] == []


def test_the_hook_is_where_it_was_asked_for(told: Told) -> None:
    if told.file is None or "damaged" in told.name:
        pytest.skip("it is refused, or damage has any colour")
    hooked = [float(frame.time) for frame in seen(told.file) or [] if frame.hooked]
    if told.hook is None:
        assert hooked == []
    else:
        assert hooked[0] + rendered.HALF_A_TICK >= lies.START
        assert hooked[-1] < lies.START + lies.DURATION
        assert len(hooked) >= len(HOOKED) - 1


def test_a_clip_whose_pictures_are_not_in_it_is_refused(batch: Batch) -> None:
    for name in ("samples outside of the file", "samples in the header", "a third of it missing", "a sample too large"):
        assert 1 + NAMES.index(name) in batch.failed, name


def test_the_good_ones_beside_them_are_as_good_as_alone(batch: Batch) -> None:
    for number in (0, 1 + len(NAMES)):
        frames = looking.frames(batch.files[number])
        assert [frame.number for frame in frames] == list(range(lies.CLIP.frames))
        assert batch.checked[number].way in ("exact", "copy")
        hooked = [n for n, frame in enumerate(frames) if frame.hooked]
        assert hooked == (HOOKED if batch.checked[number].way == "exact" else [])


# --- Wishes --------------------------------------------------------------------------------------------------------


def settings(start: float, duration: float | None) -> RenderSettings:
    return rendered.in_window("start", hook_start_seconds=start, hook_duration_seconds=duration)


@pytest.mark.parametrize("start", [3.0, 3.5, 7200])
def test_a_hook_after_the_end_is_refused_with_the_end_in_the_sentence(
    sources: list[Path], tmp_path: Path, start: float
) -> None:
    made = rendered.render(tmp_path, [(sources[0], None, "Late")], settings(start, 1))
    assert "the video ends at 3.0 s" in made.failed[0]


def test_a_hook_in_the_last_moment_is_on_the_last_frame(sources: list[Path], tmp_path: Path) -> None:
    made = rendered.render(tmp_path, [(sources[0], None, looking.HOOK_TEXT)], settings(2.96, 60))
    assert made.failed == {}
    assert [n for n, frame in enumerate(looking.frames(made.files[0])) if frame.hooked] == [89]


def test_a_hook_between_two_frames_is_refused_or_seen(sources: list[Path], tmp_path: Path) -> None:
    made = rendered.render(tmp_path, [(sources[0], None, looking.HOOK_TEXT)], settings(1.01, 0.01))
    assert "longer" in made.failed[0] if made.failed else any(frame.hooked for frame in looking.frames(made.files[0]))


@pytest.mark.parametrize("field", ["hook_start_seconds", "hook_duration_seconds", "hook_size", "audio_fade_seconds"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -1, "1e999", "x"])
def test_what_is_no_number_is_no_setting(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        RenderSettings(**{field: value})  # type: ignore[arg-type]


def test_a_hook_of_no_length_is_no_setting() -> None:
    with pytest.raises(ValidationError):
        settings(1, 0)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_a_hook_without_text_is_none(sources: list[Path], text: str) -> None:
    plan = ffmpeg.plan([Variant(0, sources[0], None, text, "")], settings(1, 1), rendered.LIMITS)
    assert [picture.way for clip in plan.clips for picture in clip.pictures] == ["copy"]


def test_two_thousand_hooks_are_planned_at_once_and_in_little_memory(sources: list[Path]) -> None:
    batch = [Variant(n, sources[0], None, f"Hook {n}", str(n)) for n in range(HOOKS)]
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    plan = ffmpeg.plan(batch, SETTINGS, rendered.LIMITS)
    told = ffmpeg.explain(plan)
    parts = [plan.only([n]) for n in range(0, HOOKS, 100)]
    again = ffmpeg.Plan.from_json(plan.to_json())
    assert time.perf_counter() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
    assert [len(clip.pictures) for clip in plan.clips] == [HOOKS]
    assert [len(part.variants) for part in parts] == [1] * len(parts)
    assert again.variants == plan.variants
    assert told
