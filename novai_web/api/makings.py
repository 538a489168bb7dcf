"""What one tool makes, as a noun of its own over JSON: diagrams and swaps, under way and failed ones too."""

from typing import Literal

from pydantic import Field

from novai_web import jobs
from novai_web.accounts import Account
from novai_web.api.door import Door, Shape, credits_max, idempotency_key
from novai_web.api.jobs import JobOut
from novai_web.api.library import AssetDetailOut, AssetOut
from novai_web.api.shapes import Anything
from novai_web.api.tools import SubmittedOut
from novai_web.errors import NotFound
from novai_web.jobs import Job, finding
from novai_web.library import listing
from novai_web.library.assets import Library
from novai_web.library.listing import Filter
from novai_web.library.models import Kind
from novai_web.library.paging import PAGE_SIZE, PAGE_SIZE_MAX
from novai_web.tools import Tool, character_diagram, face_swap
from novai_web.web import who
from novai_web.web.paths import ID_MAX

door = Door("makings")

RESULTS_MAX = 100
Status = Literal["pending", "processing", "ready", "failed", "cancelled"]
STATUSES: dict[str, Status] = {
    "queued": "pending",
    "running": "processing",
    "waiting": "processing",
    "cancelling": "processing",
    "succeeded": "ready",
    "failed": "failed",
    "cancelled": "cancelled",
}


class MakingsAsked(Shape):
    q: str = Field("", max_length=200, description="Words that must all be in the name.")
    cursor: str | None = Field(None, max_length=2000)
    limit: int = Field(PAGE_SIZE, ge=1, le=PAGE_SIZE_MAX)


class MakingsOut(Shape):
    items: list[AssetOut]
    next_cursor: str | None
    total: int


class HistoryAsked(Shape):
    cursor: int | None = Field(None, ge=1, le=ID_MAX)
    limit: int = Field(50, ge=1, le=200)


class AttemptOut(Shape):
    """One job and what came of it: pending, processing, ready, failed or cancelled."""

    status: Status
    job: JobOut
    results: list[AssetOut]


class HistoryOut(Shape):
    items: list[AttemptOut]
    next_cursor: str | None


def history(account: Account, tool: Tool, asked: HistoryAsked) -> HistoryOut:
    """The jobs of one tool with their results, newest first, in two queries."""
    found = finding.recent(account.id, tool=tool.slug, before=asked.cursor, limit=asked.limit + 1)
    shown = found[: asked.limit]
    results = finding.results([job.id for job in shown], RESULTS_MAX)
    items = [_attempt(job, [AssetOut.of(asset) for asset in results.get(job.id, [])]) for job in shown]
    return HistoryOut(items=items, next_cursor=str(shown[-1].id) if len(found) > asked.limit else None)


def _attempt(job: Job, results: list[AssetOut]) -> AttemptOut:
    return AttemptOut(status=STATUSES[str(job.status)], job=JobOut.of(job), results=results)


def _declare(tool: Tool, plural: str, one: str, kind: Kind, made_type: str) -> None:
    def listed(account: Account, asked: MakingsAsked) -> MakingsOut:
        """A page of those that are ready, newest first."""
        wanted = Filter(kind=kind, q=asked.q, type=made_type)
        found = listing.listed(Library(account.id), wanted, cursor=asked.cursor, size=asked.limit)
        items = [AssetOut.of(asset) for asset in found.items]
        return MakingsOut(items=items, next_cursor=found.next_cursor, total=found.total)

    def started(account: Account, given: Anything) -> SubmittedOut:
        """Start making one. Send an `Idempotency-Key` to be sure that it is started once, `Credits-Max` that it is no
        dearer than that."""
        made = jobs.submit(account, tool, given.root, who.settings(), key=idempotency_key(), credits_max=credits_max())
        return SubmittedOut.of(made)

    def past(account: Account, asked: HistoryAsked) -> HistoryOut:
        """Everything that was asked for, newest first, with how it stands and what came of it."""
        return history(account, tool, asked)

    def shown(account: Account, asset_id: int) -> AssetDetailOut:
        """One of them, with its recipe and what it was made from."""
        library = Library(account.id)
        asset = library.find(asset_id)
        if asset.kind != kind or asset.type != made_type:
            raise NotFound
        return AssetDetailOut.whole(library, asset)

    listed.__name__, started.__name__ = plural.replace("-", "_"), f"{one}_started"
    past.__name__, shown.__name__ = f"{one}_history", one
    door.get(f"/{plural}", asks=MakingsAsked, gives=MakingsOut)(listed)
    door.post(f"/{plural}", takes=Anything, described=tool.input, gives=SubmittedOut, status=202)(started)
    door.get(f"/{plural}/history", asks=HistoryAsked, gives=HistoryOut)(past)
    door.get(f"/{plural}/<int:asset_id>", gives=AssetDetailOut)(shown)


_declare(character_diagram.tool, "character-diagrams", "diagram", "image", character_diagram.TYPE)
_declare(face_swap.tool, "swaps", "swap", "video", face_swap.TYPE)
