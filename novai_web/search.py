"""Everything one owns, found by the words of its name: one statement for all assets, one for each other kind of thing.

A search looks through the names of one account from end to end, in an index that holds nothing else, so what it costs
grows with what that account owns and not with the installation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from novai_web.accounts import Account
from novai_web.consents import Consent
from novai_web.db import session
from novai_web.errors import InvalidInput
from novai_web.jobs import Batch, Job
from novai_web.library import words
from novai_web.library.assets import Library
from novai_web.library.listing import BY_ID, SEARCH_WORDS_MAX
from novai_web.library.models import Asset, Collection, Hook
from novai_web.library.paging import PAGE_SIZE, Order, Page, page
from novai_web.tools import INTERNAL, character_diagram

AssetKind = Literal["video", "audio", "image", "diagram", "model"]
Kind = Literal["video", "audio", "image", "diagram", "model", "hook", "collection", "batch", "job", "consent", "person"]
ASSETS: tuple[AssetKind, ...] = get_args(AssetKind)
KINDS: tuple[Kind, ...] = get_args(Kind)
LETTERS_MAX = 200
FOUND_MAX = 50  # of each kind, in one answer
NEWEST_ASSETS, NEWEST_BATCHES = 6, 3
_NUMBER_MAX = 2**63 - 1


@dataclass(frozen=True)
class Group:
    """The first things of one kind that were found, and how many there are in all."""

    kind: Kind
    items: Sequence[Any]
    total: int


@dataclass(frozen=True)
class _Things:
    """Where things of one kind are looked up: whose they are, what they are called, and which number they have."""

    query: Select[Any]
    name: ColumnElement[str] | InstrumentedAttribute[str]
    id: InstrumentedAttribute[int]
    by_number: bool = False


def groups(account: Account, q: str, most: int) -> list[Group]:
    """What has every word of `q` in its name, at most so many of a kind; kinds of which nothing is found are absent.

    Names that begin with `q` come first, then what is newest.
    """
    if not _words(q):
        return []
    assets = _assets(account, q, most)
    found = [assets[kind] for kind in ASSETS if kind in assets]
    for kind in KINDS[len(ASSETS) :]:
        if kind != "person" or account.is_admin:
            found.append(_first(kind, _things(account, kind), q, most))
    return [group for group in found if group.total]


def listed(account: Account, kind: str, q: str, cursor: str | None = None, size: int = PAGE_SIZE) -> Page[Any]:
    """One page of all things of one kind that have every word of `q`, newest first. Raises InvalidInput."""
    known = [each for each in KINDS if each == kind and (each != "person" or account.is_admin)]
    if not known:
        raise InvalidInput({"kind": f"Choose one of: {', '.join(KINDS)}."})
    things = _things(account, known[0])
    newest_first = Order("newest", BY_ID if known[0] in ASSETS else things.id, things.id, True, int)
    return page(things.query.where(_fits(things, q)), newest_first, cursor, size)


def newest(account: Account) -> tuple[Sequence[Asset], Sequence[Batch]]:
    """What one is probably looking for before anything is typed: the last things in the library, the last batches."""
    mine = _library(account).with_only_columns(Asset.id).order_by(BY_ID.desc()).limit(NEWEST_ASSETS).subquery()
    assets = session.scalars(select(Asset).where(Asset.id.in_(select(mine.c.id))).order_by(Asset.id.desc()))
    batches = session.scalars(_things(account, "batch").query.order_by(Batch.id.desc()).limit(NEWEST_BATCHES))
    return assets.all(), batches.all()


def _library(account: Account) -> Select[tuple[Asset]]:
    """What is in the library for good: the outputs of a batch are found with their batch until they are kept."""
    return Library(account.id).assets().where(Asset.expires_at.is_(None))


def _things(account: Account, kind: Kind) -> _Things:
    if kind in ASSETS:
        return _Things(_library(account).where(_group() == kind), Asset.name, Asset.id)
    if kind == "hook":
        return _Things(Library(account.id).hooks(), Hook.text, Hook.id)
    if kind == "collection":
        return _Things(select(Collection).where(Collection.account_id == account.id), Collection.name, Collection.id)
    if kind == "batch":
        return _Things(select(Batch).where(Batch.account_id == account.id), Batch.title, Batch.id, by_number=True)
    if kind == "job":
        hidden = [tool.slug for tool in INTERNAL]
        mine = select(Job).where(Job.account_id == account.id, Job.tool_slug.not_in(hidden))
        return _Things(mine, Job.title, Job.id, by_number=True)
    if kind == "consent":
        return _Things(select(Consent).where(Consent.account_id == account.id), Consent.who, Consent.id)
    return _Things(select(Account), Account.name + " " + Account.email, Account.id)


def _group() -> ColumnElement[str]:
    """Diagrams are pictures with a place of their own."""
    return case((Asset.type == character_diagram.TYPE, literal("diagram")), else_=Asset.kind)


def _words(q: str) -> list[str]:
    return words.plain(q[:LETTERS_MAX]).split()[:SEARCH_WORDS_MAX]


def _fits(things: _Things, q: str) -> ColumnElement[bool]:
    said = _words(q)
    named = and_(*(things.name.ilike(words.pattern(word), escape="\\") for word in said))
    number = said[0].removeprefix("#") if len(said) == 1 else ""
    if things.by_number and number.isascii() and number.isdecimal() and int(number) <= _NUMBER_MAX:
        return or_(named, things.id == int(number))
    return named


def _begins(name: ColumnElement[str] | InstrumentedAttribute[str], q: str) -> ColumnElement[bool]:
    return name.ilike(words.pattern(" ".join(_words(q)))[1:], escape="\\")


def _assets(account: Account, q: str, most: int) -> dict[str, Group]:
    """Assets of every kind, in one look through the index of names."""
    kind = _group()
    everything = _Things(_library(account), Asset.name, Asset.id)
    best = (_begins(Asset.name, q).desc(), Asset.id.desc())
    matching = everything.query.where(_fits(everything, q)).with_only_columns(
        Asset.id.label("id"),
        kind.label("kind"),
        func.count().over(partition_by=kind).label("total"),
        func.row_number().over(partition_by=kind, order_by=best).label("place"),
    )
    first = matching.subquery()
    rows = session.execute(
        select(Asset, first.c.kind, first.c.total)
        .join(first, first.c.id == Asset.id)
        .where(first.c.place <= most)
        .order_by(first.c.kind, first.c.place)
    ).all()
    named = {group: [row for row in rows if row.kind == group] for group in ASSETS}
    return {group: Group(group, [row[0] for row in of], of[0].total) for group, of in named.items() if of}


def _first(kind: Kind, things: _Things, q: str, most: int) -> Group:
    """Only what the answer shows is read whole: jobs and consents are wide rows."""
    best = (_begins(things.name, q).desc(), things.id.desc())
    matching = things.query.where(_fits(things, q)).with_only_columns(
        things.id.label("id"), func.count().over().label("total"), func.row_number().over(order_by=best).label("place")
    )
    first = matching.order_by(*best).limit(most).subquery()
    rows = session.execute(
        select(things.id.class_, first.c.total).join(first, first.c.id == things.id).order_by(first.c.place)
    ).all()
    return Group(kind, [row[0] for row in rows], rows[0].total if rows else 0)
