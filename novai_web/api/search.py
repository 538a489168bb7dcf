"""Search over JSON: everything of one account, by the words of its name."""

from typing import Any

from flask import url_for
from pydantic import Field

from novai_web import search
from novai_web.accounts import Account
from novai_web.api.door import Door, Shape
from novai_web.consents import Consent
from novai_web.jobs import Batch, Job
from novai_web.library.models import Hook

door = Door("search")

FIRST = 5
# Where one thing of each kind is read, and what its number is called there.
ADDRESSES = {
    "video": ("api_library.get_video", "asset_id"),
    "audio": ("api_library.get_audio", "asset_id"),
    "image": ("api_library.get_image", "asset_id"),
    "diagram": ("api_makings.get_diagram", "asset_id"),
    "model": ("api_library.get_model", "asset_id"),
    "hook": ("api_hooks.get_hook", "hook_id"),
    "collection": ("api_collections.get_collection", "collection_id"),
    "batch": ("api_batches.get_show", "batch_id"),
    "job": ("api_jobs.get_show", "job_id"),
    "consent": ("api_consents.get_consent", "consent_id"),
}


class SearchAsked(Shape):
    q: str = Field("", max_length=search.LETTERS_MAX, description="Words that must all be in the name. None: nothing.")
    kind: search.Kind | None = Field(None, description="Only this kind, newest first and in pages.")
    cursor: str | None = Field(None, max_length=2000, description="With `kind`: where its next page begins.")
    limit: int = Field(FIRST, ge=1, le=search.FOUND_MAX, description="How many of each kind.")


class FoundOut(Shape):
    """One thing: enough to show it in a list of results."""

    id: int
    name: str
    url: str | None = Field(description="Where it is read in full; people are not read over JSON.")


class GroupOut(Shape):
    kind: search.Kind
    total: int
    items: list[FoundOut]
    next_cursor: str | None = Field(description="Given when one kind was asked for and there is more of it.")


class SearchOut(Shape):
    total: int
    groups: list[GroupOut] = Field(
        description="By kind, and in each the names that begin with `q` first; what nothing was found of is absent."
    )


@door.get("/search", asks=SearchAsked, gives=SearchOut)
def found(account: Account, asked: SearchAsked) -> SearchOut:
    """Find anything by its name: assets, hooks, collections, batches, jobs, consents; for administrators people."""
    if asked.kind and asked.q.strip():
        page = search.listed(account, asked.kind, asked.q, asked.cursor, asked.limit)
        groups = [_group(asked.kind, page.items, page.total, page.next_cursor)] if page.total else []
    else:
        groups = [_group(each.kind, each.items, each.total) for each in search.groups(account, asked.q, asked.limit)]
    return SearchOut(total=sum(group.total for group in groups), groups=groups)


def _group(kind: search.Kind, items: Any, total: int, next_cursor: str | None = None) -> GroupOut:
    return GroupOut(kind=kind, total=total, items=[_found(kind, each) for each in items], next_cursor=next_cursor)


def _found(kind: search.Kind, thing: Any) -> FoundOut:
    endpoint, number = ADDRESSES.get(kind, ("", ""))
    return FoundOut(id=thing.id, name=_name(thing), url=url_for(endpoint, **{number: thing.id}) if endpoint else None)


def _name(thing: Any) -> str:
    if isinstance(thing, Hook):
        return thing.text
    if isinstance(thing, Batch | Job):
        return thing.title
    if isinstance(thing, Consent):
        return thing.who
    return str(thing.name)
