"""Search: a page for everybody, and the list of results that the dialog shows as one types."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web import search
from novai_web.accounts import Account
from novai_web.consents import Consent
from novai_web.jobs import Batch, Job
from novai_web.library.models import Asset, Collection, Hook
from novai_web.pages import places
from novai_web.pages.wording import clock, plural, size
from novai_web.web import limits, who

bp = Blueprint("search", __name__)

IN_DIALOG, ON_PAGE = 4, 8
PLACES_MAX = 5
HOOK_LETTERS_MAX = 100
TITLES = {
    "video": "Videos",
    "audio": "Audios",
    "image": "Images",
    "diagram": "Diagrams",
    "model": "Models",
    "hook": "Hooks",
    "collection": "Collections",
    "batch": "Batches",
    "job": "Jobs",
    "consent": "Consents",
    "person": "People",
}
_DONE = {"succeeded": "Done"}
# Kinds with a list of their own that can be narrowed by the same words.
LISTS = {
    "video": "library.videos",
    "audio": "library.audios",
    "image": "library.images",
    "diagram": "diagrams.list",
    "model": "library.models",
    "hook": "hooks.list",
    "person": "admin.credits",
}


@dataclass(frozen=True)
class Hit:
    """One line of the results."""

    title: str
    url: str
    icon: str
    detail: str = ""
    picture: str = ""


@dataclass(frozen=True)
class Shown:
    """A group of results as it is drawn; `more` is where all of them are."""

    title: str
    hits: Sequence[Hit]
    more: str = ""
    total: int = 0


@bp.get("/search")
def show() -> ResponseReturnValue:
    """What is found, or all of one kind that has no list of its own."""
    account, q, kind = who.account(), _words(), request.args.get("kind", "")
    if kind and q:
        page = search.listed(account, kind, q, request.args.get("cursor"))
        one = Shown(TITLES[kind], [_hit(kind, each) for each in page.items], total=page.total)
        return render_template("search/kind.html", q=q, group=one, page=page)
    groups = _found(account, q, ON_PAGE) if q else _newest(account)
    return render_template("search/page.html", q=q, groups=groups, total=_count(groups))


@bp.get("/search/results")
@limits.reads
def results() -> ResponseReturnValue:
    """The options of the dialog's list."""
    account, q = who.account(), _words()
    groups = _found(account, q, IN_DIALOG) if q else _newest(account)
    return render_template("search/_results.html", q=q, groups=groups, total=_count(groups))


def _words() -> str:
    return " ".join(request.args.get("q", "")[: search.LETTERS_MAX].split())


def _count(groups: Iterable[Shown]) -> int:
    return sum(max(group.total, len(group.hits)) for group in groups)


def _found(account: Account, q: str, most: int) -> list[Shown]:
    groups = [_shown(group, q) for group in search.groups(account, q, most)]
    to = [_place(place) for place in places.found(account, q)[:PLACES_MAX]]
    return [Shown("Go to", to), *groups] if to else groups


def _newest(account: Account) -> list[Shown]:
    """What may be meant before anything is typed."""
    assets, batches = search.newest(account)
    groups = (
        Shown("New in the library", [_asset(asset) for asset in assets]),
        Shown("Latest batches", [_batch(batch) for batch in batches]),
        Shown("Go to", [_place(place) for place in places.of(account) if place.group == "tools"]),
    )
    return [group for group in groups if group.hits]


def _shown(group: search.Group, q: str) -> Shown:
    more = ""
    if group.total > len(group.items):
        there = LISTS.get(group.kind)
        more = url_for(there, q=q) if there else url_for("search.show", q=q, kind=group.kind)
    return Shown(TITLES[group.kind], [_hit(group.kind, each) for each in group.items], more, group.total)


def _hit(kind: str, thing: Any) -> Hit:
    return _OF.get(kind, _asset)(thing)


def _asset(asset: Asset) -> Hit:
    icon = {"video": "film", "audio": "music", "model": "box"}.get(asset.kind, "image")
    pixels = f"{asset.width}×{asset.height}" if asset.width else ""
    about = (clock(asset.duration_seconds), pixels, "" if asset.type == "source" else asset.type.capitalize())
    part = next((part for part in ("thumb", "poster") if asset.has(part)), "")
    picture = url_for("media.part", asset_id=asset.id, part=part) if part else ""
    detail = " · ".join(each for each in about if each) or size(asset.size_bytes)
    return Hit(asset.name, url_for("library.asset", asset_id=asset.id), icon, detail, picture)


def _hook(hook: Hook) -> Hit:
    where = url_for("hooks.list", q=hook.text[:HOOK_LETTERS_MAX], _anchor=f"hook-{hook.id}")
    return Hit(hook.text, where, "text-quote", hook.category)


def _collection(collection: Collection) -> Hit:
    where = url_for(f"library.{collection.kind}s", collection=collection.id)
    return Hit(collection.name, where, "folder", f"{collection.kind}s".capitalize())


def _batch(batch: Batch) -> Hit:
    about = f"{plural(batch.promised, 'output')} · {batch.created_at:%-d %b %Y}"
    return Hit(batch.title, url_for("batches.show", batch_id=batch.id), "square-stack", about)


def _job(job: Job) -> Hit:
    about = f"Number {job.id} · {_DONE.get(job.status, job.status.capitalize())} · {job.created_at:%-d %b %Y}"
    return Hit(job.title, url_for("jobs.show", job_id=job.id), "list-checks", about)


def _consent(consent: Consent) -> Hit:
    about = {"given": "Given", "over": "Over", "revoked": "Revoked"}[consent.status]
    return Hit(consent.who, url_for("consents.show", consent_id=consent.id), "shield-check", about)


def _person(person: Account) -> Hit:
    return Hit(person.name or person.email, url_for("admin.account", account_id=person.id), "shield", person.email)


def _place(place: places.Place) -> Hit:
    return Hit(place.title, url_for(place.endpoint, **place.args), place.icon, f"g {place.key}")


_OF: dict[str, Callable[[Any], Hit]] = {
    "hook": _hook,
    "collection": _collection,
    "batch": _batch,
    "job": _job,
    "consent": _consent,
    "person": _person,
}
