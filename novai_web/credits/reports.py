"""What an account's credits did: its entries, each explained, and what it spent by day and by tool."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Select, column, func, select, table, text
from sqlalchemy.orm import aliased

from novai_web.accounts.models import Account
from novai_web.credits.explaining import Cause, Fact, Sentence, explain
from novai_web.credits.models import INSTALLATION, DailySpend, Entry, Wallet
from novai_web.db import session

LISTED = 50
DAYS = 30

# What a list of entries can be narrowed to.
SHOWN: dict[str, tuple[str, ...]] = {
    "": (),
    "charged": ("capture", "refund"),
    "added": ("grant", "topup", "adjust", "refund"),
    "held": ("reserve", "release"),
}

# Jobs are above us in the house; what the ledger says of them needs only these columns.
_jobs = table(
    "jobs", *(column(name) for name in ("id", "batch_id", "tool_slug", "title", "state", "promised", "delivered"))
)
_by = aliased(Account)


@dataclass(frozen=True)
class Line:
    """One entry with its sentence. `balance` is what was available after it, where the list is whole."""

    id: int
    account_id: int
    at: datetime
    kind: str
    available: int
    held: int
    spent: int
    note: str | None
    by_name: str | None
    by_email: str | None
    cause: Cause | None
    said: Sentence
    balance: int | None = None


@dataclass(frozen=True)
class Day:
    day: date
    credits: int


@dataclass(frozen=True)
class ToolSpend:
    """What one tool cost over some days, and what of it was worth keeping."""

    tool: str
    jobs: int
    charged: int
    held: int
    made: int
    kept: int

    @property
    def per_kept(self) -> float | None:
        """Credits for each result that is in the library for good; None while there is none."""
        return self.charged / self.kept if self.kept else None


def query() -> Select[Any]:
    """All entries with the jobs and the administrators they speak of, to be narrowed and ordered."""
    return (
        select(
            Entry.id,
            Entry.account_id,
            Entry.at,
            Entry.kind,
            Entry.key,
            Entry.note,
            Entry.delta_available,
            Entry.delta_held,
            Entry.delta_spent,
            _by.name.label("by_name"),
            _by.email.label("by_email"),
            *(_jobs.c[name].label(f"job_{name}") for name in _jobs.c.keys()),  # noqa: SIM118  (not a dict)
        )
        .outerjoin(_jobs, _jobs.c.id == Entry.job_id)
        .outerjoin(_by, _by.id == Entry.by_id)
    )


def line(row: Any) -> Line:
    """A row of `query()`, explained."""
    cause = None
    if row.job_id is not None:
        cause = Cause(
            id=row.job_id,
            batch_id=row.job_batch_id,
            tool=row.job_tool_slug,
            title=row.job_title,
            state=row.job_state,
            promised=row.job_promised,
            delivered=row.job_delivered,
        )
    return Line(
        id=row.id,
        account_id=row.account_id,
        at=row.at,
        kind=row.kind,
        available=row.delta_available,
        held=row.delta_held,
        spent=row.delta_spent,
        note=row.note,
        by_name=row.by_name,
        by_email=row.by_email,
        cause=cause,
        said=explain(Fact(row.kind, row.key, row.note, cause)),
    )


def entries(account_id: int, *, show: str = "", before: int | None = None, limit: int = LISTED) -> list[Line]:
    """Entries, newest first; those before the id `before` for the next page. `show` is one of SHOWN."""
    mine = query().where(Entry.account_id == account_id).order_by(Entry.id.desc()).limit(limit)
    if before is not None:
        mine = mine.where(Entry.id < before)
    if SHOWN[show]:
        return [line(row) for row in session.execute(mine.where(Entry.kind.in_(SHOWN[show])))]
    rows = session.execute(mine.add_columns(_available_then(account_id, before).label("available_then"))).all()
    return _with_balances(rows)


def of_job(job_id: int) -> list[Line]:
    """What one job did to credits, in its order."""
    return [line(row) for row in session.execute(query().where(Entry.job_id == job_id).order_by(Entry.id))]


def _available_then(account_id: int, before: int | None) -> Any:
    """What was available after the newest entry before `before`: today's balance without what came later."""
    now = select(Wallet.available).where(Wallet.account_id == account_id).scalar_subquery()
    if before is None:
        return now
    later = select(func.coalesce(func.sum(Entry.delta_available), 0)).where(
        Entry.account_id == account_id, Entry.id >= before
    )
    return now - later.scalar_subquery()


def _with_balances(rows: Sequence[Any]) -> list[Line]:
    found = []
    balance = int(rows[0].available_then) if rows else 0
    for row in rows:
        found.append(replace(line(row), balance=balance))
        balance -= row.delta_available
    return found


def by_day(account_id: int, days: int = DAYS) -> list[Day]:
    """What is charged or still held for the jobs of each of the last days, oldest first, today last."""
    today = session.scalars(select(func.current_date())).one()
    first = today - timedelta(days=days - 1)
    spent = {
        row.day: row.committed
        for row in session.execute(
            select(DailySpend.day, DailySpend.committed).where(
                DailySpend.account_id == account_id, DailySpend.day >= first
            )
        )
    }
    return [Day(day, spent.get(day, 0)) for day in (first + timedelta(days=n) for n in range(days))]


def everybody_by_day(days: int = DAYS) -> list[Day]:
    """The same for the whole installation."""
    return by_day(INSTALLATION, days)


# A result is kept when it is in the library for good: it neither expires nor lies in the trash.
_BY_TOOL = text("""
    SELECT tool_slug, count(*) AS jobs, sum(charged)::bigint AS charged, sum(held)::bigint AS held,
           sum(delivered)::bigint AS made, sum(kept)::bigint AS kept
    FROM (
        SELECT j.tool_slug, j.delivered,
               CASE h.state WHEN 'held' THEN h.amount ELSE 0 END AS held,
               h.captured - h.refunded AS charged,
               (SELECT count(*) FROM outputs o JOIN assets a ON a.id = o.asset_id
                WHERE o.job_id = h.job_id AND a.expires_at IS NULL
                  AND a.trashed_at IS NULL AND a.deleting_at IS NULL) AS kept
        FROM holds h JOIN jobs j ON j.id = h.job_id
        WHERE h.account_id = :account AND h.day > current_date - CAST(:days AS int)
    ) AS spent
    GROUP BY tool_slug ORDER BY sum(charged + held) DESC, tool_slug""")


def by_tool(account_id: int, days: int = DAYS) -> list[ToolSpend]:
    """What each tool cost in the last days, the dearest first. Its sum is that of `by_day`."""
    rows = session.execute(_BY_TOOL, {"account": account_id, "days": days})
    return [ToolSpend(row.tool_slug, row.jobs, row.charged, row.held, row.made, row.kept) for row in rows]


def day_ends_at() -> datetime:
    """When today's limit counts anew: midnight UTC, by the database's clock."""
    today = session.scalars(select(func.current_date())).one()
    return datetime.combine(today + timedelta(days=1), time.min, UTC)
