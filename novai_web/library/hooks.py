"""Hooks: short texts shown on a video, one by one and by the thousand."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from novai_web.db import now, session
from novai_web.errors import InvalidInput
from novai_web.library import words
from novai_web.library.assets import Library
from novai_web.library.listing import SEARCH_WORDS_MAX
from novai_web.library.models import Hook
from novai_web.library.paging import Order, Page, page

TEXT_CHARACTERS_MAX = 500
CATEGORY_CHARACTERS_MAX = 60
HOOKS_A_REQUEST_MAX = 10_000
HOOKS_MAX = 100_000
HOOKS_A_PAGE = 100
_ROWS_AT_ONCE = 1000

SORTS = ("newest", "oldest", "name")
_ORDERS = {
    "newest": Order("newest", Hook.id, Hook.id, True, int),
    "oldest": Order("oldest", Hook.id, Hook.id, False, int),
    "name": Order("name", func.lower(func.left(Hook.text, 100)), Hook.id, False, str),
}


@dataclass(frozen=True)
class Line:
    """One hook as somebody wrote it."""

    text: str
    category: str = ""


@dataclass(frozen=True)
class Added:
    """The hooks of one request in the order given, once each, and how many of them were there already."""

    hooks: Sequence[Hook]
    known: int
    fresh_ids: Sequence[int] = ()

    @property
    def fresh(self) -> int:
        return len(self.hooks) - self.known


@dataclass(frozen=True)
class Filter:
    """Which hooks are meant. `category` None: all of them; "": those without one."""

    q: str = ""
    category: str | None = None

    def of(self, library: Library) -> Select[tuple[Hook]]:
        query = library.hooks()
        if self.category is not None:
            query = query.where(Hook.category == words.name(self.category))
        for word in words.plain(self.q).split()[:SEARCH_WORDS_MAX]:
            query = query.where(Hook.text.ilike(words.pattern(word), escape="\\"))
        return query


def listed(
    library: Library, wanted: Filter, sort: str = "newest", cursor: str | None = None, size: int = HOOKS_A_PAGE
) -> Page[Hook]:
    """One page of the hooks that match. Raises InvalidInput for a sort or a cursor that does not exist."""
    if sort not in _ORDERS:
        raise InvalidInput({"sort": f"Choose one of: {', '.join(SORTS)}."})
    return page(wanted.of(library), _ORDERS[sort], cursor, size)


def chosen(library: Library, ids: Sequence[int]) -> Select[tuple[Hook]]:
    """Exactly these hooks of the library; the ids of others are no part of it."""
    return library.hooks().where(Hook.id.in_(ids))


def categories(library: Library) -> Sequence[tuple[str, int]]:
    """Each category with the number of its hooks, by alphabet; "" is none."""
    query = library.hooks().with_only_columns(Hook.category, func.count()).group_by(Hook.category)
    return [(name, count) for name, count in session.execute(query.order_by(func.lower(Hook.category)))]


def add(library: Library, texts: Sequence[str], category: str = "") -> Added:
    """Add texts to one category. Empty ones are skipped. Raises InvalidInput, naming `texts` or `category`."""
    if len(texts) > HOOKS_A_REQUEST_MAX:
        raise InvalidInput({"texts": _too_many(len(texts))})
    checked = [Line(clean, category_of(category)) for text in texts if (clean := words.plain(text, lines=True))]
    for place, line in enumerate(checked, start=1):
        if len(line.text) > TEXT_CHARACTERS_MAX:
            raise InvalidInput({"texts": f"Hook {place}: {too_long(line.text)}"})
    return add_lines(library, checked)


def add_lines(library: Library, lines: Sequence[Line], field: str = "texts") -> Added:
    """Add clean lines; those that are there already are found, not doubled. Raises InvalidInput naming `field`."""
    lines = list(dict.fromkeys(lines))
    if not lines:
        raise InvalidInput({field: "Write at least one hook."})
    if len(lines) > HOOKS_A_REQUEST_MAX:
        raise InvalidInput({field: _too_many(len(lines))})
    count = session.scalar(library.hooks().with_only_columns(func.count())) or 0
    if count + len(lines) > HOOKS_MAX:
        raise InvalidInput({field: f"You can keep {HOOKS_MAX:,} hooks and have {count:,}. Delete some first."})
    fresh: list[int] = []
    found: dict[Line, Hook] = {}
    for start in range(0, len(lines), _ROWS_AT_ONCE):
        some = lines[start : start + _ROWS_AT_ONCE]
        fresh += _insert(library, some)
        found.update({Line(hook.text, hook.category): hook for hook in _same(library, some)})
    return Added([found[line] for line in lines], len(lines) - len(fresh), fresh)


def edit(hook: Hook, *, text: str | None = None, category: str | None = None) -> None:
    """Raises InvalidInput when the text is empty, too long, or there already."""
    if text is not None:
        hook.text = _text_of(text)
    if category is not None:
        hook.category = category_of(category)
    try:
        with session.begin_nested():
            session.flush()
    except IntegrityError:
        session.expire(hook)
        raise InvalidInput({"text": "You have this hook in this category already."}) from None


def rename_category(library: Library, old: str, new: str) -> int:
    """Call a category something else. If the new one exists, the two become one. How many hooks moved."""
    return categorise(library, Filter(category=old).of(library), new)


def categorise(library: Library, chosen: Select[tuple[Hook]], category: str) -> int:
    """Move the chosen hooks; a text that is in the new category already goes to the trash. How many moved."""
    name = category_of(category)
    ids: ColumnElement[int] = chosen.where(Hook.category != name).with_only_columns(Hook.id).scalar_subquery()
    moving = session.scalars(select(Hook.id).where(Hook.id.in_(ids)).order_by(Hook.id).with_for_update()).all()
    if not moving:
        return 0
    _throw_away_doubles(library, moving, name)
    done = session.execute(
        update(Hook)
        .where(Hook.id.in_(moving), Hook.trashed_at.is_(None))
        .values(category=name)
        .returning(Hook.id)
        .execution_options(synchronize_session=False)
    )
    done.all()
    return len(moving)


def category_of(text: str) -> str:
    """A category's name; empty is none. Raises InvalidInput when it is too long."""
    clean = words.name(text)
    if len(clean) > CATEGORY_CHARACTERS_MAX:
        raise InvalidInput({"category": f"A category has at most {CATEGORY_CHARACTERS_MAX} characters."})
    return clean


def too_long(text: str) -> str:
    return f"It has {len(text):,} characters; a hook has at most {TEXT_CHARACTERS_MAX}."


def _too_many(count: int) -> str:
    return f"At most {HOOKS_A_REQUEST_MAX:,} hooks at once; these are {count:,}. Send them in several parts."


def _text_of(text: str) -> str:
    clean = words.plain(text, lines=True)
    if not clean:
        raise InvalidInput({"text": "Write the text of this hook."})
    if len(clean) > TEXT_CHARACTERS_MAX:
        raise InvalidInput({"text": too_long(clean)})
    return clean


def _insert(library: Library, lines: Sequence[Line]) -> Sequence[int]:
    rows = [{"account_id": library.account_id, "text": line.text, "category": line.category} for line in lines]
    return session.scalars(insert(Hook).values(rows).on_conflict_do_nothing().returning(Hook.id)).all()


def _same(library: Library, lines: Sequence[Line]) -> Sequence[Hook]:
    """By the expression of the index, so that a thousand are found as fast as one."""
    hashed = [(line.category, hashlib.md5(line.text.encode(), usedforsecurity=False).hexdigest()) for line in lines]
    same = tuple_(Hook.category, func.md5(Hook.text)).in_(hashed)
    return session.scalars(library.hooks().where(same)).all()


def _throw_away_doubles(library: Library, moving: Sequence[int], category: str) -> None:
    """Of texts that would be twice in `category` the oldest stays."""
    other = aliased(Hook)
    is_double = (
        select(other.id)
        .where(
            other.account_id == library.account_id,
            other.trashed_at.is_(None),
            func.md5(other.text) == func.md5(Hook.text),
            (other.category == category) | (other.id.in_(moving) & (other.id < Hook.id)),
        )
        .exists()
    )
    session.execute(
        update(Hook)
        .where(Hook.id.in_(moving), is_double)
        .values(trashed_at=now())
        .execution_options(synchronize_session=False)
    )
