"""File names of variants."""

import unicodedata
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from novai_web.errors import InvalidInput
from novai_web.tools.variants.names import NAME_BYTES_MAX, Parts, check, name_all

TODAY = date(2026, 11, 21)
texts = st.text(max_size=300)


def _one(template: str, **given: object) -> str:
    return name_all(template, [Parts(**{"n": 0, "video": "clip", **given})], TODAY)[0]  # type: ignore[arg-type]


def test_every_placeholder_is_filled() -> None:
    parts = [Parts(n, "beach", "song", "Wait!") for n in range(12)]
    assert name_all("{n}-{video}-{audio}-{hook}-{date}", parts, TODAY)[0] == "01-beach-song-Wait!-2026-11-21.mp4"


@pytest.mark.parametrize(
    "template", ["{nope}", "{n!r}", "{n:>9}", "{video.__class__}", "{0}", "{}", "{n", "n}", "", " "]
)
def test_a_template_that_cannot_work_is_refused_on_its_field(template: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(template)
    assert "name_template" in refused.value.fields


def test_a_template_of_a_thousand_characters_is_refused() -> None:
    with pytest.raises(InvalidInput):
        check("x" * 1000)


@pytest.mark.parametrize(
    ("hook", "name"),
    [
        ("../../etc/passwd", "etc passwd.mp4"),
        ("a\nb\tc\x00d\x1b[31m", "a b cd[31m.mp4"),
        ("\u202egnp.exe", "gnp.exe.mp4"),
        ("C:\\temp\\x", "C temp x.mp4"),
        ("..", "1.mp4"),
        ("CON", "_CON.mp4"),
        ("nul.txt", "_nul.txt.mp4"),
        ("-rf", "rf.mp4"),
        ("חכו 👩‍👧 ऐसा", "חכו 👩‍👧 ऐसा.mp4"),
    ],
)
def test_what_means_something_to_a_file_system_or_a_terminal_is_gone(hook: str, name: str) -> None:
    assert _one("{hook}", hook=hook) == name


def test_a_long_hook_gives_way_before_the_number_does() -> None:
    name = _one("{hook} {video} {n}", hook="ж" * 400)
    assert name.endswith(" clip 1.mp4")
    assert len(name.encode()) <= NAME_BYTES_MAX


def test_the_same_name_ten_thousand_times_is_ten_thousand_names() -> None:
    names = name_all("{hook}", [Parts(n, "v", "", "Same" if n % 2 else "SAME") for n in range(10_000)], TODAY)
    assert len({name.casefold() for name in names}) == 10_000


@given(st.lists(st.tuples(texts, texts, texts), max_size=8), st.sampled_from(["{n}", "{hook}", "{video}{audio}{hook}"]))
def test_any_names_make_safe_and_different_names(rows, template) -> None:
    names = name_all(template, [Parts(n, *row) for n, row in enumerate(rows)], TODAY)
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in names}) == len(rows)
    for name in names:
        assert 4 < len(name.encode()) <= NAME_BYTES_MAX
        assert not set(name) & set('/\\:*?"<>|\n\r\t\x00')
        assert not name.startswith((".", "-", " "))
        assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in name)
        assert not any(
            "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069" or char in "\u200e\u200f" for char in name
        )
