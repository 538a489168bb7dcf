"""How a batch of variants becomes jobs: of one clip each, with what shares an encode together, none without end."""

from hypothesis import given
from hypothesis import strategies as st

from novai_web.library.models import Asset, Hook
from novai_web.tools import variants
from novai_web.tools.variants.form import Variant


def cells(videos: int, audios: int, hooks: int) -> list[Variant]:
    clips = [Asset(id=n, name=f"clip {n}") for n in range(videos)]
    sounds = [Asset(id=100 + n, name=f"sound {n}") for n in range(audios)]
    texts = [Hook(id=n, text=f"hook {n}") for n in range(hooks)]
    triples = [(clip, sound, text) for clip in clips for sound in sounds or [None] for text in texts or [None]]
    return [Variant(n, *triple) for n, triple in enumerate(triples)]


@given(st.integers(1, 5), st.integers(0, 120), st.integers(0, 6))
def test_every_variant_is_in_one_job_of_its_own_clip(videos, audios, hooks):
    made = cells(videos, audios, hooks)
    jobs = list(variants._chunks(made))
    assert sorted(cell.n for job in jobs for cell in job) == [cell.n for cell in made]
    for job in jobs:
        assert 0 < len(job) <= variants.SHARED_OUTPUTS_MAX
        assert len({cell.video.id for cell in job}) == 1


def test_variants_that_share_an_encode_stay_together_as_long_as_they_fit():
    jobs = list(variants._chunks(cells(1, 5, 6)))
    homes: dict[int, set[int]] = {}
    for number, job in enumerate(jobs):
        for cell in job:
            homes.setdefault(cell.hook.id, set()).add(number)
    assert all(len(home) == 1 for home in homes.values()) and len(jobs) == 3
