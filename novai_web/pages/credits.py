"""Your credits: what there is, what it went on, and every entry of the ledger explained."""

from dataclasses import dataclass

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from novai_web import credits, tools
from novai_web.credits import exporting, reports
from novai_web.pages import answers, charts
from novai_web.web import limits, spreadsheets, who

bp = Blueprint("credits", __name__, url_prefix="/credits")

# Shares of the daily limit from which on a page says so, with how serious that is.
WARNINGS = ((0.9, "failed"), (0.7, "waiting"))


@dataclass(frozen=True)
class Entries:
    """One page of entries, as every list of pages is."""

    items: list[reports.Line]
    next_cursor: str | None


@bp.get("")
def show() -> ResponseReturnValue:
    account = who.account()
    balance = credits.balance(account, who.settings())
    spent = reports.by_tool(account.id)
    return render_template(
        "credits/credits.html",
        balance=balance,
        warning=warning(balance.spent_today, balance.daily_limit),
        day_ends_at=reports.day_ends_at(),
        chart=charts.by_day(reports.by_day(account.id)),
        spent=[(tools.find(each.tool), each) for each in spent],
        per_kept=per_kept(spent),
        page=entries(account.id, shown()),
        query={"show": shown()},
    )


@bp.get("/entries.csv", endpoint="csv")
@limits.reads
def download() -> ResponseReturnValue:
    return spreadsheets.answer("credits.csv", exporting.of_account(who.account().id))


def shown() -> str:
    """What the list of entries is narrowed to, in the address."""
    asked = request.args.get("show", "")
    return asked if asked in reports.SHOWN else ""


def entries(account_id: int, show: str) -> Entries:
    found = reports.entries(account_id, show=show, before=answers.number("cursor"), limit=reports.LISTED + 1)
    items = found[: reports.LISTED]
    return Entries(items, str(items[-1].id) if len(found) > reports.LISTED else None)


def warning(spent: int, limit: int) -> str | None:
    """How serious it is that so much of a day's limit is spent; None while it is not."""
    share = spent / limit if limit else 1.0
    return next((tone for least, tone in WARNINGS if share >= least), None)


def per_kept(spent: list[reports.ToolSpend]) -> float | None:
    """Credits for each result that was kept, over all tools; None while nothing was."""
    kept = sum(each.kept for each in spent)
    return sum(each.charged for each in spent) / kept if kept else None
