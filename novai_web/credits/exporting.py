"""Entries as CSV, piece by piece, so that any number of them needs little memory and no long transaction."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import DateTime, Select, literal, tuple_
from sqlalchemy.orm import aliased

from novai_web.accounts.models import Account
from novai_web.config import Settings
from novai_web.credits import people
from novai_web.credits.models import Entry
from novai_web.credits.reports import Line, line, query
from novai_web.db import session
from novai_web.library.spreadsheets import safe_cell

ROWS_AT_ONCE = 1000
COLUMNS = ("entry", "at", "kind", "explanation", "tool", "job", "batch", "available", "held", "spent", "note")
PEOPLES = ("account", "e-mail", "name", "joined", "disabled", "available", "held", "today", "daily limit")
EVERYBODYS = ("account", "e-mail", "name", *COLUMNS, "by")

_owner = aliased(Account)


def of_account(account_id: int) -> Iterator[str]:
    """All entries of one account, oldest first. Begins with a mark by which Excel knows that it is UTF-8."""
    yield "\ufeff" + _written([COLUMNS])
    last = 0
    mine = query().where(Entry.account_id == account_id).order_by(Entry.id).limit(ROWS_AT_ONCE)
    while rows := session.execute(mine.where(Entry.id > last)).all():
        last = rows[-1].id
        yield _written([_cells(line(row)) for row in rows])


def of_everybody(since: date | None, until: date | None) -> Iterator[str]:
    """The entries of all accounts from the day `since` to the day `until` (UTC), both included, oldest first."""
    yield "\ufeff" + _written([EVERYBODYS])
    wanted = _between(since, until)
    rows = session.execute(wanted).all()
    while rows:
        yield _written([_everybodys(row) for row in rows])
        here = tuple_(literal(rows[-1].at, DateTime(timezone=True)), literal(rows[-1].id))
        rows = session.execute(wanted.where(tuple_(Entry.at, Entry.id) > here)).all()


def of_people(settings: Settings, q: str, sort: str) -> Iterator[str]:
    """Every account that `people.listed` finds, in its order, with what it has. Raises InvalidInput."""
    found = people.listed(settings, q, sort)
    yield "\ufeff" + _written([PEOPLES, *map(_standing, found.items)])
    while found.next_cursor:
        found = people.listed(settings, q, sort, found.next_cursor)
        yield _written([_standing(each) for each in found.items])


def _standing(each: people.Standing) -> Sequence[object]:
    who = each.account
    since = (who.created_at.isoformat(), who.disabled_at.isoformat() if who.disabled_at else "")
    return (who.id, who.email, who.name, *since, each.available, each.held, each.spent_today, each.daily_limit)


def _between(since: date | None, until: date | None) -> Select[Any]:
    found = (
        query()
        .add_columns(_owner.email.label("owner_email"), _owner.name.label("owner_name"))
        .join(_owner, _owner.id == Entry.account_id)
        .order_by(Entry.at, Entry.id)
        .limit(ROWS_AT_ONCE)
    )
    if since:
        found = found.where(Entry.at >= datetime.combine(since, time.min, UTC))
    if until:
        found = found.where(Entry.at <= datetime.combine(until, time.max, UTC))
    return found


def _everybodys(row: Any) -> Sequence[object]:
    found = line(row)
    return (found.account_id, row.owner_email, row.owner_name, *_cells(found), found.by_email)


def _cells(found: Line) -> Sequence[object]:
    cause = found.cause
    about = (cause.tool, cause.id, cause.batch_id) if cause else ("", "", "")
    moved = (found.available, found.held, found.spent)
    return (found.id, found.at.isoformat(), found.kind, str(found.said), *about, *moved, found.note)


def _written(rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([safe_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return out.getvalue()
