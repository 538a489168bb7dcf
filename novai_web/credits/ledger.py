"""Credits move here and nowhere else: granted, reserved for a job, captured once, released."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from novai_web.accounts.models import Account
from novai_web.config import Settings
from novai_web.credits.models import INSTALLATION, DailySpend, Entry, Hold, Wallet
from novai_web.db import session
from novai_web.errors import DailyLimitReached, NotEnoughCredits


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
    wallet = session.get(Wallet, account.id)
    today = session.scalar(
        select(DailySpend.committed).where(DailySpend.account_id == account.id, DailySpend.day == func.current_date())
    )
    limit = _daily_limit(account, settings)
    if wallet is None:
        return Balance(0, 0, today or 0, limit)
    return Balance(wallet.available, wallet.held, today or 0, limit)


def reserve(account: Account, amounts: Mapping[int, int], settings: Settings) -> None:
    """Hold credits for jobs, by their ids, in the transaction that makes them: all of it or nothing.

    Raises DailyLimitReached or NotEnoughCredits, and then nothing has moved once that transaction is
    rolled back. The order is always installation, account, wallet, after every lock on jobs, so that two
    transactions cannot deadlock.
    """
    priced = {job_id: amount for job_id, amount in amounts.items() if amount}
    total = sum(priced.values())
    if not total:
        return
    day: date = session.scalars(select(func.current_date())).one()
    _commit_to_day(INSTALLATION, day, total, settings.daily_cost_limit_cents)
    _commit_to_day(account.id, day, total, _daily_limit(account, settings))
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
    for counted in (INSTALLATION, account_id) if unused else ():
        session.execute(
            text("UPDATE daily_spend SET committed = committed - :unused WHERE account_id = :account AND day = :day"),
            {"unused": unused, "account": counted, "day": day},
        )
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


def _daily_limit(account: Account, settings: Settings) -> int:
    return settings.account_daily_credits if account.daily_credits is None else account.daily_credits


def _commit_to_day(account_id: int, day: date, amount: int, cap: int) -> None:
    fresh = insert(DailySpend).values(account_id=account_id, day=day, committed=0, cap=cap)
    session.execute(fresh.on_conflict_do_update(index_elements=["account_id", "day"], set_={"cap": fresh.excluded.cap}))
    fits = session.execute(
        text(
            "UPDATE daily_spend SET committed = committed + :amount"
            " WHERE account_id = :account AND day = :day AND committed + :amount <= cap RETURNING committed"
        ),
        {"amount": amount, "account": account_id, "day": day},
    ).first()
    if fits is None:
        raise DailyLimitReached


def _write(
    account_id: int,
    kind: str,
    *,
    key: str,
    job_id: int | None = None,
    available: int = 0,
    held: int = 0,
    spent: int = 0,
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
        )
    )
