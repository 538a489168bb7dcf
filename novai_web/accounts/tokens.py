"""Tokens of the JSON API: a short-lived one that asks, and a chain of long-lived ones, each good for the next.

Every pair belongs to a family, which begins at a sign-in. A family ends when it is signed out, or when one
of its refresh tokens is used twice, because then somebody has copied it; all its tokens end with it.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from sqlalchemy import ColumnElement, delete, exists, select, update

from novai_web.accounts.models import Account, RefreshToken
from novai_web.accounts.sessions import hold
from novai_web.config import Settings
from novai_web.db import now, session

ALGORITHM = "HS256"
ISSUER = "novai"
AUDIENCE = "novai-api"
CLOCKS_APART_SECONDS = 10  # between the machines of one installation
CLAIMS = ["iss", "aud", "sub", "iat", "exp", "ver", "fam"]


@dataclass(frozen=True)
class Tokens:
    access: str
    refresh: str
    seconds: int


def issue(account: Account, settings: Settings) -> Tokens:
    """The first tokens of a new family. Raises SignInNeeded if the account changed since its password was checked."""
    return _pair(hold(account), secrets.token_hex(16), settings)


def rotate(token: str, settings: Settings) -> tuple[Account, Tokens] | None:
    """The next tokens for a refresh token, which is used up by this.

    None when it is no good. If that is because it was used before, its family is ended, so commit in any case.
    """
    account = _hold_owner(RefreshToken.token_hash == _hash(token))
    if account is None or account.disabled_at is not None:
        return None
    family = session.scalar(
        update(RefreshToken)
        .where(
            RefreshToken.token_hash == _hash(token),
            RefreshToken.used_at.is_(None),
            RefreshToken.revoked_at.is_(None),
            RefreshToken.expires_at > now(),
        )
        .values(used_at=now())
        .returning(RefreshToken.family)
        .execution_options(synchronize_session=False)
    )
    if family is None:
        used = select(RefreshToken.family).where(
            RefreshToken.token_hash == _hash(token), RefreshToken.used_at.is_not(None)
        )
        _end(session.scalar(used))
        return None
    return account, _pair(account, family, settings)


def revoke(settings: Settings, *, refresh: str | None = None, access: str | None = None) -> None:
    """End the family of a token, whichever of the two is at hand. Ending what has ended, or never was, is fine."""
    if refresh is not None:
        _end(session.scalar(select(RefreshToken.family).where(RefreshToken.token_hash == _hash(refresh))))
    claims = _claims(access, settings) if access is not None else None
    _end(claims["fam"] if claims else None)


def by_access_token(token: str, settings: Settings) -> Account | None:
    """The account that an access token speaks for, unless it was ended, has expired or is not ours."""
    claims = _claims(token, settings)
    if claims is None:
        return None
    ended = exists().where(RefreshToken.family == claims["fam"], RefreshToken.revoked_at.is_not(None))
    return session.scalar(
        select(Account).where(
            Account.id == int(claims["sub"]),
            Account.session_version == claims["ver"],
            Account.disabled_at.is_(None),
            ~ended,
        )
    )


def forget_expired() -> int:
    """Delete refresh tokens that nobody can use any more; how many. Part of the periodic work."""
    gone = session.execute(
        delete(RefreshToken)
        .where(RefreshToken.expires_at < now() - timedelta(days=1))
        .returning(RefreshToken.id)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())


def _pair(account: Account, family: str, settings: Settings) -> Tokens:
    refresh = secrets.token_urlsafe(32)
    expires = now() + timedelta(days=settings.refresh_token_days)
    session.add(RefreshToken(account_id=account.id, family=family, token_hash=_hash(refresh), expires_at=expires))
    session.flush()
    return Tokens(_access(account, family, settings), refresh, settings.access_token_seconds)


def _access(account: Account, family: str, settings: Settings) -> str:
    at = datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(account.id),
        "iat": at,
        "exp": at + timedelta(seconds=settings.access_token_seconds),
        "ver": account.session_version,
        "fam": family,
    }
    return jwt.encode(claims, _key(settings), algorithm=ALGORITHM)


def _claims(token: str, settings: Settings) -> dict[str, Any] | None:
    """What a token says, if it is signed by us with the one algorithm we use, for this API, and has not expired."""
    try:
        found: dict[str, Any] = jwt.decode(
            token,
            _key(settings),
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=CLOCKS_APART_SECONDS,
            options={"require": CLAIMS},
        )
    except jwt.InvalidTokenError:
        return None
    return found


def _key(settings: Settings) -> bytes:
    """A key of its own, so that nothing else signed with the installation's secret can pass for a token."""
    return hmac.digest(settings.secret.encode(), b"novai access token", "sha256")


def _hash(token: str) -> str:
    """Refresh tokens have 256 random bits, so a plain hash keeps them as safe as a slow one."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _hold_owner(which: ColumnElement[bool]) -> Account | None:
    """The tokens of one account change one at a time, or a token made meanwhile could outlive its family."""
    return session.scalar(
        select(Account)
        .join(RefreshToken, RefreshToken.account_id == Account.id)
        .where(which)
        .limit(1)
        .with_for_update(of=Account, key_share=True)
        .execution_options(populate_existing=True)
    )


def _end(family: str | None) -> None:
    if family is None or _hold_owner(RefreshToken.family == family) is None:
        return
    session.execute(
        update(RefreshToken)
        .where(RefreshToken.family == family, RefreshToken.revoked_at.is_(None))
        .values(revoked_at=now())
        .execution_options(synchronize_session=False)
    )
