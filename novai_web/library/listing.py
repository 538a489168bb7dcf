"""Lists of assets: one filter says what a page shows, what it counts and what a bulk action touches."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Literal, get_args

from sqlalchemy import ColumnElement, Select, func, literal_column, or_, select

from novai_web.db import now, session
from novai_web.errors import InvalidInput
from novai_web.library import words
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Kind
from novai_web.library.paging import PAGE_SIZE, Order, Page, page

Sort = Literal["newest", "oldest", "name", "longest", "largest"]
SORTS: tuple[Sort, ...] = get_args(Sort)
SEARCH_WORDS_MAX = 10
TAGS_SHOWN_MAX = 200

BY_ID: ColumnElement[int] = Asset.id + literal_column("0")  # as in the index that serves it; see there for why
_ORDERS = {
    "newest": Order("newest", BY_ID, Asset.id, True, int),
    "oldest": Order("oldest", BY_ID, Asset.id, False, int),
    "name": Order("name", func.lower(Asset.name), Asset.id, False, str),
    "longest": Order("longest", func.coalesce(Asset.duration_seconds, -1), Asset.id, True, float),
    "largest": Order("largest", Asset.size_bytes, Asset.id, True, int),
}


@dataclass(frozen=True)
class Filter:
    """Which assets are meant. An empty field asks for nothing.

    A batch's outputs are in the library for good only once they are kept; until then a list shows them when it
    is asked for their type or for the tool that made them.
    """

    kind: Kind | None = None
    q: str = ""
    collection_id: int | None = None
    type: str = ""
    tag: str = ""
    tool: str = ""
    without_type: str = ""
    since: date | None = None
    until: date | None = None

    def of(self, library: Library) -> Select[tuple[Asset]]:
        """The query of the assets in `library` that match."""
        query = library.assets()
        asked_for_outputs = self.type or self.tool
        query = query.where(_still_here() if asked_for_outputs else Asset.expires_at.is_(None))
        if self.type:
            query = query.where(Asset.type == words.plain(self.type))
        if self.without_type:
            query = query.where(Asset.type != self.without_type)
        if self.kind:
            query = query.where(Asset.kind == self.kind)
        if self.collection_id:
            query = query.where(Asset.collection_id == self.collection_id)
        if self.tag:
            query = query.where(Asset.tags.contains([words.name(self.tag)]))
        if self.tool:
            query = query.where(Asset.made_by_tool == words.plain(self.tool))
        return self._dated(self._searched(query))

    def _searched(self, query: Select[tuple[Asset]]) -> Select[tuple[Asset]]:
        for word in words.plain(self.q).split()[:SEARCH_WORDS_MAX]:
            query = query.where(Asset.name.ilike(words.pattern(word), escape="\\"))
        return query

    def _dated(self, query: Select[tuple[Asset]]) -> Select[tuple[Asset]]:
        if self.since:
            query = query.where(Asset.created_at >= datetime.combine(self.since, time.min, UTC))
        if self.until:
            query = query.where(Asset.created_at <= datetime.combine(self.until, time.max, UTC))
        return query


def _still_here() -> ColumnElement[bool]:
    return or_(Asset.expires_at.is_(None), Asset.expires_at > now())


def listed(
    library: Library, wanted: Filter, sort: str = "newest", cursor: str | None = None, size: int = PAGE_SIZE
) -> Page[Asset]:
    """One page of the assets that match. Raises InvalidInput for a sort or a cursor that does not exist."""
    if sort not in _ORDERS:
        raise InvalidInput({"sort": f"Choose one of: {', '.join(SORTS)}."})
    return page(wanted.of(library), _ORDERS[sort], cursor, size)


def tags_in_use(library: Library, kind: Kind) -> Sequence[str]:
    """The tags on live assets of this kind, by alphabet."""
    tag = func.unnest(Asset.tags).label("tag")
    found = library.assets().where(Asset.kind == kind).with_only_columns(tag).distinct().subquery()
    return session.scalars(select(found.c.tag).order_by(func.lower(found.c.tag)).limit(TAGS_SHOWN_MAX)).all()


def origins_in_use(library: Library, kind: Kind) -> tuple[Sequence[str], Sequence[str]]:
    """The types of live assets of this kind, and the slugs of the tools that made them; in one reading."""
    query = library.assets().where(Asset.kind == kind, _still_here())
    found = session.execute(query.with_only_columns(Asset.type, Asset.made_by_tool).distinct()).all()
    types, makers = {type_ for type_, _ in found}, {tool for _, tool in found if tool is not None}
    return sorted(types), sorted(makers)


def counts(library: Library) -> dict[str, int]:
    """How many live assets of each kind there are, as the lists count them."""
    query = Filter().of(library).with_only_columns(Asset.kind, func.count()).group_by(Asset.kind)
    return dict(session.execute(query).tuples().all())
