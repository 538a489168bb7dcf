"""How a batch of variants becomes jobs: what shares work stays together, and no job is without end."""

from hypothesis import given
from hypothesis import strategies as st

from novai_web.library.models import Asset, Hook
from novai_web.tools.variants import splitting
from novai_web.tools.variants.form import Variant
from novai_web.tools.variants.mix import mix

MEGABYTE = 1024**2


def cells(videos: int, audios: int, hooks: int, mode: str = "every", weight: int = 10 * MEGABYTE) -> list[Variant]:
    clips = [Asset(id=1 + n, name=f"clip {n}", size_bytes=weight) for n in range(videos)]
    sounds = [Asset(id=1001 + n, name=f"sound {n}") for n in range(audios)]
    texts = [Hook(id=1 + n, text=f"hook {n}") for n in range(hooks)]
    return [
        Variant(
            cell.n,
            clips[cell.video],
            None if cell.audio is None else sounds[cell.audio],
            None if cell.hook is None else texts[cell.hook],
        )
        for cell in mix(videos, audios, hooks, mode)  # type: ignore[arg-type]
    ]


def jobs(made: list[Variant], encoded: bool | None = None) -> list[list[Variant]]:
    return list(splitting.jobs_of(made, lambda cell: cell.hook is not None if encoded is None else encoded))


def clips_of(job: list[Variant]) -> set[int]:
    return {cell.video.id for cell in job}


def homes(parts: list[list[Variant]]) -> dict[tuple[int, int], set[int]]:
    """In which jobs each picture is made."""
    found: dict[tuple[int, int], set[int]] = {}
    for number, job in enumerate(parts):
        for cell in job:
            found.setdefault((cell.video.id, cell.hook.id if cell.hook else 0), set()).add(number)
    return found


@given(st.integers(1, 7), st.integers(0, 130), st.integers(0, 8), st.sampled_from(["every", "round-robin"]))
def test_every_variant_is_in_exactly_one_job_and_no_job_is_empty_or_without_end(videos, audios, hooks, mode) -> None:
    made = cells(videos, audios, hooks, mode)
    parts = jobs(made)
    assert sorted(cell.n for job in parts for cell in job) == [cell.n for cell in made]
    for job in parts:
        assert 0 < len(job) <= splitting.JOB_OUTPUTS_MAX + splitting.PICTURE_OUTPUTS_MAX


@given(st.integers(1, 7), st.integers(1, 49), st.integers(1, 30))
def test_variants_that_share_a_picture_stay_together(videos, audios, hooks) -> None:
    assert all(len(home) == 1 for home in homes(jobs(cells(videos, audios, hooks))).values())


def test_four_clips_five_hooks_and_three_sounds_are_four_jobs_of_one_clip_each() -> None:
    parts = jobs(cells(4, 3, 5))
    assert [len(job) for job in parts] == [15] * 4
    assert all(len(clips_of(job)) == 1 for job in parts)


def test_one_clip_with_two_hundred_variants_is_enough_jobs_for_eight_cores_and_all_alike() -> None:
    for audios, hooks in ((1, 200), (4, 50), (10, 20)):
        sizes = [len(job) for job in jobs(cells(1, audios, hooks))]
        assert len(sizes) == 8 and max(sizes) - min(sizes) <= audios


def test_a_clip_that_is_a_little_too_much_for_a_job_is_halved() -> None:
    assert [len(job) for job in jobs(cells(1, 1, splitting.JOB_OUTPUTS_MAX + 1))] == [13, 13]


def test_one_picture_with_hundreds_of_sounds_is_several_jobs() -> None:
    assert [len(job) for job in jobs(cells(1, 300, 1))] == [50] * 6


def test_clips_without_anything_to_encode_share_a_job_and_so_their_sounds() -> None:
    assert [len(job) for job in jobs(cells(4, 3, 0))] == [12]
    many = jobs(cells(100, 3, 0))
    assert [len(job) for job in many] == [48] * 6 + [12]
    assert sum(len(clips_of(job)) for job in many) == 100, "a clip is in one job"


def test_clips_that_are_reframed_are_not_copies() -> None:
    assert [len(clips_of(job)) for job in jobs(cells(2, 8, 0), encoded=True)] == [1, 1]


def test_clips_with_one_variant_each_begin_together() -> None:
    assert [len(clips_of(job)) for job in jobs(cells(100, 1, 5, "round-robin"))] == [splitting.JOB_OUTPUTS_MIN] * 25


def test_a_worker_does_not_fetch_very_much_before_it_begins() -> None:
    heavy = cells(10, 1, 0, weight=splitting.JOB_SOURCE_BYTES_MAX // 3)
    assert [len(clips_of(job)) for job in jobs(heavy)] == [3, 3, 3, 1]
    assert len(jobs(cells(3, 1, 0, weight=2 * splitting.JOB_SOURCE_BYTES_MAX))) == 3
