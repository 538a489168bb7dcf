"""The cells of a grid: what a job promised in each place, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from novai_web.jobs import Delivered
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from novai_web.tools import Tool


@dataclass(frozen=True)
class Cell:
    """One place of the grid: what was promised there, and what came of it."""

    id: int
    n: int
    name: str
    kind: str
    state: str
    error: str | None
    asset: Asset | None
    labels: dict[str, str | None]


def of(account_id: int, found: Sequence[Delivered], tool: Tool) -> list[Cell]:
    """What is not there yet, or never will be, has the shape of what this tool makes."""
    labels = _Labels(account_id, [each.output.spec for each in found])
    return [
        Cell(
            id=each.output.id,
            n=each.output.n,
            name=each.output.name,
            kind=each.asset.kind if each.asset else next(iter(tool.makes), "video"),
            state=each.output.state,
            error=each.output.error,
            asset=each.asset,
            labels=labels.of(each.output.spec),
        )
        for each in found
    ]


class _Labels:
    """What the ingredients of many cells are called, in two queries."""

    def __init__(self, account_id: int, specs: Sequence[dict[str, Any]]) -> None:
        library = Library(account_id)
        self.assets = library.find_many(
            list({spec[role] for spec in specs for role in ("video", "audio") if spec.get(role)})
        )
        self.hooks = library.find_hooks(list({spec["hook"] for spec in specs if spec.get("hook")}))

    def of(self, spec: dict[str, Any]) -> dict[str, str | None]:
        video, audio = (self.assets.get(spec.get(role, 0)) for role in ("video", "audio"))
        hook = self.hooks.get(spec.get("hook", 0))
        return {
            "video": video.name if video else None,
            "audio": audio.name if audio else None,
            "hook": hook.text if hook else None,
        }
