"""Credits: a price known before, held on submit, captured once for what was delivered."""

from novai_web.credits.ledger import (
    CREDITS_MAX,
    REASON_CHARACTERS_MAX,
    Balance,
    Lost,
    adjust,
    balance,
    grant,
    open_wallet,
    refund,
    reserve,
    set_daily_limit,
    settle,
    top_up,
)
from novai_web.credits.models import DailySpend, Entry, Hold, Wallet

__all__ = [
    "CREDITS_MAX",
    "REASON_CHARACTERS_MAX",
    "Balance",
    "DailySpend",
    "Entry",
    "Hold",
    "Lost",
    "Wallet",
    "adjust",
    "balance",
    "grant",
    "open_wallet",
    "refund",
    "reserve",
    "set_daily_limit",
    "settle",
    "top_up",
]
