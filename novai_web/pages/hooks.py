"""The page of hooks: write them one by one or paste them by the thousand, sort them into categories."""

from flask import Blueprint, Response, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web.db import transaction
from novai_web.errors import InvalidInput
from novai_web.library import hooks, spreadsheets, trash, undoing
from novai_web.library.assets import Library
from novai_web.library.hooks import Added
from novai_web.library.models import Hook
from novai_web.pages import answers, selection
from novai_web.pages.errors import asked_by_htmx
from novai_web.pages.wording import plural
from novai_web.web import who

bp = Blueprint("hooks", __name__)


@bp.get("/hooks", endpoint="list")
def listed() -> ResponseReturnValue:
    return _page()


@bp.post("/hooks")
def add() -> ResponseReturnValue:
    """One hook a line."""
    given = {name: request.form.get(name, "") for name in ("texts", "category")}
    try:
        with transaction(), undoing.recorded(_library()) as undo:
            added = hooks.add(_library(), given["texts"].splitlines(), given["category"])
            undo.made(Hook, added.fresh_ids)
    except InvalidInput as wrong:
        return _page(given, wrong.fields), 422
    answers.toast(_said(added), undo=undo)
    return answers.back(url_for("hooks.list"))


@bp.post("/hooks/<int:hook_id>")
def edit(hook_id: int) -> ResponseReturnValue:
    library = _library()
    hook = library.find_hook(hook_id)
    watched = undoing.of(hooks.chosen(library, [hook_id]), Hook.text, Hook.category)
    try:
        with transaction(), undoing.recorded(library, watched) as undo:
            hooks.edit(hook, text=request.form.get("text"), category=request.form.get("category"))
    except InvalidInput as wrong:
        return _edited(hook_id, wrong.fields)
    if undo.id:
        answers.toast("Saved.", undo=undo)
    return _edited(hook_id, {})


@bp.post("/hooks/csv")
def load_csv() -> ResponseReturnValue:
    file = request.files.get("file")
    if not file or not file.filename:
        raise InvalidInput({"file": "Choose a CSV file."}, "Choose a CSV file first.")
    try:
        with transaction(), undoing.recorded(_library()) as undo:
            added = spreadsheets.load(_library(), file.read())
            undo.made(Hook, added.fresh_ids)
    except InvalidInput as wrong:
        return _page({}, _lines(wrong)), 422
    answers.toast(_said(added), undo=undo)
    return answers.back(url_for("hooks.list"))


@bp.get("/hooks.csv")
def csv() -> ResponseReturnValue:
    content = "".join(spreadsheets.written(_library()))
    headers = {"Content-Disposition": "attachment; filename=hooks.csv"}
    return Response(content, content_type="text/csv; charset=utf-8", headers=headers)


@bp.post("/hooks/category")
def categorise() -> ResponseReturnValue:
    library = _library()
    chosen = selection.these_hooks(library, request.form)
    watched = undoing.of(chosen, Hook.category, Hook.trashed_at)
    with transaction(), undoing.recorded(library, watched) as undo:
        count = hooks.categorise(library, chosen, request.form.get("category", ""))
    answers.toast(f"{plural(count, 'hook')} moved.", undo=undo)
    return answers.back(url_for("hooks.list"))


@bp.post("/hooks/trash", endpoint="trash")
def throw_away() -> ResponseReturnValue:
    library = _library()
    chosen = selection.these_hooks(library, request.form)
    with transaction(), undoing.recorded(library, undoing.of(chosen, Hook.trashed_at)) as undo:
        count = trash.throw_away_hooks(library, chosen)
    answers.toast(f"{plural(count, 'hook')} moved to the trash.", undo=undo)
    return answers.back(url_for("hooks.list"))


def _library() -> Library:
    return Library(who.account().id)


def _page(given: dict[str, str] | None = None, errors: dict[str, str] | None = None) -> str:
    library, asked = _library(), request.args
    query = {name: asked.get(name, "") for name in ("q", "category", "sort")}
    sort = query["sort"] if query["sort"] in hooks.SORTS else "newest"
    wanted = hooks.Filter(query["q"], query["category"] or None)
    return render_template(
        "library/hooks.html",
        page=hooks.listed(library, wanted, sort, asked.get("cursor"), answers.pages() * hooks.HOOKS_A_PAGE),
        query=query,
        categories=hooks.categories(library),
        given=given or {},
        errors=errors or {},
    )


def _edited(hook_id: int, errors: dict[str, str]) -> ResponseReturnValue:
    """The row again for HTMX; for a plain form the list, with what went wrong."""
    if asked_by_htmx():
        hook: Hook = _library().find_hook(hook_id)
        return render_template("library/_hook_edited.html", hook=hook, errors=errors), 422 if errors else 200
    if errors:
        answers.toast(" ".join(errors.values()), "failed")
    return answers.back(url_for("hooks.list"))


def _lines(wrong: InvalidInput) -> dict[str, str]:
    """Errors of a CSV file, under the field of the form: which line, and what is wrong with it."""
    said = [
        f"{place.capitalize()}: {text}" if place.startswith("line") else text for place, text in wrong.fields.items()
    ]
    return {"file": " ".join([*said, "Nothing was added."])}


def _said(added: Added) -> str:
    said = f"{plural(added.fresh, 'hook')} added."
    return (
        f"{said} {plural(added.known, 'hook')} {'was' if added.known == 1 else 'were'} there already."
        if added.known
        else said
    )
