"""The front end as it is committed: complete, and nothing in it from anywhere else."""

import gzip
import json
import re
from pathlib import Path

import pytest

from novai_web.pages import places
from novai_web.pages.assets import manifest
from novai_web.tools import INTERNAL, TOOLS

ROOT = Path(__file__).parents[1]
DIST = ROOT / "static" / "dist"
BUILT = sorted(manifest(ROOT / "static").items())
TEMPLATES = "\n".join(path.read_text() for path in sorted(ROOT.glob("templates/**/*.html")))


def icons() -> set[str]:
    return set(json.loads((ROOT / "assets/icons.json").read_text()))


@pytest.mark.parametrize(("name", "file"), BUILT, ids=[name for name, _ in BUILT])
def test_what_the_manifest_names_was_built(name: str, file: str) -> None:
    assert (DIST / file).stat().st_size > 0
    assert re.fullmatch(rf"{Path(name).stem}-[0-9a-f]{{10}}{Path(name).suffix}", file)


def test_nothing_of_an_earlier_build_is_left() -> None:
    assert {path.name for path in DIST.iterdir()} == {file for _, file in BUILT} | {"manifest.json", "LICENSES.txt"}


def test_every_icon_that_is_used_is_in_the_sprite_and_no_other() -> None:
    quoted = set(re.findall(r'"([a-z0-9-]+)"', TEMPLATES))
    named = set(re.findall(r'icon\("([a-z0-9-]+)"', TEMPLATES)) | {tool.icon for tool in (*TOOLS, *INTERNAL)}
    named |= {place.icon for place in places.PLACES}
    assert named <= icons()
    assert icons() <= quoted | named, "remove these from assets/icons.json"
    sprite = (DIST / manifest(ROOT / "static")["icons.svg"]).read_text()
    assert set(re.findall(r'<symbol id="([^"]+)"', sprite)) == icons() | {"novai"}


def test_the_pages_ask_nobody_else_for_anything() -> None:
    css = (DIST / manifest(ROOT / "static")["app.css"]).read_text()
    assert not re.findall(r"url\((?!\"?data:)", css)
    assert "@import" not in css
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', TEMPLATES)


def test_the_licences_of_what_is_bundled_travel_with_it() -> None:
    licences = (DIST / "LICENSES.txt").read_text()
    for package in ("htmx.org", "basecoat-css", "tailwindcss", "tus-js-client", "lucide-static"):
        assert f"==== {package} ====" in licences


def test_the_first_page_is_light() -> None:
    first = ("app.css", "app.js", "theme.js", "icons.svg", "favicon.svg")
    names = manifest(ROOT / "static")
    weight = sum(len(gzip.compress((DIST / names[name]).read_bytes())) for name in first)
    assert weight < 60_000, "of the 150 KB that the dashboard may weigh"
