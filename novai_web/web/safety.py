"""What every answer carries so that a browser guards our users, and every request so that we can find it again."""

import secrets
from typing import Any
from urllib.parse import urlsplit

import structlog
from flask import Flask, Response, g, request
from flask.json.provider import DefaultJSONProvider
from flask_wtf.csrf import CSRFProtect
from werkzeug.exceptions import SecurityError
from werkzeug.middleware.proxy_fix import ProxyFix

from novai_web.config import MEGABYTE, Settings

csrf = CSRFProtect()

# A form or a JSON body. Files arrive through routes that raise this for themselves.
BODY_BYTES_MAX = 4 * MEGABYTE


def register(app: Flask, settings: Settings) -> None:
    app.secret_key = settings.secret
    secure = settings.public_url.startswith("https://")
    app.config.update(
        SESSION_COOKIE_NAME="__Host-novai" if secure else "novai",
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=30 * 24 * 3600,
        MAX_CONTENT_LENGTH=BODY_BYTES_MAX,
        MAX_FORM_MEMORY_SIZE=BODY_BYTES_MAX,
        MAX_FORM_PARTS=2000,
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=secure,
    )
    if settings.public_url:
        app.config["TRUSTED_HOSTS"] = [urlsplit(settings.public_url).hostname, "127.0.0.1", "localhost"]
    if settings.proxies:
        count = settings.proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    app.json = _Json(app)
    app.register_error_handler(SecurityError, _refuse_host)
    csrf.init_app(app)
    policy = _content_policy(settings)
    app.before_request(_name_request)

    @app.after_request
    def protect(answer: Response) -> Response:
        return _protect(answer, policy, secure)


def _content_policy(settings: Settings) -> str:
    storage = ""
    if settings.supabase_url:
        parts = urlsplit(settings.supabase_url)
        storage = f" {parts.scheme}://{parts.netloc}"
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "font-src 'self'",
            f"img-src 'self' data: blob:{storage}",
            f"media-src 'self' blob:{storage}",
            f"connect-src 'self'{storage}",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "manifest-src 'self'",
        )
    )


def _name_request() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if given.isascii() and given.isalnum() and len(given) <= 64 else secrets.token_hex(8)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


class _Json(DefaultJSONProvider):
    """A hundred thousand brackets are no JSON of anyone's, and no error of ours."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        try:
            return super().loads(s, **kwargs)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def _refuse_host(error: Exception) -> Response:
    """In plain words and nothing else: for a host that is not ours, no address can be written into a page."""
    return Response("This installation is reached under another address.\n", 400, mimetype="text/plain")


def _protect(answer: Response, policy: str, secure: bool) -> Response:
    answer.headers.setdefault("Content-Security-Policy", policy)
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    answer.headers.setdefault("Referrer-Policy", "same-origin")
    answer.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    answer.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    answer.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
    answer.headers.setdefault("X-Request-Id", g.get("request_id", ""))
    if secure:
        answer.headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
    # What belongs to somebody must not stay in a cache between users; static files say their own.
    if not answer.headers.get("Cache-Control"):
        answer.headers["Cache-Control"] = "private, no-store"
    return answer
