"""What the documents show and point to is there, and the record of all pages is whole."""

import re
from itertools import product
from pathlib import Path

import pytest

from tests.showing import ALL, FIRST, RUNNING, SIZES, THEMES

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
RECORD = ROOT / "docs" / "screenshots"
RECORD_BYTES_MAX = 14_000_000


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_points_only_to_what_is_there(path: Path) -> None:
    text = path.read_text()
    named = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    lost = [name for name in named if "://" not in name and not (path.parent / name).exists()]
    assert lost == []


def test_every_page_has_its_pictures_in_both_themes_at_three_widths() -> None:
    names = {shown.name for shown in (*RUNNING, FIRST, *ALL)}
    wanted = {f"{name}-{width}-{theme}.webp" for name, width, theme in product(names, SIZES, THEMES)}
    there = {path.name for path in RECORD.glob("*.webp")}
    assert there == wanted, "run make screenshots"
    assert not [path for path in RECORD.iterdir() if path.suffix not in (".webp", ".md")]


def test_the_record_is_light_enough_to_be_fetched_with_the_code() -> None:
    assert sum(path.stat().st_size for path in RECORD.iterdir()) < RECORD_BYTES_MAX
