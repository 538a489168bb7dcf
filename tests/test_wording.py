"""Numbers, sizes and times as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from novai_web.pages.wording import ago, clock, duration, number, plural, size, until


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, "0 B"), (0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (3_565_158, "3.4 MB"), (325_000_000, "310 MB"),
     (2 * 1024**3, "2.0 GB"), (5000 * 1024**4, "5000 TB")],
)  # fmt: skip
def test_a_size_has_the_unit_that_keeps_it_short(count: int | None, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, ""), (0.2, "0:00"), (8.4, "0:08"), (59.6, "1:00"), (61, "1:01"), (3725, "1:02:05")]
)
def test_a_length_reads_like_a_player(seconds: float | None, words: str) -> None:
    assert clock(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "0 s"), (0.3, "1 s"), (40, "40 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)  # fmt: skip
def test_how_long_something_takes(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "word", "words"),
    [(1, "video", "1 video"), (0, "video", "0 videos"), (1200, "hook", "1,200 hooks"), (2, "category", "2 categories"),
     (30, "day", "30 days"), (2, "batch", "2 batches"), (None, "job", "0 jobs")],
)  # fmt: skip
def test_one_of_a_thing_and_many(count: int | None, word: str, words: str) -> None:
    assert plural(count, word) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "just now"), (40, "40 s ago"), (200, "3 min ago"), (7300, "2 h ago"), (200_000, "2 days ago")],
)  # fmt: skip
def test_the_past_is_rough_and_exact_on_hover(seconds: int, words: str) -> None:
    at = datetime.now(UTC) - timedelta(seconds=seconds)
    said = ago(at)
    assert f">{words}</time>" in said
    assert f'title="{at:%d %B %Y, %H:%M} UTC"' in said


def test_the_future_counts_down_and_nothing_is_nothing() -> None:
    assert ">in 16 h</time>" in until(datetime.now(UTC) + timedelta(hours=16, minutes=1))
    assert ">now</time>" in until(datetime.now(UTC) - timedelta(hours=1))
    assert ago(None) == until(None) == ""


def test_thousands_are_set_apart() -> None:
    assert (number(12345), number(None)) == ("12,345", "0")
