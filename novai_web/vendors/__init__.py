"""Vendors: those who are paid for a run. Each client knows one vendor's wire contract and nothing of NOVAI."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from novai_web.errors import NovaiError, Unavailable

SENTENCE_CHARACTERS_MAX = 300


class NotStarted(Exception):
    """The vendor did not start the run, for certain, and may start it later."""

    def __init__(self, retry_after: float | None = None) -> None:
        """`retry_after`: seconds that the vendor asks us to wait at least."""
        super().__init__(f"not started, retry after {retry_after}")
        self.retry_after = retry_after


class Doubtful(Exception):
    """Nobody can say whether the vendor started the run: the answer was lost, or was none."""


class Refused(NovaiError):
    """The vendor refused this. You were not charged."""

    code = "vendor_refused"
    status = 422
    title = "The vendor refused this"

    def __init__(self, words: str) -> None:
        """`words` are the vendor's own."""
        self.words = sentence(words)
        super().__init__(f"The vendor refused this: {_stopped(self.words)} You were not charged.")


class VendorFailed(NovaiError):
    """The vendor could not make this. You were not charged."""

    code = "vendor_failed"
    status = 502
    title = "The vendor could not make this"

    def __init__(self, words: str) -> None:
        self.words = sentence(words)
        super().__init__(
            f"The vendor could not make this: {_stopped(self.words)} You were not charged; trying again may help."
        )


class Away(Unavailable):
    """The vendor is not answering. Nothing was lost; NOVAI goes on as soon as it answers."""

    code = "vendor_away"


@dataclass(frozen=True)
class File:
    """One file that a run made, as the vendor describes it."""

    url: str
    name: str
    mime: str


@dataclass(frozen=True)
class Running:
    """Not over yet. `progress` is None when the vendor does not say, or says what is no share."""

    progress: float | None


@dataclass(frozen=True)
class Done:
    """It is over and billed. `cost_credits` is None when the vendor does not say."""

    files: Sequence[File]
    cost_credits: int | None = None


@dataclass(frozen=True)
class Failed:
    """It is over without a result. A refusal is about what was asked for: asking again is of no use."""

    words: str
    is_refusal: bool = False


@dataclass(frozen=True)
class Unknown:
    """The vendor has no run of this id: not yet, or no more."""


@dataclass(frozen=True)
class Seen:
    """One line of a vendor's list of runs."""

    external_id: str
    marker: str
    is_over: bool


class Vendor(Protocol):
    """What NOVAI asks of whoever is paid for a run. No call is repeated by the client, and each one ends in time."""

    name: str
    is_dear: bool  # so dear that a run which may have been started is not started again before it must be over
    longest_run_seconds: float
    listed_within_seconds: float  # how long a run that was started may be missing from the vendor's list

    def start(self, request: Mapping[str, Any], marker: str, timeout: float) -> str:
        """Start a run that carries our marker: its id. Raises NotStarted, Refused or Doubtful within `timeout`."""
        ...

    def find(self, marker: str) -> str | None:
        """The id of the run that carries this marker. Raises Away."""
        ...

    def poll(self, external_id: str) -> Running | Done | Failed | Unknown:
        """How a run is doing. Raises Away."""
        ...

    def cancel(self, external_id: str) -> bool:
        """True: it will not be billed. False: it was over before. Raises Away."""
        ...

    def recent(self) -> Sequence[Seen]:
        """All runs of the last day. Raises Away."""
        ...

    def fetch(self, file: File, path: Path, heard: Callable[[], None]) -> None:
        """Bring a file here, whole or not at all; `heard` is called now and then and may raise.

        Raises Away, and VendorFailed for a file that is nowhere to be fetched from.
        """
        ...


def sentence(said: object) -> str:
    """A vendor's words as one short line, for they are a stranger's."""
    words = " ".join("".join(each if each.isprintable() else " " for each in str(said)).split())
    return words[:SENTENCE_CHARACTERS_MAX]


def _stopped(words: str) -> str:
    """With a full stop, for another sentence follows."""
    return words if words.endswith((".", "!", "?")) else f"{words}."


def share(said: object) -> float | None:
    """A vendor's word about progress as a share from 0 to 1, if it is one."""
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
        return None
    return min(max(float(said), 0.0), 1.0)
