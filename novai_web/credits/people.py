"""Everybody's credits side by side, for an administrator: balances, today's spend, limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from novai_web.accounts.models import Account
from novai_web.config import Settings
from novai_web.credits.models import INSTALLATION, DailySpend, Wallet
from novai_web.db import session
from novai_web.errors import InvalidInput, NotFound
from novai_web.library import words
from novai_web.library.paging import Order, Page, page

Column = Literal["name", "joined", "credits", "held", "today", "limit"]
COLUMNS: tuple[Column, ...] = get_args(Column)
SEARCH_WORDS_MAX = 10


@dataclass(frozen=True)
class Standing:
    """How one account stands."""

    account: Account
    available: int
    held: int
    spent_today: int
    daily_limit: int


@dataclass(frozen=True)
class Totals:
    """How all accounts stand together, and the installation's own day."""

    accounts: int
    available: int
    held: int
    spent_today: int
    daily_limit: int


def find(account_id: int) -> Account:
    """One account, whoever it is. Only for an administrator. Raises NotFound."""
    found = session.get(Account, account_id)
    if found is None:
        raise NotFound
    return found


def listed(settings: Settings, q: str = "", sort: str = "name", cursor: str | None = None) -> Page[Standing]:
    """One page of the accounts whose name or e-mail has every word of `q`. `sort` is one of COLUMNS, with a minus in
    front for falling. Raises InvalidInput for a bad cursor."""
    found = page(_searched(q), _order(sort, settings), cursor)
    return Page(_standings(found.items, settings), found.next_cursor, found.total)


def _order(sort: str, settings: Settings) -> Order:
    name = sort.removeprefix("-")
    if name not in COLUMNS:
        raise InvalidInput({"sort": f"Choose one of: {', '.join(COLUMNS)}; with a minus in front, the other way."})
    keys: dict[str, ColumnElement[Any] | InstrumentedAttribute[Any]] = {
        "name": func.lower(Account.name),
        "joined": Account.id,
        "credits": func.coalesce(Wallet.available, 0),
        "held": func.coalesce(Wallet.held, 0),
        "today": func.coalesce(DailySpend.committed, 0),
        "limit": func.coalesce(Account.daily_credits, settings.account_daily_credits),
    }
    return Order(sort, keys[name], Account.id, sort.startswith("-"), str if name == "name" else int)


def totals(settings: Settings) -> Totals:
    accounts = session.scalars(select(func.count()).select_from(Account)).one()
    wallets = session.execute(
        select(func.coalesce(func.sum(Wallet.available), 0), func.coalesce(func.sum(Wallet.held), 0))
    ).one()
    today = session.scalar(
        select(DailySpend.committed).where(DailySpend.account_id == INSTALLATION, DailySpend.day == func.current_date())
    )
    return Totals(accounts, int(wallets[0]), int(wallets[1]), today or 0, settings.daily_cost_limit_cents)


def _searched(q: str) -> Select[tuple[Account]]:
    """Each account has at most one wallet and one row for today, so that joining them doubles nobody."""
    query = (
        select(Account)
        .outerjoin(Wallet, Wallet.account_id == Account.id)
        .outerjoin(DailySpend, (DailySpend.account_id == Account.id) & (DailySpend.day == func.current_date()))
    )
    for word in words.plain(q).split()[:SEARCH_WORDS_MAX]:
        like = words.pattern(word)
        query = query.where(or_(Account.name.ilike(like, escape="\\"), Account.email.ilike(like, escape="\\")))
    return query


def _standings(accounts: Sequence[Account], settings: Settings) -> list[Standing]:
    """The numbers of many accounts, in two queries."""
    ids = [account.id for account in accounts]
    wallets = {
        wallet.account_id: wallet for wallet in session.scalars(select(Wallet).where(Wallet.account_id.in_(ids)))
    }
    today = select(DailySpend.account_id, DailySpend.committed).where(
        DailySpend.account_id.in_(ids), DailySpend.day == func.current_date()
    )
    spent = dict(session.execute(today).tuples().all())
    found = []
    for account in accounts:
        wallet = wallets.get(account.id)
        limit = settings.account_daily_credits if account.daily_credits is None else account.daily_credits
        found.append(
            Standing(
                account=account,
                available=wallet.available if wallet else 0,
                held=wallet.held if wallet else 0,
                spent_today=spent.get(account.id, 0),
                daily_limit=limit,
            )
        )
    return found
