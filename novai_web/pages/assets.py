"""The built front end: from a file's plain name to the hashed one that browsers may keep for ever."""

import json
from functools import partial
from pathlib import Path

from flask import Flask, url_for

FOLDER = "dist"


def register(app: Flask) -> None:
    """Templates say `dist("app.css")`; a name that was never built is a KeyError, found by any test of a page."""
    names = manifest(Path(app.static_folder or "static"))
    app.jinja_env.globals["dist"] = partial(_url, names)


def manifest(static: Path) -> dict[str, str]:
    """What `make assets` wrote: {"app.css": "app-1a2b3c.css", ...}."""
    names: dict[str, str] = json.loads((static / FOLDER / "manifest.json").read_text())
    return names


def _url(names: dict[str, str], name: str) -> str:
    return url_for("static", filename=f"{FOLDER}/{names[name]}")
