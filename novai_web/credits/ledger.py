"""Credits move here and nowhere else: granted, reserved for a job, captured once, released, given back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol
from uuid import uuid4

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from novai_web.accounts.models import Account
from novai_web.config import Settings
from novai_web.credits.models import INSTALLATION, DailySpend, Entry, Hold, Wallet
from novai_web.db import session
from novai_web.errors import DailyLimitReached, IdempotencyMismatch, InvalidInput, NotEnoughCredits
from novai_web.library import words

CREDITS_MAX = 1_000_000_000  # moved by hand at once
REASON_CHARACTERS_MAX = 200
LOST_COUNTS = (
    "Today's spending limit is reached: what vendors took for jobs that came to nothing, or were cancelled too late, "
    "counts too. Nothing was started; it is free again at midnight UTC."
)


class Charged(Protocol):
    """A job, as far as the ledger knows it."""

    @property
    def id(self) -> int: ...


@dataclass(frozen=True)
class Balance:
    available: int
    held: int
    spent_today: int
    daily_limit: int

    @property
    def share_of_day(self) -> float:
        """Today's spend, holds included, as a share of the limit: 0 to 1."""
        return min(1.0, self.spent_today / self.daily_limit) if self.daily_limit else 1.0


def open_wallet(account: Account, *, granted: int) -> None:
    """Give a new account its wallet, once."""
    session.add(Wallet(account_id=account.id, available=granted, held=0))
    if granted:
        _write(account.id, "grant", key=f"grant:opening:{account.id}", available=granted)


def balance(account: Account, settings: Settings) -> Balance:
    wallet = session.get(Wallet, account.id, populate_existing=True)  # statements moved it, not this object
    today = session.scalar(
        select(DailySpend.committed).where(DailySpend.account_id == account.id, DailySpend.day == func.current_date())
    )
    limit = _daily_limit(account, settings)
    if wallet is None:
        return Balance(0, 0, today or 0, limit)
    return Balance(wallet.available, wallet.held, today or 0, limit)


@dataclass(frozen=True)
class Lost:
    """What vendors took today for jobs that came to nothing, in credits: one account's, and everybody's."""

    own: int = 0
    everybodys: int = 0


NOTHING_LOST = Lost()


def reserve(account: Account, amounts: Mapping[int, int], settings: Settings, lost: Lost = NOTHING_LOST) -> None:
    """Hold credits for jobs, by their ids, in the transaction that makes them: all of it or nothing. What was `lost`
    today is not charged to anybody, but it is spent, and the limits of the day are about that too.

    Raises DailyLimitReached or NotEnoughCredits, and then nothing has moved once that transaction is
    rolled back. The order is always installation, account, wallet, after every lock on jobs, so that two
    transactions cannot deadlock.
    """
    priced = {job_id: amount for job_id, amount in amounts.items() if amount}
    total = sum(priced.values())
    if not total:
        return
    day: date = session.scalars(select(func.current_date())).one()
    _commit_to_day(INSTALLATION, day, total, settings.daily_cost_limit_cents, lost.everybodys)
    _commit_to_day(account.id, day, total, _daily_limit(account, settings), lost.own)
    taken = session.execute(
        update(Wallet)
        .where(Wallet.account_id == account.id, Wallet.available >= total)
        .values(available=Wallet.available - total, held=Wallet.held + total)
        .returning(Wallet.account_id)
        .execution_options(synchronize_session=False)
    ).first()
    if taken is None:
        raise NotEnoughCredits
    for job_id, amount in priced.items():
        session.add(Hold(job_id=job_id, account_id=account.id, day=day, amount=amount))
        _write(account.id, "reserve", key=f"reserve:{job_id}", job_id=job_id, available=-amount, held=amount)
    session.flush()


def settle(job_id: int, actual: int) -> int:
    """Capture `actual` of a job's hold and release the rest, in the transaction that ends the job.

    Returns what was captured. A job without a hold, or settled before, moves nothing: no row means done.
    """
    row = session.execute(
        text(
            "UPDATE holds SET state = CASE WHEN :actual > 0 THEN 'captured' ELSE 'released' END, captured = :actual"
            " WHERE job_id = :job AND state = 'held' RETURNING account_id, amount, day"
        ),
        {"job": job_id, "actual": actual},
    ).first()
    if row is None:
        return 0
    account_id, amount, day = row
    unused = amount - actual
    if unused:
        _take_off_day(account_id, day, unused)
    session.execute(
        text("UPDATE wallets SET available = available + :unused, held = held - :amount WHERE account_id = :account"),
        {"unused": unused, "amount": amount, "account": account_id},
    )
    if actual:
        _write(account_id, "capture", key=f"capture:{job_id}", job_id=job_id, held=-actual, spent=actual)
    if unused:
        _write(account_id, "release", key=f"release:{job_id}", job_id=job_id, available=unused, held=-unused)
    session.flush()
    return actual


def refund(job: Charged, *, by: Account, reason: str) -> int:
    """Give back what a job was charged, in the caller's transaction; its day is reduced by it too.

    Returns what was given back: 0 for a job that cost nothing, or whose price was given back before. Raises
    InvalidInput without a reason.
    """
    note = _reason(reason)
    row = session.execute(
        text(
            "UPDATE holds SET refunded = captured WHERE job_id = :job AND captured > 0 AND refunded = 0"
            " RETURNING account_id, captured, day"
        ),
        {"job": job.id},
    ).first()
    if row is None:
        return 0
    account_id, amount, day = row
    _take_off_day(account_id, day, amount)
    _give(account_id, amount)
    key = f"refund:{job.id}"
    _write(account_id, "refund", key=key, job_id=job.id, available=amount, spent=-amount, by=by, note=note)
    session.flush()
    return int(amount)


def grant(account: Account, amount: int, *, by: Account, reason: str, key: str | None = None) -> None:
    """Give credits by hand. The same `key` of the same person gives them once. Raises InvalidInput."""
    if amount < 1:
        raise InvalidInput({"amount": "Give at least one credit."})
    _move_by_hand(account, "grant", amount, by, _reason(reason), key)


def adjust(account: Account, delta: int, *, by: Account, reason: str, key: str | None = None) -> None:
    """Give or take credits by hand, never more than are available. The same `key` does it once. Raises InvalidInput."""
    if not delta:
        raise InvalidInput({"amount": "Say by how much, above or below zero."})
    _move_by_hand(account, "adjust", delta, by, _reason(reason), key)


def set_daily_limit(account: Account, limit: int | None, *, by: Account, reason: str, key: str | None = None) -> None:
    """Change what an account may spend a day; None: what the installation says. The ledger says who did it, and why."""
    if limit is not None and not 0 <= limit <= CREDITS_MAX:
        raise InvalidInput({"limit": f"Give a number from 0 to {CREDITS_MAX:,}, or none."})
    before, after = ("the installation's" if each is None else f"{each:,}" for each in (account.daily_credits, limit))
    note = f"Daily limit {before} → {after}: {_reason(reason)}"
    if _write_once(account.id, "adjust", 0, _key_by_hand("limit", by, key), by=by, note=note):
        account.daily_credits = limit
        session.flush()


def top_up(account: Account, amount: int, key: str) -> bool:
    """Credits that were paid for. `key` names the payment: the second time it is heard of, nothing moves.

    Returns whether it moved. Raises IdempotencyMismatch when the same payment is said to be another's, or of
    another amount.
    """
    if not 1 <= amount <= CREDITS_MAX:
        raise InvalidInput({"amount": f"Top up between 1 and {CREDITS_MAX:,} credits."})
    is_new = _write_once(account.id, "topup", amount, f"topup:{key}")
    if is_new:
        _give(account.id, amount)
    return is_new


def _move_by_hand(account: Account, kind: str, amount: int, by: Account, note: str, key: str | None) -> None:
    """The entry first: whoever comes second with its key waits for the first, and then moves nothing."""
    if abs(amount) > CREDITS_MAX:
        raise InvalidInput({"amount": f"Move at most {CREDITS_MAX:,} credits at once."})
    if _write_once(account.id, kind, amount, _key_by_hand(kind, by, key), by=by, note=note):
        _give(account.id, amount) if amount > 0 else _take(account, -amount)


def _key_by_hand(what: str, by: Account, key: str | None) -> str:
    return f"{what}:{by.id}:{key}" if key else f"{what}:{uuid4()}"


def _reason(reason: str) -> str:
    """Why, in a few words that a page can show. Raises InvalidInput."""
    said = words.plain(reason)
    if not words.is_visible(said):
        raise InvalidInput({"reason": "Say why; the account's owner reads it."})
    if len(said) > REASON_CHARACTERS_MAX:
        raise InvalidInput({"reason": f"Use at most {REASON_CHARACTERS_MAX} characters."})
    return said


def _give(account_id: int, amount: int) -> None:
    fresh = insert(Wallet).values(account_id=account_id, available=amount, held=0)
    more = {"available": Wallet.available + amount}
    session.execute(fresh.on_conflict_do_update(index_elements=["account_id"], set_=more))


def _take(account: Account, amount: int) -> None:
    taken = session.execute(
        update(Wallet)
        .where(Wallet.account_id == account.id, Wallet.available >= amount)
        .values(available=Wallet.available - amount)
        .returning(Wallet.account_id)
        .execution_options(synchronize_session=False)
    ).first()
    if taken is None:
        left = session.scalar(select(Wallet.available).where(Wallet.account_id == account.id)) or 0
        raise InvalidInput({"amount": f"{account.name} has only {left:,} credits to take away. Nothing was changed."})


def _daily_limit(account: Account, settings: Settings) -> int:
    return settings.account_daily_credits if account.daily_credits is None else account.daily_credits


def _commit_to_day(account_id: int, day: date, amount: int, cap: int, lost: int) -> None:
    fresh = insert(DailySpend).values(account_id=account_id, day=day, committed=0, cap=cap)
    session.execute(fresh.on_conflict_do_update(index_elements=["account_id", "day"], set_={"cap": fresh.excluded.cap}))
    fits = session.execute(
        text(
            "UPDATE daily_spend SET committed = committed + :amount"
            " WHERE account_id = :account AND day = :day AND committed + :amount + :lost <= cap RETURNING committed"
        ),
        {"amount": amount, "account": account_id, "day": day, "lost": lost},
    ).first()
    if fits is None:
        refused = DailyLimitReached(LOST_COUNTS if lost else None)
        refused.retry_after_seconds = _seconds_of_day_left()
        raise refused


def _seconds_of_day_left() -> int:
    left = session.execute(text("SELECT extract(epoch FROM CAST(current_date + 1 AS timestamptz) - now())"))
    return max(1, math.ceil(float(left.scalar_one())))


def _take_off_day(account_id: int, day: date, amount: int) -> None:
    """A day that was committed to is relieved, in the order in which days are always locked."""
    for counted in (INSTALLATION, account_id):
        session.execute(
            text("UPDATE daily_spend SET committed = committed - :amount WHERE account_id = :account AND day = :day"),
            {"amount": amount, "account": counted, "day": day},
        )


def _write(
    account_id: int,
    kind: str,
    *,
    key: str,
    job_id: int | None = None,
    available: int = 0,
    held: int = 0,
    spent: int = 0,
    by: Account | None = None,
    note: str | None = None,
) -> None:
    session.add(
        Entry(
            account_id=account_id,
            job_id=job_id,
            kind=kind,
            key=key,
            delta_available=available,
            delta_held=held,
            delta_spent=spent,
            by_id=by.id if by else None,
            note=note,
        )
    )


def _write_once(
    account_id: int, kind: str, available: int, key: str, *, by: Account | None = None, note: str | None = None
) -> bool:
    """Write an entry unless there is one with its key. False: there was, and it says the same."""
    fresh = insert(Entry).values(
        account_id=account_id,
        kind=kind,
        key=key,
        delta_available=available,
        by_id=by.id if by else None,
        note=note,
    )
    if session.scalar(fresh.on_conflict_do_nothing(index_elements=["key"]).returning(Entry.id)) is not None:
        return True
    known = session.scalars(select(Entry).where(Entry.key == key)).one()
    if (known.account_id, known.kind, known.delta_available) != (account_id, kind, available):
        raise IdempotencyMismatch
    return False
