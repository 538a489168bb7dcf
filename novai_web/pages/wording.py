"""How numbers, sizes and times are written for people: the filters that every template has."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import ceil

from flask import Flask
from markupsafe import Markup

from novai_web.jobs import Job, State

UNITS = ("B", "KB", "MB", "GB", "TB")
STEPS = ((86_400, "day"), (3_600, "h"), (60, "min"))

# What to do about a job that did not deliver everything, by the code of its error.
ADVICE = {
    "poison": "Change what goes into it before you start it again.",
    "out_of_time": "Retry makes only what is missing; a smaller one is done sooner.",
    "unavailable": "Nothing is wrong with what you asked for. Retry in a few minutes.",
    "store_failed": "Nothing is wrong with what you asked for. Retry in a few minutes.",
    "invalid_input": "Something that it needs was changed or deleted. Start it anew with what is there.",
    "not_found": "Something that it needs was deleted. Start it anew with what is there.",
    "partly_delivered": "Retry makes only what is missing.",
    "vendor_refused": "Change what you ask for; asking again for the same is refused again.",
    "vendor_key": "An administrator can set another key under Settings, Vendors. Retry then.",
    "vendor_money": "An administrator can top up NOVAI’s account there. Retry then.",
    "no_price": "An administrator can add the price under Settings, Prices. Retry then.",
    "nothing_delivered": "Retry starts it once more.",
}
OTHER_ADVICE = "Retry starts it once more; if it fails again, change what goes into it."


def register(app: Flask) -> None:
    app.jinja_env.filters.update(
        size=size,
        clock=clock,
        duration=duration,
        ago=ago,
        until=until,
        lasting=lasting,
        number=number,
        signed=signed,
        rate=rate,
        dollars=dollars,
        cents=cents,
        day=day,
        plural=plural,
        cost=cost,
        bill=bill,
        advice=advice,
    )


def size(count: int | None) -> str:
    """3565158 → "3.4 MB"; whole numbers from 10 up."""
    amount = float(count or 0)
    for unit in UNITS:
        if amount < 1000 or unit == UNITS[-1]:
            break
        amount /= 1024
    return f"{amount:.1f} {unit}" if amount < 10 and unit != "B" else f"{amount:.0f} {unit}"


def clock(seconds: float | None) -> str:
    """A position or length in a clip: 8.4 → "0:08", 3725 → "1:02:05"."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float | None) -> str:
    """How long something takes: 40 → "40 s", 200 → "3 min 20 s", 7500 → "2 h 5 min"."""
    left = ceil(seconds or 0)
    if left < 60:
        return f"{left} s"
    if left < 3600:
        return _two(left, 60, "min", 1, "s")
    return _two(left, 3600, "h", 60, "min")


def ago(at: datetime | None) -> Markup:
    """When something happened: "3 min ago", with the exact time on hover."""
    if at is None:
        return Markup("")
    return _time(at, _rough(datetime.now(UTC) - at, "just now", "{} ago"), "ago")


def lasting(at: datetime | None) -> Markup:
    """How long something has gone on: "3 min"."""
    if at is None:
        return Markup("")
    return _time(at, f"{_rough(datetime.now(UTC) - at, '', '{}') or 'A few seconds'}", "for")


def until(at: datetime | None) -> Markup:
    """When something will happen: "in 5 h"."""
    if at is None:
        return Markup("")
    return _time(at, _rough(at - datetime.now(UTC), "now", "in {}"), "until")


def number(count: int | None) -> str:
    return f"{count or 0:,}"


def signed(count: int) -> str:
    """A change: 5 → "+5", -20 → "−20", with the minus that is as wide as the plus."""
    return f"{count:+,}".replace("-", "−") if count else "0"


def rate(amount: float) -> str:
    """Credits for one of something: 2.5 → "2.5", 3.0 → "3"."""
    return f"{amount:,.1f}".removesuffix(".0")


def dollars(microusd: int) -> str:
    """What a vendor takes, in millionths of a US dollar: 1234567 → "$1.23", 4500 → "$0.0045", 100000 → "$0.10"."""
    amount = Decimal(microusd) / 1_000_000
    if amount >= 1:
        return f"${amount:,.2f}"
    exact = f"{amount:.4f}"
    return f"${exact[:4]}{exact[4:].rstrip('0')}"


def cents(credits: Decimal) -> str:
    """Credits as the dollars they stand for, with the minus that is as wide as a plus: -30 → "−$0.30"."""
    return f"{'−' if credits < 0 else ''}${abs(credits) / 100:,.2f}"


def day(at: date) -> str:
    """A day of this year: "7 November"."""
    return f"{at.day} {at:%B}"


def plural(count: int | None, word: str) -> str:
    """3 and "video" → "3 videos"; "category" → "categories"."""
    amount = count or 0
    if word.endswith("y") and word[-2] not in "aeiou":
        many = f"{word[:-1]}ies"
    else:
        many = f"{word}es" if word.endswith(("s", "x", "ch")) else f"{word}s"
    return f"{amount:,} {word if amount == 1 else many}"


def cost(job: Job) -> str:
    """What a job costs, in the few words of a card; nothing where it is free."""
    if not job.price:
        return ""
    if not job.is_over:
        return f"held {number(job.price)}"
    if not job.charged:
        return "not charged"
    if job.charged == job.price:
        return f"charged {number(job.charged)}"
    return f"charged {number(job.charged)} of {number(job.price)}"


def bill(job: Job) -> str:
    """What was held, what was charged, what was given back, and why."""
    if not job.price:
        return "Free."
    if not job.is_over:
        return f"{plural(job.price, 'credit')} held. It cannot cost more, and only what is delivered is charged."
    if not job.charged:
        why = {State.FAILED: " because it failed", State.CANCELLED: " because it was cancelled"}.get(
            State(job.state), ""
        )
        return f"Not charged{why}. {_given_back(job.price, 'held credit')}"
    share = f" for {number(job.delivered)} of {plural(job.promised, 'result')}" if job.promised > 1 else ""
    rest = f" {_given_back(job.price - job.charged, 'other held credit')}" if job.charged < job.price else ""
    return f"Charged {plural(job.charged, 'credit')}{share}.{rest}"


def advice(job: Job) -> str:
    """What a person can do about a job that did not deliver everything; nothing where there is nothing to do."""
    if not job.is_over or not job.error or job.state == State.CANCELLED:
        return ""
    if job.is_retried:
        return "It was started once more."
    return ADVICE.get(job.error_code or "", OTHER_ADVICE) if job.can_retry else ""


def _given_back(credits: int, which: str) -> str:
    """`which` says which credits, such as "held"."""
    return f"The {plural(credits, which)} {'is' if credits == 1 else 'are'} yours again."


def _two(left: int, big: int, big_name: str, small: int, small_name: str) -> str:
    whole, rest = divmod(left, big)
    return f"{whole} {big_name} {rest // small} {small_name}" if rest // small else f"{whole} {big_name}"


def _rough(span: timedelta, now: str, pattern: str) -> str:
    seconds = int(span.total_seconds())
    for length, name in STEPS:
        if seconds >= length:
            amount = seconds // length
            return pattern.format(f"{amount} {name}{'s' if name == 'day' and amount > 1 else ''}")
    return pattern.format(f"{seconds} s") if seconds >= 10 else now


def _time(at: datetime, words: str, kind: str) -> Markup:
    exact = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}" data-time="{}">{}</time>').format(
        exact.isoformat(timespec="seconds"), f"{exact:%d %B %Y, %H:%M} UTC", kind, words
    )
