"""Who is asking: the account behind a session cookie or a bearer token."""

from typing import cast

from flask import Flask, Request, current_app, g, has_request_context, request
from flask import session as cookie
from flask_login import LoginManager, current_user, login_user, logout_user

from novai_web import accounts
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.engines.store import Store, open_store
from novai_web.errors import Forbidden, SignInNeeded

login = LoginManager()


class Visitor:
    """An account as Flask-Login knows it. Its id carries the session version, so raising that signs it out."""

    is_authenticated = True
    is_active = True
    is_anonymous = False

    def __init__(self, account: Account) -> None:
        self.account = account

    def get_id(self) -> str:
        return f"{self.account.id}.{self.account.session_version}"


def register(app: Flask) -> None:
    login.init_app(app)
    login.user_loader(_from_session)
    login.request_loader(_from_token)


def _from_session(visitor_id: str) -> Visitor | None:
    if bearer(request) is not None:
        return None  # who shows a token is asking in its name alone
    number, _, version = visitor_id.partition(".")
    if not (number.isdecimal() and version.isdecimal()):
        return None
    account = accounts.by_session(int(number), int(version))
    return Visitor(account) if account else None


def _from_token(asked: Request) -> Visitor | None:
    token = bearer(asked)
    if token is None:
        return None
    account = accounts.by_access_token(token, settings())
    return Visitor(account) if account else None


def bearer(asked: Request) -> str | None:
    """The bearer token of a request to the API, if it carries one."""
    scheme, _, token = asked.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and asked.path.startswith(("/api/", "/media/")) else None


def settings() -> Settings:
    return cast(Settings, current_app.extensions["novai_settings"])


def store() -> Store:
    """The file storage of this installation, opened once a process."""
    found: Store | None = current_app.extensions.get("novai_store")
    if found is None:
        found = current_app.extensions["novai_store"] = open_store(settings())
    return found


def signed_in() -> bool:
    return has_request_context() and bool(current_user.is_authenticated)


def account() -> Account:
    """The account that is asking. Raises SignInNeeded for a stranger."""
    if not current_user.is_authenticated:
        raise SignInNeeded
    return cast(Account, current_user.account)


def admin() -> Account:
    """The administrator who is asking. Raises SignInNeeded or Forbidden for anyone else."""
    found = account()
    if not found.is_admin:
        raise Forbidden
    return found


def sign_in(found: Account) -> None:
    """Start a session for `found`, leaving nothing of an older session behind."""
    sign_out()
    cookie.permanent = True
    login_user(Visitor(found))


def sign_out() -> None:
    logout_user()
    cookie.clear()
    g.pop("csrf_token", None)


def address() -> str:
    return request.remote_addr or "unknown"
