"""Which video meets which audio and which hook."""

import time
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from novai_web.tools.variants.mix import Cell, count, mix

few = st.integers(0, 13)
some = st.integers(1, 13)
limits = st.none() | st.integers(0, 60)
seeds = st.none() | st.integers(1, 999_999)


def test_six_videos_three_audios_and_twelve_hooks_make_thirty_six_variants() -> None:
    assert count(6, 3, 12) == len(mix(6, 3, 12)) == 36


def test_every_combination_of_four_three_and_five_is_sixty() -> None:
    cells = mix(4, 3, 5, "every")
    assert len(cells) == len({cell[1:] for cell in cells}) == 60


def test_round_robin_goes_video_by_video_and_takes_audio_c_mod_a_and_hook_c_mod_h() -> None:
    assert mix(2, 3, 4) == [Cell(c, video=c // 6, audio=c % 3, hook=c % 4) for c in range(12)]


def test_a_pair_that_would_come_again_for_the_same_video_moves_on_by_one() -> None:
    assert [cell[1:] for cell in mix(1, 2, 2)] == [(0, 0, 0), (0, 1, 1), (0, 1, 0), (0, 0, 1)]


def test_videos_alone_are_each_taken_once() -> None:
    assert mix(3, 0, 0) == [Cell(0, 0, None, None), Cell(1, 1, None, None), Cell(2, 2, None, None)]


def test_no_videos_make_nothing() -> None:
    assert mix(0, 3, 3) == []
    assert count(0, 3, 3, "every") == 0


@given(some, few, few, st.sampled_from(["round-robin", "every"]), limits, seeds)
def test_no_two_variants_are_the_same_and_the_count_is_known_before(videos, audios, hooks, mode, limit, seed) -> None:
    cells = mix(videos, audios, hooks, mode, limit, seed)
    assert len(cells) == len({cell[1:] for cell in cells}) == count(videos, audios, hooks, mode, limit)
    assert [cell.n for cell in cells] == list(range(len(cells)))
    assert all(cell.video < videos for cell in cells)
    assert all((cell.audio is None) == (audios == 0) and (cell.audio or 0) < max(1, audios) for cell in cells)
    assert all((cell.hook is None) == (hooks == 0) and (cell.hook or 0) < max(1, hooks) for cell in cells)


@given(some, some, some, limits, seeds)
def test_round_robin_uses_everything_equally_often(videos, audios, hooks, limit, seed) -> None:
    cells = mix(videos, audios, hooks, "round-robin", limit, seed)
    assert _spread(Counter(cell.video for cell in cells), videos) <= 1
    assert _spread(Counter(cell.hook for cell in cells), hooks) <= 1
    # An audio that steps aside for a repeat may be used once more for each video in which that happened.
    assert _spread(Counter(cell.audio for cell in cells), audios) <= 1 + videos


@given(some, some, some)
def test_the_whole_of_one_video_is_every_combination(audios, hooks, seed) -> None:
    assert {cell[1:] for cell in mix(1, audios, hooks, seed=seed)} == {c[1:] for c in mix(1, audios, hooks, "every")}


@given(some, few, few, st.sampled_from(["round-robin", "every"]), limits, seeds)
def test_the_same_seed_gives_the_same_batch(videos, audios, hooks, mode, limit, seed) -> None:
    assert mix(videos, audios, hooks, mode, limit, seed) == mix(videos, audios, hooks, mode, limit, seed)


def test_another_seed_gives_another_batch() -> None:
    assert mix(6, 3, 12, seed=1) != mix(6, 3, 12, seed=2)


def test_tens_of_thousands_are_mixed_in_a_moment_and_counted_without_being_built() -> None:
    start = time.perf_counter()
    assert count(100_000, 100_000, 100_000, "every") == 10**15
    assert len(mix(1000, 100, 1000, "every", limit=20_000, seed=7)) == 20_000
    assert len(mix(100, 100, 1000, limit=50_000)) == 50_000
    assert time.perf_counter() - start < 2


def _spread(used: Counter[int | None], of: int) -> int:
    numbers = [used[index] for index in range(of)]
    return max(numbers) - min(numbers)
