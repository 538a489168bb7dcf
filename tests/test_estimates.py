"""About how long a batch takes and how large it becomes: nothing exact, but in the right order."""

import pytest

from novai_web.config import Settings
from novai_web.library.models import Asset, Hook
from novai_web.tools.tool import Estimate
from novai_web.tools.variants import estimating
from novai_web.tools.variants.form import VariantsInput, cells

SETTINGS = Settings.read(cpu_workers=2)


def estimate(videos: int = 4, audios: int = 3, hooks: int = 5, codec: str = "h264", **given: object) -> Estimate:
    chosen = VariantsInput.model_construct(
        videos=[clip(1 + n, codec) for n in range(videos)],
        audios=[Asset(id=101 + n, name="song") for n in range(audios)],
        hooks=[Hook(id=1 + n, text=f"hook {n}") for n in range(hooks)],
        mix="every",
        **given,
    )
    return estimating.estimate(chosen, cells(chosen, SETTINGS), SETTINGS)


def clip(number: int, codec: str) -> Asset:
    found = {"frame_rate": 30.0, "codec": codec}
    size = {"width": 1080, "height": 1920, "size_bytes": 20_000_000}
    return Asset(id=number, name="clip", duration_seconds=15.0, media=found, **size)


def test_what_copies_more_takes_less():
    copied, exact = estimate(hooks=0), estimate()
    others = [estimate(method=method) for method in ("normalise", "naive")]
    whole = estimate(hook_duration_seconds=None)
    assert copied.seconds < exact.seconds < others[0].seconds < whole.seconds < others[1].seconds


def test_sixty_variants_are_about_as_long_as_they_were_seen_to_take():
    """Two cores, 15 s at 1080×1920, hooks of 3 s, preset veryfast."""
    assert estimate().seconds == pytest.approx(20, rel=0.4)
    assert estimate(hook_duration_seconds=None).seconds == pytest.approx(80, rel=0.4)
    assert estimate(codec="hevc").seconds == pytest.approx(48, rel=0.4)


def test_a_variant_that_keeps_its_source_is_about_as_large():
    assert estimate().bytes == estimate(hooks=0, audios=15).bytes == 60 * 20_000_000
    assert estimate(method="normalise").bytes < estimate().bytes


def test_a_sound_counts_once_for_all_clips_of_one_length():
    assert estimate(videos=4, hooks=0).seconds < 4 * estimate(videos=1, hooks=0).seconds
