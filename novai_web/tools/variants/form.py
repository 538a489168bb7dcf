"""What a person fills in for variants, and the cells that come of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field, field_validator

from novai_web.config import Settings
from novai_web.engines.ffmpeg import Framing, HookStyle, Making, Sound
from novai_web.errors import InvalidInput
from novai_web.library.models import Asset, Hook
from novai_web.tools.picks import Hooks, Sounds, Videos
from novai_web.tools.tool import Input
from novai_web.tools.variants import names
from novai_web.tools.variants.mix import count, mix

# What is crossed out lies among so many cells; a batch itself is bounded by a setting.
WITHOUT_MAX = 2000

CellKey = Annotated[str, Field(pattern=r"^\d{1,18}-\d{1,18}-\d{1,18}$")]


class VariantsInput(HookStyle, Sound, Framing, Making, Input):
    """Videos × audios × hooks, and how each of them looks and sounds: the engine's own words, not repeated here."""

    videos: Videos = Field(title="Videos", description="The clips to make variants of.")
    audios: Sounds = Field([], title="Audios", description="Optional: without any, the clips keep their sound.")
    hooks: Hooks = Field([], title="Hooks", description="Optional: short texts shown on the clips.")

    mix: Literal["round-robin", "every"] = Field(
        "round-robin", title="Mix", description="Round-robin uses everything evenly; every makes every combination."
    )
    limit: int | None = Field(None, ge=1, le=100_000, title="At most", description="Empty: as many as the mix makes.")
    seed: int | None = Field(
        None,
        ge=0,
        le=2**31 - 1,
        title="Shuffle",
        description="A number shuffles the order; the same one, the same way.",
    )
    without: list[CellKey] = Field(
        [], max_length=WITHOUT_MAX, title="Left out", description="Cells not to make, as video-audio-hook."
    )

    name_template: str = Field(
        names.DEFAULT_TEMPLATE,
        max_length=names.TEMPLATE_LENGTH_MAX,
        title="Names",
        description="Of the files: {n}, {video}, {audio}, {hook}, {date}.",
    )

    @field_validator("videos")
    @classmethod
    def _at_least_one(cls, videos: list[Asset]) -> list[Asset]:
        if not videos:
            raise ValueError("Pick at least one video.")
        return videos

    @field_validator("name_template")
    @classmethod
    def _names_can_be_made(cls, template: str) -> str:
        try:
            names.check(template)
        except InvalidInput as error:
            raise ValueError(error.fields["name_template"]) from None
        return template


@dataclass(frozen=True)
class Variant:
    """One cell: its number from 0, and what it is made of."""

    n: int
    video: Asset
    audio: Asset | None
    hook: Hook | None

    @property
    def key(self) -> str:
        audio, hook = self.audio.id if self.audio else 0, self.hook.id if self.hook else 0
        return f"{self.video.id}-{audio}-{hook}"


def size(given: VariantsInput) -> int:
    """How many cells the mix has, before any is left out."""
    return count(len(given.videos), len(given.audios), len(given.hooks), given.mix, given.limit)


def all_cells(given: VariantsInput, settings: Settings) -> list[Variant]:
    """The cells in their order, left out ones included. Raises InvalidInput on `limit` when they are too many."""
    if size(given) > settings.variants_max:
        raise InvalidInput(
            {
                "limit": f"This would be {size(given):,} variants; at most {settings.variants_max:,} fit in one batch. "
                "Set a number here, or pick fewer."
            }
        )
    cells = mix(len(given.videos), len(given.audios), len(given.hooks), given.mix, given.limit, given.seed)
    return [
        Variant(
            cell.n,
            given.videos[cell.video],
            None if cell.audio is None else given.audios[cell.audio],
            None if cell.hook is None else given.hooks[cell.hook],
        )
        for cell in cells
    ]


def cells(given: VariantsInput, settings: Settings) -> list[Variant]:
    """The variants that will be made, numbered anew. Raises InvalidInput when none are left."""
    crossed_out = set(given.without)
    chosen = [cell for cell in all_cells(given, settings) if cell.key not in crossed_out]
    if not chosen:
        raise InvalidInput({"without": "Every variant is crossed out. Tick at least one."})
    _check_start(given, chosen)
    return [Variant(n, cell.video, cell.audio, cell.hook) for n, cell in enumerate(chosen)]


def _check_start(given: VariantsInput, chosen: Sequence[Variant]) -> None:
    """Raise InvalidInput when a hook would appear after its clip has ended."""
    for cell in chosen:
        ends = cell.video.duration_seconds or 0.0
        if cell.hook and given.hook_start_seconds >= ends:
            raise InvalidInput(
                {
                    "hook_start_seconds": f"“{cell.video.name}” ends at {ends:.1f} s, before its hook would appear. "
                    "Let hooks appear earlier, or take that clip out."
                }
            )


def names_of(made: Sequence[Variant], template: str) -> list[str]:
    """The file name of each, in order, no two alike."""
    parts = [
        names.Parts(
            cell.n,
            cell.video.name,
            cell.audio.name if cell.audio else "",
            cell.hook.text if cell.hook else "",
        )
        for cell in made
    ]
    return names.name_all(template, parts, datetime.now(UTC).date())


def sources(made: Sequence[Variant]) -> tuple[list[Asset], list[Asset], list[Hook]]:
    """The videos, audios and hooks that these variants use, each once, in order of use."""
    videos = {cell.video.id: cell.video for cell in made}
    audios = {cell.audio.id: cell.audio for cell in made if cell.audio}
    hooks = {cell.hook.id: cell.hook for cell in made if cell.hook}
    return list(videos.values()), list(audios.values()), list(hooks.values())
