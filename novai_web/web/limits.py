"""How often one account or one address may ask."""

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import Flask, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from werkzeug.exceptions import HTTPException

from novai_web import accounts
from novai_web.config import Settings
from novai_web.web import who


def _asker() -> str:
    return f"account:{who.account().id}" if who.signed_in() else f"address:{get_remote_address()}"


limiter = Limiter(
    key_func=_asker,
    strategy="sliding-window-counter",
    in_memory_fallback_enabled=True,
    headers_enabled=True,
)


def register(app: Flask, settings: Settings) -> None:
    app.config["RATELIMIT_STORAGE_URI"] = limits_url(settings.redis_url) or "memory://"
    app.config["RATELIMIT_KEY_PREFIX"] = "novai"
    app.before_request(_know_who_asks)
    # Without Redis each process counts for itself, and the limits stay what they are.
    limiter.init_app(app)


def _know_who_asks() -> None:
    """Before the limiter asks: it would take an error of the database for one of its own storage."""
    if request.endpoint not in (None, "static") and request.blueprint != "health":
        who.signed_in()


def limits_url(redis_url: str) -> str:
    """`limits` spells a unix socket `redis+unix://`, redis-py spells it `unix://`; ours is redis-py's."""
    return redis_url.replace("unix://", "redis+unix://", 1)


def email_in_body() -> str:
    """The e-mail that a sign-in tries, so that one account cannot be guessed at from many addresses.

    However it is spelled: an address has many spellings that mean the same account.
    """
    try:
        body: Any = request.get_json(silent=True) if request.is_json else request.form
    except HTTPException:
        return "email:unreadable"  # the view refuses it; an error in here would pass for one of the storage
    email = str(body.get("email") or "") if hasattr(body, "get") else ""
    named = accounts.normal_email(email) or email[:254].strip().lower()
    return f"email:{hashlib.sha256(named.encode('utf-8', 'replace')).hexdigest()}"


View = TypeVar("View", bound=Callable[..., Any])


def sign_in_limits(view: View) -> View:
    """A few tries for each address and each e-mail address, on whichever of the doors."""
    return cast(View, _tries_of_address(_tries_of_email(view)))


def _setting(name: str) -> Callable[[], str]:
    return lambda: str(getattr(who.settings(), name))


_tries_of_address = limiter.shared_limit(_setting("sign_in_limit"), scope="sign-in", key_func=get_remote_address)
_tries_of_email = limiter.shared_limit(_setting("sign_in_limit"), scope="sign-in", key_func=email_in_body)
# Who has got hold of somebody's open session must not find the password by trying.
password_tries = limiter.shared_limit(_setting("sign_in_limit"), scope="password", key_func=_asker)
changes = limiter.shared_limit(_setting("api_limit"), scope="changes")
uploads = limiter.shared_limit(_setting("upload_limit"), scope="uploads")
reads = limiter.shared_limit(_setting("read_limit"), scope="reads")
# Vendors ring once or a few times for each run; what is refused costs a signature to check.
webhooks = limiter.shared_limit("600 per minute", scope="webhooks")
polls = limiter.shared_limit("120 per minute", scope="polls")
