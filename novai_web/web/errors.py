"""The one place where whatever went wrong becomes one of our own errors."""

import structlog
from flask import g, request
from flask_limiter import RateLimitExceeded
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, NotFound, RequestEntityTooLarge

from novai_web import errors, faults
from novai_web.errors import NovaiError
from novai_web.web import who

log = structlog.get_logger()


def ours(error: Exception) -> NovaiError:
    """Any exception as the NovaiError that a person should hear about; what is unexpected is logged."""
    if isinstance(error, NovaiError):
        return error
    if isinstance(error, CSRFError):
        return _Refused("This page was open for too long. Reload it and send the form again.")
    if isinstance(error, RateLimitExceeded):
        limited = errors.TooManyRequests()
        limited.retry_after_seconds = _seconds_to_wait(error)
        return limited
    if isinstance(error, RequestEntityTooLarge):
        return errors.TooLarge()
    if isinstance(error, NotFound):
        return errors.NotFound()
    if isinstance(error, HTTPException):
        return _from_http(error)
    if isinstance(error, OperationalError | PoolTimeout) or _connection_lost(error):
        log.warning("database_away", problem=type(error).__name__)
        _note(error)
        return errors.Unavailable("The database is not answering. Nothing was lost; try again in a moment.")
    log.exception("unexpected", exc_info=error)
    _note(error)
    return NovaiError()


def _note(error: Exception) -> None:
    """For administrators, who are told the reference that stands on the page."""
    address = request.url_rule.rule if request.url_rule else request.path
    faults.note(g.get("request_id", ""), request.method, address, type(error).__name__, who.settings())


class _Refused(NovaiError):
    """This request was refused."""

    code = "refused"
    status = 400
    title = "Refused"


def _from_http(error: HTTPException) -> NovaiError:
    said = _Refused(error.description)
    said.status = error.code or 500
    said.title = error.name
    said.code = error.name.lower().replace(" ", "_")
    return said


def _connection_lost(error: Exception) -> bool:
    """Now, or earlier in the same transaction."""
    return isinstance(error, PendingRollbackError) or (isinstance(error, DBAPIError) and error.connection_invalidated)


def _seconds_to_wait(error: RateLimitExceeded) -> int:
    return max(1, int(error.limit.limit.get_expiry() / 10)) if error.limit else 60
