"""The two ways a page answers a change: back to where it was asked with a toast, or the same form again."""

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, request, url_for
from werkzeug.wrappers import Response

from novai_web.library.undoing import Recording
from novai_web.web.paths import local_path

PAGES_MAX = 20


def back(otherwise: str) -> Response:
    """Back to the page the form named, if that is one of ours."""
    return redirect(local_path(request.form.get("back"), otherwise), 303)


def toast(
    text: str, tone: str = "done", *, undo: str | Recording | None = None, fields: Mapping[str, Any] | None = None
) -> None:
    """A message on the next page: done, failed or info.

    `undo`: what was recorded of a change of the library, or the address of a form that takes it back.
    """
    said: dict[str, Any] = {"text": text, "tone": tone}
    if isinstance(undo, Recording):
        undo = url_for("undo.take_back", undo_id=undo.id) if undo.id else None
    if undo:
        said["undo"] = {"url": undo, "fields": dict(fields or {})}
    flash(said)  # type: ignore[arg-type]


def form_key() -> str | None:
    """The key of one rendering of a form, in a space of its own: sending it twice makes one job."""
    key = request.form.get("form_key", "")[:100]
    return f"form:{key}" if key else None


def credits_shown() -> int | None:
    """The price that stood on the button; None where there was none, as without JavaScript."""
    shown = request.form.get("credits_shown", "")
    return int(shown) if shown.isascii() and shown.isdecimal() and len(shown) <= 12 else None


def number(name: str) -> int | None:
    """A whole number from the query, None when it is absent or is none."""
    value = request.args.get(name, "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) <= 18 else None


def pages() -> int:
    """How many pages of a list are wanted at once: more than one for somebody who comes back to where they were."""
    return min(PAGES_MAX, max(1, number("pages") or 1))


def numbers(text: str) -> list[int]:
    """Ids written with commas; what is not a number is left out."""
    return [int(each) for each in text.split(",") if each.isascii() and each.isdecimal() and len(each) <= 18]
