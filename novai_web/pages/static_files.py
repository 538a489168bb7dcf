"""The built front end: files with a hash in their name are kept by browsers for good."""

import re
from pathlib import Path

from flask import Flask, Response, redirect, send_from_directory, url_for
from flask.typing import ResponseReturnValue

from novai_web.pages.assets import FOLDER, manifest

STATIC = Path(__file__).parent.parent.parent / "static"
NAMED_BY_HASH = re.compile(rf"{FOLDER}/.+-[0-9a-f]{{8,}}\.\w+")

YEAR_SECONDS = 365 * 24 * 3600
HOUR_SECONDS = 3600


def register(app: Flask) -> None:
    """Under the names Flask itself would use, so that `url_for("static", filename=…)` works as everywhere."""
    app.static_folder = str(STATIC)
    app.add_url_rule("/static/<path:filename>", "static", _send)

    @app.get("/favicon.ico")
    def favicon() -> ResponseReturnValue:
        return redirect(url_for("static", filename=f"{FOLDER}/{manifest(STATIC)['favicon.svg']}"))


def _send(filename: str) -> Response:
    lives_for_good = NAMED_BY_HASH.fullmatch(filename) is not None
    answer = send_from_directory(STATIC, filename, max_age=YEAR_SECONDS if lives_for_good else HOUR_SECONDS)
    answer.cache_control.public = True
    answer.cache_control.immutable = lives_for_good
    return answer
