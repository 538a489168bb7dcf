"""The page of collections."""

from flask import Blueprint, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Select, select

from novai_web.db import transaction
from novai_web.errors import InvalidInput
from novai_web.library import collections, undoing
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Collection
from novai_web.pages import answers
from novai_web.web import who

bp = Blueprint("collections", __name__)


@bp.get("/collections", endpoint="list")
def listed() -> ResponseReturnValue:
    return _page()


@bp.post("/collections")
def add() -> ResponseReturnValue:
    given = {name: request.form.get(name, "") for name in ("name", "kind")}
    try:
        with transaction(), undoing.recorded(_library()) as undo:
            made = collections.add(_library(), given["kind"], given["name"])
            undo.made(Collection, [made.id])
    except InvalidInput as wrong:
        return _page(given, wrong.fields), 422
    answers.toast(f"“{made.name}” is ready to be filled.", undo=undo)
    return answers.back(url_for("collections.list"))


@bp.post("/collections/<int:collection_id>/name")
def rename(collection_id: int) -> ResponseReturnValue:
    library = _library()
    found = collections.find(library, collection_id)
    with transaction(), undoing.recorded(library, undoing.of(_rows(found), Collection.name)) as undo:
        collections.rename(found, request.form.get("name", ""))
    answers.toast("Renamed.", undo=undo)
    return answers.back(url_for("collections.list"))


@bp.post("/collections/<int:collection_id>/delete")
def delete(collection_id: int) -> ResponseReturnValue:
    library = _library()
    found = collections.find(library, collection_id)
    name, held = found.name, select(Asset).where(Asset.collection_id == found.id)
    watched = undoing.of(held, Asset.collection_id), undoing.whole(_rows(found))
    with transaction(), undoing.recorded(library, *watched) as undo:
        collections.delete(found)
    answers.toast(f"“{name}” is deleted. What was in it stays in your library.", undo=undo)
    return answers.back(url_for("collections.list"))


def _rows(collection: Collection) -> Select[tuple[Collection]]:
    return select(Collection).where(Collection.id == collection.id)


def _library() -> Library:
    return Library(who.account().id)


def _page(given: dict[str, str] | None = None, errors: dict[str, str] | None = None) -> str:
    groups = [
        (kind, [(shelf.collection, shelf.count, shelf.covers) for shelf in shelves])
        for kind, shelves in collections.shelves(_library()).items()
    ]
    return render_template("library/collections.html", groups=groups, given=given or {}, errors=errors or {})
