"""Credits: a price known before, held on submit, captured once for what was delivered."""

from novai_web.credits.ledger import Balance, balance, open_wallet, reserve, settle
from novai_web.credits.models import DailySpend, Entry, Hold, Wallet

__all__ = ["Balance", "DailySpend", "Entry", "Hold", "Wallet", "balance", "open_wallet", "reserve", "settle"]
