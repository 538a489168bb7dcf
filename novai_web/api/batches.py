"""Batches over JSON: how far they are, what they delivered, and the ZIP."""

from datetime import datetime

from flask import Response, url_for
from pydantic import Field

from novai_web import jobs
from novai_web.accounts import Account
from novai_web.api.door import Door, Shape, credits_max, idempotency_key
from novai_web.jobs import Batch, Delivered, Summary, batches
from novai_web.web import who, zipping
from novai_web.web.paths import ID_MAX

door = Door("batches")


def status_url(batch_id: int) -> str:
    return url_for("api_batches.get_show", batch_id=batch_id)


class BatchOut(Shape):
    id: int
    tool: str
    title: str
    status: str
    total: int
    done: int
    failed: int
    cancelled: int
    expired: int
    progress: float
    credits_held: int
    credits_charged: int
    is_sandbox: bool = Field(description="The sandbox stood in for a vendor that has no key here.")
    created_at: datetime
    expires_at: datetime | None
    kept_at: datetime | None
    rebuilt_from_id: int | None
    zip_url: str | None
    results_url: str

    @classmethod
    def of(cls, found: Summary) -> "BatchOut":
        batch = found.batch
        return cls(
            id=batch.id,
            tool=batch.tool_slug,
            title=batch.title,
            # What a person is told apart by words, a program tells apart by the counts.
            status={"partly": "succeeded", "expired": "succeeded"}.get(found.status, found.status),
            total=found.total,
            done=found.done,
            failed=found.failed,
            cancelled=found.cancelled,
            expired=found.expired,
            progress=round(found.progress, 4),
            credits_held=found.held,
            credits_charged=found.charged,
            is_sandbox=found.is_sandbox,
            created_at=batch.created_at,
            expires_at=found.expires_at,
            kept_at=batch.kept_at,
            rebuilt_from_id=batch.rebuilt_from_id,
            zip_url=url_for("api_batches.get_archive", batch_id=batch.id) if found.done else None,
            results_url=url_for("api_batches.get_results", batch_id=batch.id),
        )


class BatchesAsked(Shape):
    cursor: int | None = Field(None, ge=1, le=ID_MAX)


class BatchesOut(Shape):
    items: list[BatchOut]
    next_cursor: str | None


class ResultOut(Shape):
    n: int
    name: str
    status: str
    error: str | None
    asset_id: int | None
    url: str | None
    video_id: int | None
    audio_id: int | None
    hook_id: int | None
    sha256: str | None
    size_bytes: int | None
    duration_seconds: float | None
    expires_at: datetime | None

    @classmethod
    def of(cls, found: Delivered) -> "ResultOut":
        output, asset = found.output, found.asset
        return cls(
            n=output.n,
            name=output.name,
            status=output.state,
            error=output.error,
            asset_id=asset.id if asset else None,
            url=url_for("media.part", asset_id=asset.id, part="original") if asset else None,
            video_id=output.spec.get("video"),
            audio_id=output.spec.get("audio"),
            hook_id=output.spec.get("hook"),
            sha256=asset.sha256 if asset else None,
            size_bytes=asset.size_bytes if asset else None,
            duration_seconds=asset.duration_seconds if asset else None,
            expires_at=asset.expires_at if asset else None,
        )


class ResultsAsked(Shape):
    status: str | None = Field(None, description="done (the default), failed, pending, expired or all.")


class ResultsOut(Shape):
    items: list[ResultOut]


class KeptOut(Shape):
    kept: int


class RebuiltOut(Shape):
    batch: BatchOut


def _summary(batch: Batch) -> BatchOut:
    return BatchOut.of(batches.summary(batch))


@door.get("/batches", asks=BatchesAsked, gives=BatchesOut)
def listed(account: Account, asked: BatchesAsked) -> BatchesOut:
    """Batches, newest first."""
    found = batches.recent(account.id, before=asked.cursor, limit=batches.LISTED + 1)
    items = found[: batches.LISTED]
    more = str(items[-1].batch.id) if len(found) > batches.LISTED else None
    return BatchesOut(items=[BatchOut.of(each) for each in items], next_cursor=more)


@door.get("/batches/<int:batch_id>", gives=BatchOut)
def show(account: Account, batch_id: int) -> BatchOut:
    """How a batch is doing."""
    return _summary(jobs.find_batch(account.id, batch_id))


@door.get("/batches/<int:batch_id>/results", asks=ResultsAsked, gives=ResultsOut)
def results(account: Account, batch_id: int, asked: ResultsAsked) -> ResultsOut:
    """What a batch delivered; with `status`, what it did not."""
    found = jobs.outputs(batch_id=jobs.find_batch(account.id, batch_id).id)
    wanted = asked.status or "done"
    return ResultsOut(items=[ResultOut.of(each) for each in found if wanted in ("all", each.output.state)])


@door.get("/batches/<int:batch_id>/zip", media_type="application/zip")
def archive(account: Account, batch_id: int) -> Response:
    """All delivered files and a CSV manifest, as one streamed ZIP."""
    return zipping.batch(jobs.find_batch(account.id, batch_id))


@door.post("/batches/<int:batch_id>/keep", gives=KeptOut)
def keep(account: Account, batch_id: int) -> KeptOut:
    """Move what it delivered into the library for good."""
    return KeptOut(kept=batches.keep(jobs.find_batch(account.id, batch_id)))


@door.post("/batches/<int:batch_id>/retry", gives=BatchOut, status=202)
def retry(account: Account, batch_id: int) -> BatchOut:
    """Try again what failed."""
    batch = jobs.find_batch(account.id, batch_id)
    jobs.retry_batch(account, batch, who.settings())
    return _summary(batch)


@door.post("/batches/<int:batch_id>/rebuild", gives=RebuiltOut, status=202)
def rebuild(account: Account, batch_id: int) -> RebuiltOut:
    """The same input once more, as a new batch, at the prices of now. `Credits-Max` is honoured."""
    batch = jobs.find_batch(account.id, batch_id)
    made = batches.rebuild(account, batch, who.settings(), key=idempotency_key(), credits_max=credits_max())
    assert made.batch is not None, "a rebuilt batch is a batch"
    return RebuiltOut(batch=_summary(made.batch))


@door.delete("/batches/<int:batch_id>", gives=BatchOut)
def cancel(account: Account, batch_id: int) -> BatchOut:
    """Cancel what is not made yet."""
    batch = jobs.find_batch(account.id, batch_id)
    jobs.cancel_batch(batch)
    return _summary(batch)
