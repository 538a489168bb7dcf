"""The tables of the ledger. What may happen to them is in `ledger.py`; what must hold is in `invariants.py`."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from novai_web.db import Base, Id

# The row of `daily_spend` that counts everybody; no account has this id.
INSTALLATION = 0


class Wallet(Base):
    __tablename__ = "wallets"
    __table_args__ = (
        CheckConstraint("available >= 0", name="available"),
        CheckConstraint("held >= 0", name="held"),
    )

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    available: Mapped[int] = mapped_column(default=0)
    held: Mapped[int] = mapped_column(default=0)


class DailySpend(Base):
    """What is committed on one day: held or captured. The cap is checked by the row itself."""

    __tablename__ = "daily_spend"
    __table_args__ = (CheckConstraint("committed >= 0", name="committed"),)

    account_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    committed: Mapped[int] = mapped_column(default=0)
    cap: Mapped[int]


class Hold(Base):
    """The most one job may cost, set aside. `day` is fixed when it is made, so midnight cannot count it twice."""

    __tablename__ = "holds"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("captured BETWEEN 0 AND amount", name="captured"),
        CheckConstraint("state IN ('held', 'captured', 'released')", name="state"),
        CheckConstraint("refunded BETWEEN 0 AND captured", name="refunded"),
        Index("ix_holds_account_id_day", "account_id", "day"),
    )

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    day: Mapped[date] = mapped_column(Date)
    amount: Mapped[int]
    state: Mapped[str] = mapped_column(default="held")
    captured: Mapped[int] = mapped_column(default=0)
    refunded: Mapped[int] = mapped_column(default=0, server_default="0")


class Entry(Base):
    """One line of the ledger. Append-only (a trigger refuses the rest); `key` makes a repeat impossible.

    `by_id` and `note` say who moved credits by hand, and why.
    """

    __tablename__ = "entries"
    __table_args__ = (
        CheckConstraint("kind IN ('topup', 'grant', 'reserve', 'capture', 'release', 'adjust', 'refund')", name="kind"),
        CheckConstraint(
            "kind IN ('topup', 'grant', 'adjust') OR delta_available + delta_held + delta_spent = 0", name="balanced"
        ),
        Index("ix_entries_account_id_id", "account_id", "id"),
        Index("ix_entries_account_id_kind_id", "account_id", "kind", "id"),
        Index("ix_entries_at_id", "at", "id"),
    )

    id: Mapped[Id]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    kind: Mapped[str]
    delta_available: Mapped[int] = mapped_column(default=0)
    delta_held: Mapped[int] = mapped_column(default=0)
    delta_spent: Mapped[int] = mapped_column(default=0)
    key: Mapped[str] = mapped_column(unique=True)
    by_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    note: Mapped[str | None]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
