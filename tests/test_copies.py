"""Every structure a source may have, and nothing to change in its picture: then nothing of it changes."""

from fractions import Fraction
from pathlib import Path

import conformance
import looking
import matrix
import pytest
import rendered
from boxes import Movie
from rendered import Batch

AAC_FRAME = 1024 / 48_000  # seconds
NOT_OURS = ("sample entries", "parameter sets inside")  # what a copy has because its source has it
NAMES = list(matrix.SOURCES)
COPIED = [name for name in NAMES if name != "vp9.webm"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [rendered.source(tmp_path_factory, name) for name in NAMES]


@pytest.fixture(scope="module")
def batch(sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """Each with its own sound, and with a chosen one."""
    song, _ = rendered.songs(tmp_path_factory)
    cells: list[rendered.Cell] = [(source, audio, None) for source in sources for audio in (None, song)]
    settings = rendered.in_window("start")
    return rendered.once(tmp_path_factory, "copies", lambda folder: rendered.render(folder, cells, settings))


def test_all_but_what_players_do_not_have_is_copied(batch: Batch) -> None:
    assert batch.failed == {}
    ways = {name: (batch.checked[2 * n].way, batch.checked[2 * n + 1].way) for n, name in enumerate(NAMES)}
    assert ways.pop("vp9.webm") == ("normalise", "normalise")
    assert set(ways.values()) == {("copy", "copy")}


@pytest.mark.parametrize("name", COPIED)
def test_a_copy_has_the_pictures_and_the_times_of_its_source(batch: Batch, sources: list[Path], name: str) -> None:
    number = NAMES.index(name)
    before = looking.decoded(sources[number]).frames
    coarse = Fraction(0 if name.endswith((".mp4", ".mov")) else 1, 1000)
    after = looking.decoded(batch.files[2 * number], "imageio", strictly=True)
    assert after.said == ""
    assert [digest for _, digest in after.frames] == [digest for _, digest in before]
    late = [abs(one - other) for (one, _), (other, _) in zip(before, after.frames, strict=True)]
    assert max(late) <= coarse


@pytest.mark.parametrize("name", COPIED)
def test_a_chosen_audio_changes_nothing_in_the_picture(batch: Batch, name: str) -> None:
    one, other = (Movie(batch.files[2 * NAMES.index(name) + second]).video for second in (0, 1))
    assert one.samples == other.samples
    assert (one.times, one.edits, one.sync) == (other.times, other.edits, other.sync)


@pytest.mark.parametrize("name", COPIED)
def test_a_copy_is_one_mp4_as_the_standards_have_it(batch: Batch, name: str) -> None:
    found = conformance.faults(batch.files[2 * NAMES.index(name)], trimmed=name.startswith("trimmed"))
    assert [fault for fault in found if not any(words in fault for words in NOT_OURS)] == []


@pytest.mark.parametrize("name", ["hevc.mp4", "turned_90.mp4", "narrow.mp4"])
def test_a_copy_keeps_its_turn_and_its_shape(batch: Batch, sources: list[Path], name: str) -> None:
    before, after = Movie(sources[NAMES.index(name)]).video, Movie(batch.files[2 * NAMES.index(name)]).video
    assert (after.matrix, after.shown_size) == (before.matrix, before.shown_size)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("silent.mp4", "concatenated.mp4")])
def test_the_sound_of_a_copy_stays_with_its_picture(batch: Batch, sources: list[Path], name: str) -> None:
    number = NAMES.index(name)
    heard, wished = (
        [click for click in looking.clicks(path) if click >= 0] for path in (batch.files[2 * number], sources[number])
    )
    assert heard == pytest.approx(wished, abs=AAC_FRAME)


@pytest.mark.parametrize("name", NAMES)
def test_a_chosen_audio_begins_with_the_copy(batch: Batch, name: str) -> None:
    heard = looking.clicks(batch.files[2 * NAMES.index(name) + 1])
    assert heard[:4] == pytest.approx(rendered.CLICKS[:4], abs=AAC_FRAME)
