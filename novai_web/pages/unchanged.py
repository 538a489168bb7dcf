"""Polls that find nothing new, which is nearly all of them, are answered before Flask hears of them.

A page of jobs asks for its cards every two seconds. Whether anything has changed is one statement on a connection that
is kept open; whoever cannot be told "no" in that way is passed on, and asked and answered like everybody else. So this
knows no errors, draws nothing, and lets nobody in: it only ever says 304 to somebody who was let in and is so still.
"""

import threading
import time
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import psycopg
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.http import parse_cookie

from novai_web import metrics
from novai_web.config import Settings
from novai_web.db import db
from novai_web.jobs import finding
from novai_web.pages import answers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PATH = "/jobs/cards"
# Of one account in one process; whoever asks more often is counted like everybody else, and told to wait.
POLLS_A_MINUTE_MAX = 120
COOKIES_KEPT = 4096
HEADERS = [("Cache-Control", "private, no-store"), ("X-Content-Type-Options", "nosniff")]

CARDS = f"""
    SELECT ({finding.CARDS_VERSION}) FROM accounts
    WHERE id = %(account)s AND session_version = %(session)s AND disabled_at IS NULL"""  # noqa: S608


def register(app: Flask, settings: Settings) -> None:
    app.wsgi_app = _Doorman(app, settings)  # type: ignore[method-assign, assignment]


class _Doorman:
    """Stands before the application it is given, and turns round whoever asks for nothing new."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._app, self._inside, self._settings = app, app.wsgi_app, settings
        self._mine = threading.local()
        self._visitor = lru_cache(COOKIES_KEPT)(self._signed_in)  # a signature is looked at once a minute
        self._polls: Counter[int] = Counter()
        self._minute = 0

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Any:
        if environ["PATH_INFO"] == PATH and "HTTP_HX_PTAG" in environ and self._is_unchanged(environ):
            metrics.requests.count(304, self._settings)
            start("304 NOT MODIFIED", HEADERS)
            return ()
        return self._inside(environ, start)

    def _is_unchanged(self, environ: "WSGIEnvironment") -> bool:
        minute = int(time.monotonic() / 60)
        visitor = self._visitor(environ.get("HTTP_COOKIE", ""), minute)
        if visitor is None or not self._may_poll(visitor[0], minute):
            return False
        asked = parse_qs(environ.get("QUERY_STRING", "")).get("ids", [""])
        given = {"account": visitor[0], "session": visitor[1], **finding.cards_asked(answers.numbers(asked[0]))}
        return bool(environ["HTTP_HX_PTAG"] == self._version(given))

    def _signed_in(self, cookies: str, _minute: int) -> tuple[int, int] | None:
        """Account and session version, as Flask-Login has put them into the cookie of the session."""
        cookie = parse_cookie(cookies).get(self._app.config["SESSION_COOKIE_NAME"])
        sessions = self._app.session_interface
        if cookie is None or not isinstance(sessions, SecureCookieSessionInterface):
            return None
        signing = sessions.get_signing_serializer(self._app)
        seconds = int(self._app.permanent_session_lifetime.total_seconds())
        try:
            number, _, version = str(signing.loads(cookie, max_age=seconds)["_user_id"]).partition(".")  # type: ignore[union-attr]
            return int(number), int(version)
        except (BadSignature, KeyError, TypeError, ValueError):
            return None

    def _may_poll(self, account_id: int, minute: int) -> bool:
        if minute != self._minute:
            self._minute = minute
            self._polls.clear()
        self._polls[account_id] += 1
        return self._polls[account_id] <= POLLS_A_MINUTE_MAX

    def _version(self, given: dict[str, Any]) -> str | None:
        """None for somebody who is not let in, and when the database cannot be asked: then there is more to say."""
        try:
            row = self._connection().execute(CARDS, given).fetchone()
        except (psycopg.Error, SQLAlchemyError):
            self._mine.connection = None
            return None
        return str(row[0]) if row else None

    def _connection(self) -> "psycopg.Connection[Any]":
        """One for each thread, out of the pool for good, without transactions."""
        found: psycopg.Connection[Any] | None = getattr(self._mine, "connection", None)
        if found is None:
            with self._app.app_context():
                taken = db.engine.raw_connection()
            found = taken.driver_connection
            assert isinstance(found, psycopg.Connection), "the driver that db.py names"
            taken.detach()
            found.autocommit = True
            self._mine.connection = found
        return found
