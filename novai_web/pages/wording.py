"""How numbers, sizes and times are written for people: the filters that every template has."""

from datetime import UTC, datetime, timedelta
from math import ceil

from flask import Flask
from markupsafe import Markup

UNITS = ("B", "KB", "MB", "GB", "TB")
STEPS = ((86_400, "day"), (3_600, "h"), (60, "min"))


def register(app: Flask) -> None:
    app.jinja_env.filters.update(
        size=size, clock=clock, duration=duration, ago=ago, until=until, number=number, plural=plural
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


def until(at: datetime | None) -> Markup:
    """When something will happen: "in 5 h"."""
    if at is None:
        return Markup("")
    return _time(at, _rough(at - datetime.now(UTC), "now", "in {}"), "until")


def number(count: int | None) -> str:
    return f"{count or 0:,}"


def plural(count: int | None, word: str) -> str:
    """3 and "video" → "3 videos"; "category" → "categories"."""
    amount = count or 0
    if word.endswith("y") and word[-2] not in "aeiou":
        many = f"{word[:-1]}ies"
    else:
        many = f"{word}es" if word.endswith(("s", "x", "ch")) else f"{word}s"
    return f"{amount:,} {word if amount == 1 else many}"


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
