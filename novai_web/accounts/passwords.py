"""Passwords are kept as Argon2id hashes and nothing else."""

import unicodedata
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from novai_web.accounts.models import Account
from novai_web.accounts.rules import PASSWORD_CHARS_MAX
from novai_web.config import Settings


def hashed(password: str, settings: Settings) -> str:
    """The hash to keep. Takes about a tenth of a second on purpose."""
    return _hasher(settings).hash(_prepared(password))


def matches(password: str, kept: str | None, settings: Settings) -> bool:
    """Whether `password` is the one behind `kept`. Takes as long when there is no such account (None)."""
    if len(password) > PASSWORD_CHARS_MAX:
        return False
    if kept is None:
        hashed(password, settings)
        return False
    try:
        return _hasher(settings).verify(kept, _prepared(password))
    except (VerificationError, InvalidHashError):
        return False


def refresh(account: Account, password: str, settings: Settings) -> None:
    """Hash again what was hashed with other parameters; only at sign-in do we know the password."""
    if _hasher(settings).check_needs_rehash(account.password_hash):
        account.password_hash = hashed(password, settings)


def _prepared(password: str) -> bytes:
    """The same keys give the same bytes on every keyboard and system (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _hasher(settings: Settings) -> PasswordHasher:
    return _hasher_of(settings.password_rounds, settings.password_memory_kib)


@lru_cache
def _hasher_of(rounds: int, memory_kib: int) -> PasswordHasher:
    return PasswordHasher(time_cost=rounds, memory_cost=memory_kib)
