"""What a tool is. This file is all the machinery there is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from novai_web.config import Pace, Settings
from novai_web.errors import InvalidInput
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Kind
from novai_web.tools.sentences import sentences
from novai_web.vendors import Done, File, Uploading, Vendor

Queue = Literal["cpu", "io"]
# What a file says of itself in its Content Credentials: an AI made it, an AI changed or added to something, people
# joined or cut it, or a program computed it without anything learned.
Origin = Literal["made", "composite", "edited", "computed"]


@dataclass(frozen=True)
class Reading:
    """What an input is read with: whose library it picks from, and the installation's limits."""

    library: Library
    settings: Settings

    @property
    def is_begun(self) -> bool:
        """Whether the job has a step behind it: what was right when it began is not asked again."""
        return self.library.with_trash


class Input(BaseModel):
    """What a person fills in. Subclass it; fields become form fields and API fields alike."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @field_validator("*")
    @classmethod
    def _can_be_stored(cls, value: Any) -> Any:
        """Postgres keeps every character but this one."""
        if isinstance(value, str) and "\0" in value:
            raise ValueError("Leave out control characters.")
        return value

    @classmethod
    def read(cls, raw: Mapping[str, Any], reading: Reading) -> Self:
        """Check and load what came in. Raises InvalidInput with a sentence for each wrong field."""
        try:
            return cls.model_validate(raw, context=reading)
        except ValidationError as error:
            raise InvalidInput(sentences(error)) from None


@dataclass(frozen=True)
class Promise:
    """One output that a job will deliver: its number in the batch, its file name, and how to make it."""

    n: int
    name: str
    spec: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """What one job of a batch is given, and what it holds of the price: by what it promises where nothing is said."""

    given: Input
    promises: Sequence[Promise]
    credits: int | None = None


@dataclass(frozen=True)
class Estimate:
    outputs: int
    seconds: float
    bytes: int


class Work(Protocol):
    """What a running step is handed."""

    folder: Path
    notes: dict[str, Any]
    settings: Settings
    promises: Sequence[Promise]  # what is not delivered yet

    def progress(self, done: float) -> None: ...

    def fetch(self, asset: Asset, part: str = "original") -> Path: ...

    def keep(self, path: Path, made: "Made", *, n: int = 0, insisting: Callable[[], None] | None = None) -> Asset: ...

    def fail(self, n: int, reason: str) -> None: ...

    def write(self, change: Callable[[], None]) -> None: ...

    def wait(self, seconds: float) -> None: ...

    def upload(
        self, vendor: Uploading, path: Path, *, mime: str, name: str, heard: Callable[[], None] | None = None
    ) -> str: ...

    def paid(
        self, vendor: Vendor, request: Mapping[str, Any], *, cost_credits: int, cost_microusd: int | None = None
    ) -> Done: ...

    def bring(self, vendor: Vendor, file: File) -> Path: ...


@dataclass(frozen=True, kw_only=True)
class Made:
    """What is known of a file that a step hands over to be kept.

    `sha256` is of the file as it is handed over, if somebody reckoned it: what is kept is signed, and hashed anew.
    `pieces`: lengths and SHA-256 of what its media data consists of, if the engine has reckoned them.
    """

    kind: Kind
    type: str
    origin: Origin
    name: str
    mime: str
    sha256: str = ""
    media: dict[str, Any]
    recipe: dict[str, Any]
    sources: Sequence[tuple[str, Any]] = ()  # (role, Asset or Hook)
    previews: Mapping[str, Path] = field(default_factory=dict)
    pieces: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True)
class Step:
    label: str
    run: Callable[[Any, Work], None]
    weight: int = 1


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One thing NOVAI can do: what it asks, what it costs, what it does, what it makes.

    `price` and `estimate` are asked with the installation's settings and have no side effects. `split` turns
    one input into many jobs. `gave_up` is told, in the transaction that ends it, that a job failed or was
    cancelled, with its stored input and the reason. `pace` holds for the whole installation, whose settings go first.
    `is_kept`: what a batch of it makes stays in the library for good, because somebody paid for it.
    `engine` says which vendors it spends money at, a key of `vendors.menu.ENGINES`; None: it works on this machine.
    """

    slug: str
    title: str
    about: str
    icon: str
    input: type[Input]
    price: Callable[[Any, Settings], int]
    estimate: Callable[[Any, Settings], Estimate]
    steps: tuple[Step, ...]
    makes: tuple[Kind, ...]
    queue: Queue = "cpu"
    deadline_seconds: int = 3600
    pace: Pace | None = None
    is_kept: bool = False
    engine: str | None = None
    split: Callable[[Any, Settings], Sequence[Part]] | None = None
    name: Callable[[Any], str] = lambda given: ""
    gave_up: Callable[[Mapping[str, Any], str], None] | None = None
