"""Everything that can go wrong in a way a person should hear about.

Raised where it is known, translated once at each door. The docstring is the sentence that a
person reads unless the place that raises knows a better one; it always says what to do next.
"""

from collections.abc import Mapping


class NovaiError(Exception):
    """Something went wrong on our side. Try again; if it stays, tell the administrator."""

    code = "error"
    status = 500
    title = "Something went wrong"
    retry_after_seconds: int | None = None

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((self.__doc__ or "").split()))


class NotFound(NovaiError):
    """There is nothing here by that name. It may have been deleted, or it is not yours."""

    code = "not_found"
    status = 404
    title = "Not found"


class SignInNeeded(NovaiError):
    """Sign in first."""

    code = "sign_in_needed"
    status = 401
    title = "Sign in"


class Forbidden(NovaiError):
    """Your account may not do this. Ask an administrator."""

    code = "forbidden"
    status = 403
    title = "Not allowed"


class InvalidInput(NovaiError):
    """Some of this needs another look."""

    code = "invalid_input"
    status = 422
    title = "Some of this needs another look"

    def __init__(self, fields: Mapping[str, str], message: str | None = None) -> None:
        """`fields` maps a field's name to the sentence that says what is wrong and how to mend it."""
        super().__init__(message)
        self.fields = dict(fields)


class UnusableMedia(NovaiError):
    """This file cannot be used."""

    code = "unusable_media"
    status = 422
    title = "This file cannot be used"


class Conflict(NovaiError):
    """This changed in the meantime. Reload and try again."""

    code = "conflict"
    status = 409
    title = "Changed in the meantime"


class Gone(NovaiError):
    """This has expired."""

    code = "gone"
    status = 410
    title = "Expired"


class TooLarge(NovaiError):
    """This is larger than this installation accepts. Nothing of it was kept; send less at once, or a smaller file."""

    code = "too_large"
    status = 413
    title = "Too large"


class IdempotencyMismatch(NovaiError):
    """This Idempotency-Key was used before with another body. Use a new key."""

    code = "idempotency_mismatch"
    status = 422
    title = "Key used before"


class PriceChanged(NovaiError):
    """This costs more than it said. Nothing was started and nothing was charged."""

    code = "price_changed"
    status = 409
    title = "The price has changed"


class NotEnoughCredits(NovaiError):
    """You don't have enough credits for this. Nothing was started and nothing was charged."""

    code = "not_enough_credits"
    status = 402
    title = "Not enough credits"


class DailyLimitReached(NovaiError):
    """Today's spending limit is reached. Nothing was started; it is free again at midnight UTC."""

    code = "daily_limit_reached"
    status = 429
    title = "Daily limit reached"


class TooManyRequests(NovaiError):
    """That was too often. Wait a moment and try again."""

    code = "too_many_requests"
    status = 429
    title = "Too many requests"
    retry_after_seconds = 60


class TooManyJobs(NovaiError):
    """You have too many jobs waiting. Nothing was started; try again when some of them are over."""

    code = "too_many_jobs"
    status = 429
    title = "Too many jobs"
    retry_after_seconds = 60


class Overloaded(NovaiError):
    """There is more work waiting here than can be done soon. Nothing was started; try again in a minute."""

    code = "overloaded"
    status = 503
    title = "Too much to do right now"
    retry_after_seconds = 60


class Unavailable(NovaiError):
    """A part of this installation is not answering. Try again in a moment."""

    code = "unavailable"
    status = 503
    title = "Not available right now"
    retry_after_seconds = 5


class DiskFull(NovaiError):
    """The storage is full. Nothing was kept; free some space or ask the administrator."""

    code = "disk_full"
    status = 507
    title = "Storage is full"


class ToolFailed(NovaiError):
    """The tool could not finish. You were not charged for what it did not deliver."""

    code = "tool_failed"
    title = "The tool could not finish"


class StoreFailed(NovaiError):
    """The file storage did not answer. Nothing was lost; try again in a moment."""

    code = "store_failed"
    status = 503
    title = "Storage is not answering"
    retry_after_seconds = 10


class Interrupted(BaseException):
    """A running step must stop now. Not an Exception, so no `except Exception` in a step can eat it."""


class Cancelled(Interrupted):
    """The person asked this job to stop."""


class StaleLease(Interrupted):
    """Another worker has taken this job over; what this one still writes would be wrong."""


class OutOfTime(Interrupted):
    """The job has passed its deadline."""
