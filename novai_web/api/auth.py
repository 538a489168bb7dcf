"""Signing in to the JSON API, and one's own profile."""

from datetime import datetime
from typing import Literal

from flask import request
from pydantic import ConfigDict, Field

from novai_web import accounts
from novai_web.accounts import Account, Tokens
from novai_web.api.door import Door, Shape
from novai_web.db import transaction
from novai_web.errors import SignInNeeded
from novai_web.web import limits, who

door = Door("auth")


class SecretShape(Shape):
    """A body with a password or token in it, which must never appear in an error or a log."""

    model_config = ConfigDict(hide_input_in_errors=True)


class NewAccount(SecretShape):
    email: str = Field(description="What you sign in with.", examples=["ada@example.com"])
    password: str = Field(description="At least 10 characters.", json_schema_extra={"format": "password"})
    name: str = Field(description="What others see.", examples=["Ada"])


class SignIn(SecretShape):
    email: str = Field(examples=["ada@example.com"])
    password: str = Field(json_schema_extra={"format": "password"})


class RefreshGiven(SecretShape):
    refresh_token: str


class SignOut(SecretShape):
    refresh_token: str | None = Field(None, description="Without it, the access token in the header is signed out.")


class ProfileGiven(Shape):
    name: str


class User(Shape):
    id: int
    email: str
    name: str
    role: str
    created_at: datetime


class SignedIn(Shape):
    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = Field("Bearer")
    expires_in: int = Field(description="Life of the access token, in seconds.")
    user: User


@door.post("/auth/register", takes=NewAccount, gives=SignedIn, status=201, public=True, limit=limits.sign_in_limits)
def register(given: NewAccount) -> SignedIn:
    """Make an account and sign in. The first account is the administrator; later ones if sign-up is open."""
    settings = who.settings()
    account = accounts.register(email=given.email, password=given.password, name=given.name, settings=settings)
    return _signed_in(account, accounts.issue(account, settings))


@door.post("/auth/login", takes=SignIn, gives=SignedIn, public=True, limit=limits.sign_in_limits)
def log_in(given: SignIn) -> SignedIn:
    """Sign in with e-mail and password."""
    settings = who.settings()
    account = accounts.check_sign_in(email=given.email, password=given.password, settings=settings)
    return _signed_in(account, accounts.issue(account, settings))


@door.post("/auth/refresh-token", takes=RefreshGiven, gives=SignedIn, public=True, streams=True)
def refresh_token(given: RefreshGiven) -> SignedIn:
    """Exchange a refresh token for new tokens. Each is good once; using one twice signs its whole family out."""
    with transaction():  # also when it is refused, because then its family may have been ended
        found = accounts.rotate(given.refresh_token, who.settings())
    if found is None:
        raise SignInNeeded("This refresh token is used, expired or signed out. Sign in again.")
    return _signed_in(*found)


@door.post("/auth/logout", takes=SignOut, status=204, public=True)
def log_out(given: SignOut) -> None:
    """Sign out: the access and refresh tokens of this sign-in stop working at once."""
    access = who.bearer(request)
    if given.refresh_token is None and access is None:
        raise SignInNeeded("Send the refresh token, or the access token as a bearer, to sign it out.")
    accounts.revoke(who.settings(), refresh=given.refresh_token, access=access)


@door.get("/users/profile", gives=User)
def profile(account: Account) -> User:
    """Your own account."""
    return User.model_validate(account)


@door.put("/users/profile", takes=ProfileGiven, gives=User)
def change_profile(account: Account, given: ProfileGiven) -> User:
    """Change your name."""
    accounts.rename(account, given.name)
    return User.model_validate(account)


def _signed_in(account: Account, tokens: Tokens) -> SignedIn:
    return SignedIn(
        access_token=tokens.access,
        refresh_token=tokens.refresh,
        expires_in=tokens.seconds,
        user=User.model_validate(account),
    )
