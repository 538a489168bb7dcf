"""The page of the trash."""

from flask import Blueprint, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web.db import session, transaction
from novai_web.library import trash, undoing
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Hook
from novai_web.library.paging import PAGE_SIZE
from novai_web.pages import answers, selection
from novai_web.pages.wording import plural
from novai_web.web import who

bp = Blueprint("trash", __name__)


@bp.get("/trash", endpoint="list")
def listed() -> ResponseReturnValue:
    library = Library(who.account().id)
    return render_template(
        "library/trash.html",
        page=trash.listed(library, request.args.get("cursor"), answers.pages() * PAGE_SIZE),
        hooks=trash.listed_hooks(library),
        trash_days=who.settings().trash_days,
    )


@bp.post("/trash/restore")
def restore() -> ResponseReturnValue:
    """These assets and hooks, or all assets that are in it."""
    library, form = Library(who.account().id), request.form
    hook_ids = selection.ids(form, "hook_ids")
    chosen = (
        trash.trashed(library) if form.get("all") else trash.trashed(library).where(Asset.id.in_(selection.ids(form)))
    )
    ids = session.scalars(chosen.with_only_columns(Asset.id)).all()
    assets_back = undoing.of(chosen, Asset.trashed_at)
    hooks_back = undoing.of(trash.trashed_hooks(library).where(Hook.id.in_(hook_ids)), Hook.trashed_at)
    with transaction(), undoing.recorded(library, assets_back, hooks_back) as undo:
        count = trash.restore(library, ids) + trash.restore_hooks(library, hook_ids)
    said = f"{plural(count, 'thing')} restored." if count else "There was nothing left to restore."
    answers.toast(said, undo=undo)
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
