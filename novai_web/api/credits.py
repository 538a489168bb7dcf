"""Credits over JSON: the balance, every entry explained, and what was spent by day and by tool."""

from datetime import date, datetime
from typing import Literal

from flask import Response
from pydantic import Field

from novai_web import credits
from novai_web.accounts import Account
from novai_web.api.door import Door, Shape
from novai_web.credits import exporting, reports
from novai_web.web import spreadsheets, who
from novai_web.web.paths import ID_MAX

door = Door("credits")


class BalanceOut(Shape):
    available: int
    held: int = Field(description="Set aside for jobs that are not over; charged only for what they deliver.")
    spent_today: int = Field(description="Charged or held for the jobs of today (UTC).")
    daily_limit: int = Field(description="The most that may be spent or held in a day.")
    day_ends_at: datetime = Field(description="When the daily limit counts anew.")


class EntryOut(Shape):
    """One line of the ledger: by how much it changed what is available, held and spent, and why."""

    id: int
    at: datetime
    kind: str = Field(description="grant, topup, adjust, reserve, capture, release or refund.")
    explanation: str
    available: int
    held: int
    spent: int
    balance: int | None = Field(description="What was available after it; null in a list that is narrowed.")
    tool: str | None
    job_id: int | None
    batch_id: int | None
    note: str | None = Field(description="The reason that an administrator gave.")

    @classmethod
    def of(cls, line: reports.Line) -> "EntryOut":
        cause = line.cause
        return cls(
            id=line.id,
            at=line.at,
            kind=line.kind,
            explanation=str(line.said),
            available=line.available,
            held=line.held,
            spent=line.spent,
            balance=line.balance,
            tool=cause.tool if cause else None,
            job_id=cause.id if cause else None,
            batch_id=cause.batch_id if cause else None,
            note=line.note,
        )


class EntriesAsked(Shape):
    show: Literal["", "charged", "added", "held"] = Field("", description="Only entries of this kind.")
    cursor: int | None = Field(None, ge=1, le=ID_MAX)
    limit: int = Field(reports.LISTED, ge=1, le=200)


class EntriesOut(Shape):
    items: list[EntryOut]
    next_cursor: str | None


class DayOut(Shape):
    day: date
    credits: int


class ToolSpendOut(Shape):
    tool: str
    jobs: int
    charged: int
    held: int
    made: int
    kept: int = Field(description="Results that are in the library for good.")
    per_kept: float | None = Field(description="Credits charged for each of those.")


class SpendingAsked(Shape):
    days: int = Field(reports.DAYS, ge=1, le=365, description="How many days back, today included.")


class SpendingOut(Shape):
    """What is charged or still held for the jobs of the last days; both lists have the same sum."""

    days: list[DayOut]
    tools: list[ToolSpendOut]


@door.get("/credits/balance", gives=BalanceOut)
def balance(account: Account) -> BalanceOut:
    """What there is to spend, and how far today's limit reaches."""
    found = credits.balance(account, who.settings())
    return BalanceOut(
        available=found.available,
        held=found.held,
        spent_today=found.spent_today,
        daily_limit=found.daily_limit,
        day_ends_at=reports.day_ends_at(),
    )


@door.get("/credits/entries", asks=EntriesAsked, gives=EntriesOut)
def entries(account: Account, asked: EntriesAsked) -> EntriesOut:
    """Every entry, newest first, with a sentence that explains it."""
    found = reports.entries(account.id, show=asked.show, before=asked.cursor, limit=asked.limit + 1)
    items = found[: asked.limit]
    more = str(items[-1].id) if len(found) > asked.limit else None
    return EntriesOut(items=[EntryOut.of(line) for line in items], next_cursor=more)


@door.get("/credits/entries.csv", media_type="text/csv")
def entries_as_csv(account: Account) -> Response:
    """All entries as CSV, oldest first, safe to open in a spreadsheet."""
    return spreadsheets.answer("credits.csv", exporting.of_account(account.id))


@door.get("/credits/spending", asks=SpendingAsked, gives=SpendingOut)
def spending(account: Account, asked: SpendingAsked) -> SpendingOut:
    """What was spent by day and by tool, and what it cost for each result that was kept."""
    return SpendingOut(
        days=[DayOut.model_validate(each) for each in reports.by_day(account.id, asked.days)],
        tools=[ToolSpendOut.model_validate(each) for each in reports.by_tool(account.id, asked.days)],
    )
