"""Undo: one address for everything in the library that can be taken back."""

from flask import Blueprint, url_for
from flask.typing import ResponseReturnValue

from novai_web.db import transaction
from novai_web.library import undoing
from novai_web.library.assets import Library
from novai_web.pages import answers
from novai_web.pages.wording import plural
from novai_web.web import who

bp = Blueprint("undo", __name__)

MINUTES = int(undoing.LIFE.total_seconds() // 60)


@bp.post("/undo/<int:undo_id>")
def take_back(undo_id: int) -> ResponseReturnValue:
    """What was changed since stays as it is; a second press does nothing."""
    with transaction():
        count = undoing.take_back(Library(who.account().id), undo_id)
    if count is None:
        answers.toast(f"Undo works for {MINUTES} minutes, and this was longer ago. Nothing was changed.", "failed")
    elif count:
        answers.toast(f"Undone: {plural(count, 'thing')} {'is' if count == 1 else 'are'} as before.")
    else:
        answers.toast("There was nothing left to undo.", "info")
    return answers.back(url_for("dashboard.show"))
