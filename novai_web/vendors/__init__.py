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


class AccountTrouble(NovaiError):
    """The vendor does not let NOVAI in. An administrator can mend it. You were not charged."""

    code = "vendor_account"
    status = 503
    title = "The vendor does not let NOVAI in"


class KeyRejected(AccountTrouble):
    """The key that NOVAI has for this vendor is not accepted. An administrator can set another."""

    code = "vendor_key"
    title = "The vendor does not accept the key"

    def __init__(self, vendor_title: str) -> None:
        """`vendor_title` is the vendor's name as people know it."""
        super().__init__(
            f"The key that NOVAI has for {vendor_title} is not accepted. "
            "An administrator can set another. You were not charged."
        )


class OutOfMoney(AccountTrouble):
    """NOVAI's own account at this vendor is out of money. An administrator can top it up."""

    code = "vendor_money"
    title = "NOVAI's account at the vendor is out of money"

    def __init__(self, vendor_title: str) -> None:
        """`vendor_title` is the vendor's name as people know it."""
        super().__init__(
            f"NOVAI's own account at {vendor_title} is out of money. "
            "An administrator can top it up. You were not charged."
        )


class NotConfigured(NovaiError):
    """This vendor is not set up here. An administrator can set its key. You were not charged."""

    code = "vendor_missing"
    status = 503
    title = "The vendor is not set up"

    def __init__(self, vendor_title: str, setting: str) -> None:
        """`setting` is the name of the setting, as it stands in the environment."""
        super().__init__(
            f"{vendor_title} is not set up here: an administrator can set {setting}, "
            "or start the sandbox. You were not charged."
        )


class BegunInSandbox(NovaiError):
    """This was begun in the sandbox, and its vendor has a key now. Nothing was paid; try it again."""

    code = "begun_in_sandbox"
    status = 409
    title = "Begun in the sandbox"

    def __init__(self, vendor_title: str) -> None:
        super().__init__(
            f"This was begun in the sandbox, and {vendor_title} has a key now. "
            "You were not charged; try it again to have it made there."
        )


class Away(Unavailable):
    """The vendor is not answering. Nothing was lost; NOVAI goes on as soon as it answers."""

    code = "vendor_away"


@dataclass(frozen=True)
class File:
    """One file that a run made, as the vendor describes it. `part` says which of several it is, where that matters."""

    url: str
    name: str
    mime: str
    part: str = ""


@dataclass(frozen=True)
class Content:
    """One file that came in the answer itself. `mime` is the vendor's word, and is checked like an upload's."""

    data: bytes
    name: str
    mime: str


@dataclass(frozen=True)
class Finished:
    """The answer of a vendor whose POST is the whole run. `cost_microusd`: millionths of a US dollar; None: unsaid."""

    external_id: str
    contents: Sequence[Content]
    cost_microusd: int | None = None


@dataclass(frozen=True)
class Running:
    """Not over yet. `progress` is None when the vendor does not say, or says what is no share."""

    progress: float | None


@dataclass(frozen=True)
class Done:
    """It is over and billed.

    `cost_credits` and `cost_microusd` (millionths of a US dollar) are None when the vendor does not say; what a step
    is handed has the cost that was written down. `units` is how many of its own units the vendor counts, if it says.
    """

    files: Sequence[File]
    cost_credits: int | None = None
    external_id: str = ""
    cost_microusd: int | None = None
    units: float | None = None


@dataclass(frozen=True)
class Failed:
    """It is over without a result. A refusal is about what was asked for: asking again is of no use.

    `is_billed` is what the vendor does with such a run; None: a refusal is not billed, any other failure may be.
    """

    words: str
    is_refusal: bool = False
    is_billed: bool | None = None


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
    """What NOVAI asks of whoever is paid for a run. No call is repeated by the client, and each one ends in time.

    Wherever Away is raised because the vendor rejects our key, or our account is out of money, the AccountTrouble is
    its cause.
    """

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str:
        """Its name as people know it."""
        ...

    @property
    def is_sandbox(self) -> bool:
        """Whether it is our sandbox that answers in its place."""
        ...

    @property
    def is_dear(self) -> bool:
        """So dear that a run which may have been started is not started again before it must be over."""
        ...

    @property
    def longest_run_seconds(self) -> float: ...

    @property
    def listed_within_seconds(self) -> float:
        """How long a run that was started may be missing from the vendor's list."""
        ...

    @property
    def start_seconds(self) -> float | None:
        """A vendor whose answer is the result: how long its POST may take. None: a POST is quick, and gives an id."""
        ...

    @property
    def has_list(self) -> bool:
        """Whether every run is listed with its marker. If not, one that was given up in doubt is the house's cost."""
        ...

    def start(self, request: Mapping[str, Any], marker: str, timeout: float) -> str | Finished:
        """Start a run that carries our marker: its id, or all of the result if the vendor answers with that.

        Raises, within `timeout` seconds, NotStarted, KeyRejected or OutOfMoney (nothing was started), Refused,
        VendorFailed (it is over, and perhaps billed) or Doubtful.
        """
        ...

    def find(self, marker: str) -> str | None:
        """The id of the run that carries this marker, by whatever the vendor offers; None: not found. Raises Away."""
        ...

    def poll(self, external_id: str) -> Running | Done | Failed | Unknown:
        """How a run is doing. Raises Away."""
        ...

    def cancel(self, external_id: str) -> bool:
        """True: it will not be billed. False: it was over before. Raises Away."""
        ...

    def recent(self) -> Sequence[Seen]:
        """All runs of the last day, as far as the vendor lists them. Raises Away."""
        ...

    def check(self) -> str:
        """Ask something that is free, and say what came of it. Raises KeyRejected, OutOfMoney or Away."""
        ...

    def fetch(self, file: File, path: Path, heard: Callable[[], None]) -> None:
        """Bring a file here, whole or not at all; `heard` is called now and then and may raise.

        Raises Away, and VendorFailed for a file that is nowhere to be fetched from.
        """
        ...


class Uploading(Vendor, Protocol):
    """A vendor that is handed its inputs as files beforehand, which costs nothing."""

    def upload(self, path: Path, mime: str, name: str, heard: Callable[[], None]) -> str:
        """Bring a file to the vendor: its address there. May be repeated. `heard` is called now and then and may raise.

        Raises Away, KeyRejected, OutOfMoney, and Refused for a file that the vendor does not take.
        """
        ...


class Swapping(Uploading, Protocol):
    """A vendor that puts a face into a video."""

    def swap_request(self, *, video_url: str, face_url: str, which: int) -> dict[str, Any]:
        """What to ask for. `which` face of the video, from 0; the addresses are those of `upload`."""
        ...


def plain(said: str) -> str:
    """A vendor's word without what no database keeps and nobody can read."""
    return "".join(each for each in said if each.isprintable())


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
