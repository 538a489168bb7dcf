"""The page of the trash, and Undo."""

from datetime import datetime

from flask import Blueprint, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web.db import transaction
from novai_web.library import trash
from novai_web.library.assets import Library
from novai_web.pages import answers, selection
from novai_web.pages.wording import plural
from novai_web.web import who

bp = Blueprint("trash", __name__)


@bp.get("/trash", endpoint="list")
def listed() -> ResponseReturnValue:
    library = Library(who.account().id)
    return render_template(
        "library/trash.html",
        page=trash.listed(library, request.args.get("cursor")),
        hooks=trash.listed_hooks(library),
        trash_days=who.settings().trash_days,
    )


@bp.post("/trash/restore")
def restore() -> ResponseReturnValue:
    """These assets and hooks, or all that were thrown away `at` one moment."""
    library, form = Library(who.account().id), request.form
    at = _moment(form.get("at", ""))
    with transaction():
        count = trash.restore(library, ids=selection.ids(form), at=at)
        count += trash.restore_hooks(library, ids=selection.ids(form, "hook_ids"), at=at)
    answers.toast(f"{plural(count, 'thing')} restored." if count else "There was nothing left to restore.")
    return answers.back(url_for("trash.list"))


@bp.post("/trash/empty")
def empty() -> ResponseReturnValue:
    library, form = Library(who.account().id), request.form
    ids = selection.ids(form) if "ids" in form else None
    hook_ids = selection.ids(form, "hook_ids") if "hook_ids" in form else None
    with transaction():
        count = trash.empty(library, ids=ids, hook_ids=hook_ids)
    answers.toast(f"{plural(count, 'thing')} deleted for good.")
    return answers.back(url_for("trash.list"))


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
