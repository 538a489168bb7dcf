"""Pages of long lists by keyset: where a page ends is a value, so nothing shifts when rows come and go."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, func, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from novai_web.db import session
from novai_web.errors import InvalidInput

T = TypeVar("T")
PAGE_SIZE = 60
PAGE_SIZE_MAX = 200
_BIGGEST = 2**63 - 1


@dataclass(frozen=True)
class Order:
    """How a list is sorted: by `key`, then by `id`; both in one direction so that one index serves."""

    name: str
    key: ColumnElement[Any] | InstrumentedAttribute[Any]
    id: InstrumentedAttribute[int]
    descending: bool
    type: type


@dataclass(frozen=True)
class Page(Generic[T]):
    items: Sequence[T]
    next_cursor: str | None
    total: int


def page(query: Select[tuple[T]], order: Order, cursor: str | None, size: int = PAGE_SIZE) -> Page[T]:
    """The part of `query` after `cursor`, and how many there are in all. Raises InvalidInput for a bad cursor."""
    total = session.scalar(query.with_only_columns(func.count(), maintain_column_froms=True)) or 0
    ordered = query.add_columns(order.key, order.id).order_by(
        *((column.desc() if order.descending else column.asc()) for column in (order.key, order.id))
    )
    if cursor:
        ordered = ordered.where(_beyond(order, *_read(order, cursor)))
    rows = session.execute(ordered.limit(size + 1)).all()
    last = rows[size - 1] if len(rows) > size else None
    return Page([row[0] for row in rows[:size]], _write(order, last[1], last[2]) if last else None, total)


def _beyond(order: Order, value: Any, number: int) -> ColumnElement[bool]:
    here = tuple_(order.key, order.id)
    there = tuple_(literal(value, order.key.type), literal(number, order.id.type))
    return here < there if order.descending else here > there


def _write(order: Order, value: Any, number: int) -> str:
    said = json.dumps([order.name, value, number], separators=(",", ":"))
    return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")


def _read(order: Order, cursor: str) -> tuple[Any, int]:
    """What `_write` wrote. It may have been changed on the way, so every part of it is checked."""
    try:
        said = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        name, value, number = said
    except (ValueError, TypeError, RecursionError):
        raise _bad() from None
    if name != order.name or not _is_number(number) or not _fits(value, order.type):
        raise _bad()
    return value, number


def _fits(value: Any, expected: type) -> bool:
    if expected is int:
        return _is_number(value)
    if expected is float:
        return isinstance(value, float) or _is_number(value)
    return isinstance(value, str) and "\0" not in value and _encodes(value)


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _BIGGEST


def _bad() -> InvalidInput:
    return InvalidInput({"cursor": "This list was sorted differently before. Start again from its first page."})
