"""Collections: named sets of assets of one kind."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.exc import IntegrityError

from novai_web.db import session
from novai_web.errors import InvalidInput, NotFound
from novai_web.library import words
from novai_web.library.assets import Library
from novai_web.library.listing import BY_ID
from novai_web.library.models import COLLECTED, Asset, Collection

NAME_CHARACTERS_MAX = 80
COLLECTIONS_MAX = 1000
COVERS = 4


@dataclass(frozen=True)
class Shelf:
    """A collection as a list shows it: how much is in it, and its newest few."""

    collection: Collection
    count: int
    covers: Sequence[Asset]


def listed(library: Library, kind: str | None = None) -> Sequence[Collection]:
    """The collections of an account, of one kind or of all, by alphabet."""
    query = select(Collection).where(Collection.account_id == library.account_id)
    if kind:
        query = query.where(Collection.kind == kind)
    return session.scalars(query.order_by(Collection.kind, func.lower(Collection.name))).all()


def shelves(library: Library) -> Mapping[str, Sequence[Shelf]]:
    """Every collection with its count and covers, by kind; three queries however many there are."""
    held = counts(library)
    covers = _covers(library)
    found: dict[str, list[Shelf]] = {kind: [] for kind in COLLECTED}
    for collection in listed(library):
        shelf = Shelf(collection, held.get(collection.id, 0), covers.get(collection.id, []))
        found[collection.kind].append(shelf)
    return found


def mine(library: Library) -> ColumnElement[bool]:
    return Collection.account_id == library.account_id


def counts(library: Library) -> Mapping[int, int]:
    """How many live assets are in each collection, counted one by one: what is in none of them is not read."""
    held = (
        library.assets()
        .where(Asset.collection_id == Collection.id, Asset.expires_at.is_(None))
        .with_only_columns(func.count())
        .correlate(Collection)
        .scalar_subquery()
    )
    return dict(session.execute(select(Collection.id, held).where(mine(library))).tuples().all())


def find(library: Library, collection_id: int) -> Collection:
    """Raises NotFound, also for another's."""
    found = session.scalar(
        select(Collection).where(Collection.account_id == library.account_id, Collection.id == collection_id)
    )
    if found is None:
        raise NotFound
    return found


def add(library: Library, kind: str, name: str) -> Collection:
    """Raises InvalidInput when the name is empty, too long or taken."""
    if kind not in COLLECTED:
        raise InvalidInput({"kind": f"Choose one of: {', '.join(COLLECTED)}."})
    if len(listed(library)) >= COLLECTIONS_MAX:
        raise InvalidInput({"name": f"You have {COLLECTIONS_MAX} collections. Delete one first."})
    collection = Collection(account_id=library.account_id, kind=kind, name=_name(name))
    _write(collection)
    return collection


def named(library: Library, kind: str, name: str) -> Collection:
    """The collection of that name, made if there is none. Raises InvalidInput."""
    clean = _name(name)
    found = session.scalar(
        select(Collection).where(
            Collection.account_id == library.account_id,
            Collection.kind == kind,
            func.lower(Collection.name) == func.lower(clean),
        )
    )
    return found or add(library, kind, clean)


def rename(collection: Collection, name: str) -> None:
    """Raises InvalidInput when the name is empty, too long or taken."""
    collection.name = _name(name)
    _write(collection)


def delete(collection: Collection) -> None:
    """The assets in it stay in the library."""
    session.delete(collection)
    session.flush()


def _write(collection: Collection) -> None:
    try:
        with session.begin_nested():
            session.add(collection)
            session.flush()
    except IntegrityError:
        raise InvalidInput({"name": "You have a collection of that name already. Choose another name."}) from None


def _name(text: str) -> str:
    clean = words.name(text)
    if not clean:
        raise InvalidInput({"name": "Give the collection a name."})
    if len(clean) > NAME_CHARACTERS_MAX:
        raise InvalidInput({"name": f"A collection's name has at most {NAME_CHARACTERS_MAX} characters."})
    return clean


def _covers(library: Library) -> Mapping[int, Sequence[Asset]]:
    """The newest few of each, found one collection at a time: what else is in them is not read."""
    newest = (
        library.assets()
        .where(Asset.collection_id == Collection.id, Asset.expires_at.is_(None))
        .with_only_columns(Asset.id)
        .order_by(BY_ID.desc())
        .limit(COVERS)
        .correlate(Collection)
        .lateral()
    )
    ids = select(newest.c.id).select_from(Collection).join(newest, true()).where(mine(library))
    rows = session.scalars(select(Asset).where(Asset.id.in_(ids)).order_by(Asset.id.desc()))
    found: dict[int, list[Asset]] = defaultdict(list)
    for asset in rows:
        if asset.collection_id is not None:
            found[asset.collection_id].append(asset)
    return found
