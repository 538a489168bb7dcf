"""Why a line of the ledger is there: one sentence for each kind of entry, with the job's title set apart for a link."""

from collections.abc import Callable
from dataclasses import dataclass

OPENING = "grant:opening:"


@dataclass(frozen=True)
class Cause:
    """The job that moved the credits, as far as its sentence needs it."""

    id: int
    batch_id: int | None
    tool: str
    title: str
    state: str
    promised: int
    delivered: int


@dataclass(frozen=True)
class Sentence:
    """One sentence in three parts: the middle one names a job, and is empty where there is none."""

    before: str
    title: str = ""
    after: str = ""

    def __str__(self) -> str:
        return f"{self.before}“{self.title}”{self.after}" if self.title else f"{self.before}{self.after}"


@dataclass(frozen=True)
class Fact:
    """What one entry says of itself."""

    kind: str
    key: str
    note: str | None
    cause: Cause | None


def explain(fact: Fact) -> Sentence:
    """The sentence of an entry. A kind that nobody wrote one for is a KeyError, which a test would find."""
    return _SENTENCES[fact.kind](fact)


def _granted(fact: Fact) -> Sentence:
    if fact.key.startswith(OPENING):
        return Sentence("Your first credits.")
    return Sentence("Given by an administrator", after=_because(fact))


def _topped_up(fact: Fact) -> Sentence:
    return Sentence("Topped up", after=_because(fact))


def _adjusted(fact: Fact) -> Sentence:
    return Sentence("Changed by an administrator", after=_because(fact))


def _refunded(fact: Fact) -> Sentence:
    return _about("Paid back by an administrator for ", fact, _because(fact))


def _held(fact: Fact) -> Sentence:
    return _about("Held for ", fact, ", which cannot cost more than this.")


def _charged(fact: Fact) -> Sentence:
    cause = fact.cause
    if cause is None or cause.promised <= 1:
        return _about("Charged for ", fact, ", which delivered.")
    if cause.delivered >= cause.promised:
        return _about("Charged for ", fact, f": all {cause.promised:,} results delivered.")
    return _about("Charged for ", fact, f": {cause.delivered:,} of {cause.promised:,} results delivered.")


def _released(fact: Fact) -> Sentence:
    cause = fact.cause
    if cause and cause.state in ("failed", "cancelled"):
        return _about("Given back: ", fact, f" {_ENDS[cause.state]} and costs nothing.")
    if cause and cause.delivered < cause.promised:
        missing = cause.promised - cause.delivered
        return _about("Given back for what ", fact, f" did not deliver: {missing:,} of {cause.promised:,} results.")
    return _about("Given back: ", fact, " cost less than was held for it.")


def _about(before: str, fact: Fact, after: str) -> Sentence:
    return Sentence(before, fact.cause.title, after) if fact.cause else Sentence(before, after=f"a job{after}")


def _because(fact: Fact) -> str:
    return f": {fact.note}" if fact.note else "."


_ENDS = {"failed": "failed", "cancelled": "was cancelled"}

_SENTENCES: dict[str, Callable[[Fact], Sentence]] = {
    "grant": _granted,
    "topup": _topped_up,
    "adjust": _adjusted,
    "refund": _refunded,
    "reserve": _held,
    "capture": _charged,
    "release": _released,
}
