"""Collections over JSON."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from novai_web.accounts import Account
from novai_web.api.door import Door, Shape
from novai_web.library import collections
from novai_web.library.assets import Library
from novai_web.library.models import Collection

door = Door("collections")

KindGiven = Literal["video", "audio", "image"]


class CollectionOut(Shape):
    id: int
    kind: str
    name: str
    count: int
    created_at: datetime

    @classmethod
    def of(cls, found: Collection, count: int) -> "CollectionOut":
        return cls(id=found.id, kind=found.kind, name=found.name, count=count, created_at=found.created_at)


class CollectionsAsked(Shape):
    kind: KindGiven | None = None


class CollectionsOut(Shape):
    items: list[CollectionOut] = Field(description="By kind and alphabet; there are never more than a page.")


class CollectionGiven(Shape):
    name: str
    kind: KindGiven


class CollectionChange(Shape):
    name: str


@door.get("/collections", asks=CollectionsAsked, gives=CollectionsOut)
def collections_listed(account: Account, asked: CollectionsAsked) -> CollectionsOut:
    """All collections, or those of one kind."""
    library = Library(account.id)
    counts = collections.counts(library)
    found = collections.listed(library, asked.kind)
    return CollectionsOut(items=[CollectionOut.of(each, counts.get(each.id, 0)) for each in found])


@door.post("/collections", takes=CollectionGiven, gives=CollectionOut, status=201)
def collection_added(account: Account, given: CollectionGiven) -> CollectionOut:
    """Make a collection of one kind."""
    return CollectionOut.of(collections.add(Library(account.id), given.kind, given.name), 0)


@door.get("/collections/<int:collection_id>", gives=CollectionOut)
def collection(account: Account, collection_id: int) -> CollectionOut:
    """One of them."""
    return _shown(Library(account.id), collection_id)


@door.patch("/collections/<int:collection_id>", takes=CollectionChange, gives=CollectionOut)
def collection_renamed(account: Account, collection_id: int, given: CollectionChange) -> CollectionOut:
    """Call it something else."""
    library = Library(account.id)
    collections.rename(collections.find(library, collection_id), given.name)
    return _shown(library, collection_id)


@door.delete("/collections/<int:collection_id>", status=204)
def collection_deleted(account: Account, collection_id: int) -> None:
    """Delete it. What is in it stays in the library."""
    collections.delete(collections.find(Library(account.id), collection_id))


def _shown(library: Library, collection_id: int) -> CollectionOut:
    found = collections.find(library, collection_id)
    return CollectionOut.of(found, collections.counts(library).get(found.id, 0))
