"""The pages of videos, audios, images and models: lists, one of them, what can be done to many, and plain uploads."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import InstrumentedAttribute

from novai_web import consents, tools
from novai_web.db import session, transaction
from novai_web.errors import InvalidInput, NovaiError, UnusableMedia
from novai_web.jobs import Job, arrivals, finding
from novai_web.library import collections, editing, hooks, lineage, listing, sniffing, trash, undoing
from novai_web.library.assets import Library
from novai_web.library.listing import SORTS
from novai_web.library.models import KINDS, Asset, Collection, Hook, Kind
from novai_web.library.paging import PAGE_SIZE
from novai_web.library.uploads import Announced
from novai_web.library.words import distinct
from novai_web.pages import answers, forms, selection
from novai_web.pages.wording import plural
from novai_web.web import limits, receiving, who, zipping

bp = Blueprint("library", __name__)

TILES_MAX = 200
ZIP_FILES_MAX = 5000
CHIPS_MAX = 500
MAKING_MAX = 12
RECIPE_VALUES_MAX, RECIPE_LETTERS_MAX = 12, 16
FIELDS = ("q", "sort", "collection", "type", "tag", "tool", "days", "view")


@bp.get("/videos")
def videos() -> ResponseReturnValue:
    return _list("video")


@bp.get("/audios")
def audios() -> ResponseReturnValue:
    return _list("audio")


@bp.get("/images")
def images() -> ResponseReturnValue:
    return _list("image")


@bp.get("/models")
def models() -> ResponseReturnValue:
    return _list("model")


@bp.get("/assets/<int:asset_id>")
def asset(asset_id: int) -> ResponseReturnValue:
    library = Library(who.account().id)
    found = library.find(asset_id)
    return render_template(
        "library/asset.html",
        asset=found,
        collections=collections.listed(library, found.kind),
        made_from=[(source.label, made) for source, made in lineage.made_from(library, found)],
        made_into=lineage.made_into(library, found),
        recipe=_recipe(found),
        consent=consents.behind(library, found),
        use_in=tools_that_take(selection.kind_of(found.kind)),
    )


@bp.get("/library/tiles")
@limits.polls
def tiles() -> ResponseReturnValue:
    """The tiles that were asked for, drawn again; 304 when none of them has changed."""
    library = Library(who.account().id)
    found = library.find_many(answers.numbers(request.args.get("ids", ""))[:TILES_MAX])
    version = ",".join(f"{each.id}.{each.status}" for each in found.values())
    if version and request.headers.get("HX-PTag") == version:
        return Response(status=304)
    view = "list" if request.args.get("view") == "list" else "grid"
    answer = make_response(render_template("library/_tiles.html", assets=list(found.values()), view=view))
    answer.headers["HX-PTag"] = version
    return answer


@bp.get("/library/picker")
def picker() -> ResponseReturnValue:
    library, asked = Library(who.account().id), request.args
    query = {name: asked.get(name, "") for name in ("kind", "q", "collection", "category", "type")}
    if query["kind"] == "hook":
        wanted = hooks.Filter(query["q"], query["category"] or None)
        found: Any = hooks.listed(library, wanted, "oldest", asked.get("cursor"))
        shelves: Any = []
        categories: Any = hooks.categories(library)
    else:
        kind = selection.kind_of(query["kind"])
        found = listing.listed(library, _pickable(kind), cursor=asked.get("cursor"))
        shelves, categories = collections.listed(library, kind), []
    return render_template(
        "library/_picker.html",
        kind=query["kind"],
        page=found,
        query=query,
        collections=shelves,
        categories=categories,
    )


@bp.get("/library/chips")
def chips() -> ResponseReturnValue:
    """What is picked, by ids in their order, or everything that the picker's filters find."""
    library, asked = Library(who.account().id), request.args
    kind = asked.get("kind", "")
    items = _hook_chips(library) if kind == "hook" else _asset_chips(library, selection.kind_of(kind))
    return render_template("library/_chips.html", kind=kind, items=items)


@bp.post("/assets/<int:asset_id>/name")
def rename(asset_id: int) -> ResponseReturnValue:
    with transaction(), recorded(asset_id, Asset.name) as undo:
        editing.rename(_mine(asset_id), request.form.get("name", ""))
    answers.toast("Renamed.", undo=undo)
    return answers.back(url_for("library.asset", asset_id=asset_id))


@bp.post("/assets/<int:asset_id>/tags")
def retag(asset_id: int) -> ResponseReturnValue:
    with transaction(), recorded(asset_id, Asset.tags) as undo:
        editing.retag(_mine(asset_id), request.form.get("tags", "").split(","))
    answers.toast("Tags saved.", undo=undo)
    return answers.back(url_for("library.asset", asset_id=asset_id))


@bp.post("/assets/<int:asset_id>/collection")
def file(asset_id: int) -> ResponseReturnValue:
    library = Library(who.account().id)
    with transaction(), recorded(asset_id, Asset.collection_id) as undo:
        editing.file_in(library, _mine(asset_id), selection.optional_id(request.form.get("collection_id", "")))
    answers.toast("Moved.", undo=undo)
    return answers.back(url_for("library.asset", asset_id=asset_id))


@bp.post("/assets/<int:asset_id>/keep")
def keep(asset_id: int) -> ResponseReturnValue:
    with transaction(), recorded(asset_id, Asset.expires_at) as undo:
        editing.keep(_mine(asset_id))
    answers.toast("Moved to your library for good.", undo=undo)
    return answers.back(url_for("library.asset", asset_id=asset_id))


@bp.post("/library/trash", endpoint="trash")
def throw_away() -> ResponseReturnValue:
    library = Library(who.account().id)
    chosen = selection.assets(library, request.form)
    with transaction(), undoing.recorded(library, undoing.of(chosen, Asset.trashed_at)) as undo:
        made = lineage.made_from_these(library, chosen)
        count = trash.throw_away(library, chosen)
    said = f"{plural(count, _word())} moved to the trash."
    if made:
        said += f" {plural(made, 'thing')} made from {'it' if count == 1 else 'them'} stay{'s' if made == 1 else ''}."
    answers.toast(said, undo=undo)
    return answers.back(_home())


@bp.post("/library/collection")
def move() -> ResponseReturnValue:
    library = Library(who.account().id)
    chosen = selection.assets(library, request.form)
    with transaction(), undoing.recorded(library, undoing.of(chosen, Asset.collection_id)) as undo:
        before = {each.id for each in collections.listed(library)}
        collection = _target(library)
        if collection and collection.id not in before:
            undo.made(Collection, [collection.id])
        count = editing.move(library, chosen, collection)
    where = f"moved to “{collection.name}”" if collection else "taken out of their collections"
    answers.toast(f"{plural(count, _word())} {where}.", undo=undo)
    return answers.back(_home())


@bp.post("/library/tags")
def tag() -> ResponseReturnValue:
    library = Library(who.account().id)
    word = next(filter(None, request.form.getlist("add_tag")), "")
    chosen = selection.assets(library, request.form)
    with transaction(), undoing.recorded(library, undoing.of(chosen, Asset.tags)) as undo:
        count = editing.add_tag(library, chosen, word)
    answers.toast(f"{plural(count, _word())} tagged.", undo=undo)
    return answers.back(_home())


@bp.post("/library/zip", endpoint="zip")
def download() -> ResponseReturnValue:
    library = Library(who.account().id)
    query = selection.assets(library, request.form).where(Asset.store_key.is_not(None))
    found = session.scalars(query.order_by(Asset.id).limit(ZIP_FILES_MAX + 1)).all()
    if len(found) > ZIP_FILES_MAX:
        raise InvalidInput({"ids": f"At most {ZIP_FILES_MAX:,} files in one ZIP. Select fewer."})
    if not found:
        raise InvalidInput({"ids": "Nothing that is selected has a file."}, "Nothing that is selected has a file.")
    names = distinct(each.file_name for each in found)
    return zipping.answer("novai.zip", [zipping.Entry(name, each) for name, each in zip(names, found, strict=True)])


@bp.post("/library/upload")
@limits.uploads
@receiving.takes_files
def upload() -> ResponseReturnValue:
    """Files from a plain form; what cannot be used is said, the others are kept."""
    library = Library(who.account().id)
    collection_id = selection.optional_id(request.form.get("collection_id", ""))
    kept = 0
    for filename, finished in receiving.files():
        announced = Announced(size_bytes=finished.size_bytes, filename=filename, collection_id=collection_id)
        try:
            arrivals.take(library, announced, finished, who.store(), who.settings())
            kept += 1
        except (InvalidInput, UnusableMedia) as refused:
            answers.toast(f"{announced.filename[:80]}: {_sentence(refused)}", "failed")
    if kept:
        answers.toast(f"{plural(kept, 'file')} uploaded.")
    return answers.back(_home())


def _list(kind: Kind) -> str:
    library, asked = Library(who.account().id), request.args
    wanted = selection.filter_of(kind, asked)
    query = {name: asked.get(name, "") for name in FIELDS}
    types, makers = listing.origins_in_use(library, kind)
    sort = query["sort"] if query["sort"] in SORTS else "newest"
    return render_template(
        "library/list.html",
        kind=kind,
        page=listing.listed(library, wanted, sort, asked.get("cursor"), answers.pages() * PAGE_SIZE),
        query=query,
        collections=collections.listed(library, kind),
        tags=listing.tags_in_use(library, kind),
        types=types,
        makers=[tools.find(slug) for slug in makers],
        accept=sniffing.ENDINGS[kind],
        upload_bytes_max=who.settings().upload_bytes_max,
        use_in=tools_that_take(kind),
        samples_url=None if kind == "model" else url_for("samples.add"),
        making=_making(kind),
    )


def _making(kind: Kind) -> list[Job]:
    """Jobs that are at a single thing of this kind, and those that have just failed at one: it has no tile yet."""
    makers = [tool.slug for tool in tools.TOOLS if kind in tool.makes and not tool.split and kind == "model"]
    found = [job for slug in makers for job in finding.recent(who.account().id, tool=slug, limit=MAKING_MAX)]
    recently = datetime.now(UTC) - timedelta(days=1)
    return [job for job in found if not job.is_over or (job.can_retry and job.ended_at and job.ended_at > recently)]


def recorded(asset_id: int, column: InstrumentedAttribute[Any]) -> AbstractContextManager[undoing.Recording]:
    """A change of one column of one asset, so that it can be taken back."""
    library = Library(who.account().id)
    return undoing.recorded(library, undoing.of(editing.chosen(library, [asset_id]), column))


def _mine(asset_id: int) -> Asset:
    return Library(who.account().id).find(asset_id)


def _word() -> str:
    """What the things of this form are called."""
    kind = request.form.get("kind", "")
    return kind if kind in KINDS else "file"


def _home() -> str:
    kind = request.form.get("kind", "")
    return url_for(f"library.{kind}s" if kind in KINDS else "library.videos")


def _target(library: Library) -> Collection | None:
    """Where a selection goes: the collection that was chosen, a new one, or none."""
    form = request.form
    if "collection_id" in form:
        number = selection.optional_id(form["collection_id"])
        return editing.collection_for(library, number) if number else None
    return collections.named(library, selection.kind_of(form.get("kind", "")), form.get("collection_name", ""))


def tools_that_take(kind: Kind) -> list[tools.Tool]:
    """The tools that take this kind."""
    return [tool for tool in tools.TOOLS if any(kind in field.options for field in forms.of(tool.input))]


def _recipe(asset: Asset) -> list[tuple[str, str]]:
    """What made it, line by line, as far as it is words and numbers."""
    return list(_lines("", asset.recipe))


def _lines(above: str, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        label = f"{above} {name.replace('_', ' ')}".strip().capitalize()
        if isinstance(value, dict):
            yield from _lines(label, value)
        elif value not in (None, "", []):
            yield label, _listed(value) if isinstance(value, list) else str(value)


def _listed(values: list[Any]) -> str:
    more = len(values) - RECIPE_VALUES_MAX
    shown = ", ".join(_shortened(str(value)) for value in values[:RECIPE_VALUES_MAX])
    return f"{shown} and {more:,} more" if more > 0 else shown


def _shortened(said: str) -> str:
    return said if len(said) <= RECIPE_LETTERS_MAX else f"{said[:RECIPE_LETTERS_MAX]}…"


def _pickable(kind: Kind) -> listing.Filter:
    """What the picker shows. Variants are rarely what variants are made of: they are shown when they are asked for."""
    asked = selection.filter_of(kind, request.args)
    return replace(asked, without_type="" if asked.type else "variant")


def _hook_chips(library: Library) -> list[Hook]:
    if request.args.get("all") or request.args.get("category"):
        wanted = hooks.Filter(request.args.get("q", ""), request.args.get("category") or None)
        return list(session.scalars(wanted.of(library).order_by(Hook.id).limit(CHIPS_MAX)))
    ids = answers.numbers(request.args.get("ids", ""))[:CHIPS_MAX]
    found = library.find_hooks(ids)
    return [found[each] for each in ids if each in found]


def _asset_chips(library: Library, kind: Kind) -> list[Asset]:
    if request.args.get("all") or answers.number("collection"):
        ready = _pickable(kind).of(library).where(Asset.status == "ready")
        return list(session.scalars(ready.order_by(Asset.id).limit(CHIPS_MAX)))
    ids = answers.numbers(request.args.get("ids", ""))[:CHIPS_MAX]
    found = library.find_many(ids)
    return [found[each] for each in ids if each in found and found[each].kind == kind]


def _sentence(refused: NovaiError) -> str:
    return " ".join(refused.fields.values()) if isinstance(refused, InvalidInput) else str(refused)
