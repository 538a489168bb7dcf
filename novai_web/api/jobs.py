"""Jobs over JSON: how they are doing, cancelling and trying again."""

from datetime import datetime
from typing import Literal

from flask import url_for
from pydantic import Field

from novai_web import jobs
from novai_web.accounts import Account
from novai_web.api.door import Door, Shape
from novai_web.jobs import Job, finding
from novai_web.web import who
from novai_web.web.paths import ID_MAX

door = Door("jobs")


class JobOut(Shape):
    id: int
    tool: str
    title: str
    batch_id: int | None
    status: str
    progress: float
    step: str
    outputs_promised: int
    outputs_delivered: int
    credits_held: int
    credits_charged: int
    is_sandbox: bool = Field(description="The sandbox stood in for a vendor that has no key here.")
    error: str | None
    error_code: str | None
    retry_of_id: int | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    status_url: str

    @classmethod
    def of(cls, job: Job) -> "JobOut":
        return cls(
            id=job.id,
            tool=job.tool_slug,
            title=job.title,
            batch_id=job.batch_id,
            status=job.status,
            progress=round(job.progress, 4),
            step=job.step_label,
            outputs_promised=job.promised,
            outputs_delivered=job.delivered,
            credits_held=job.held,
            credits_charged=job.charged,
            is_sandbox=job.is_sandbox,
            error=job.error,
            error_code=job.error_code,
            retry_of_id=job.retry_of_id,
            created_at=job.created_at,
            started_at=job.started_at,
            completed_at=job.ended_at,
            status_url=url_for("api_jobs.get_show", job_id=job.id),
        )


class JobsAsked(Shape):
    status: Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled"] | None = None
    tool: str | None = Field(None, pattern=r"^[a-z0-9_-]*$")
    cursor: int | None = Field(None, ge=1, le=ID_MAX)
    limit: int = Field(50, ge=1, le=200)


class JobsOut(Shape):
    items: list[JobOut]
    next_cursor: str | None


class StatsOut(Shape):
    """How many jobs of this account are in each state."""

    queued: int
    running: int
    waiting: int
    succeeded: int
    failed: int
    cancelled: int


@door.get("/jobs", asks=JobsAsked, gives=JobsOut)
def listed(account: Account, asked: JobsAsked) -> JobsOut:
    """Jobs, newest first."""
    states = [asked.status] if asked.status else []
    found = finding.recent(account.id, states=states, tool=asked.tool, before=asked.cursor, limit=asked.limit + 1)
    items = found[: asked.limit]
    more = str(items[-1].id) if len(found) > asked.limit else None
    return JobsOut(items=[JobOut.of(job) for job in items], next_cursor=more)


@door.get("/jobs/stats", gives=StatsOut)
def stats(account: Account) -> StatsOut:
    """How many jobs are in each state."""
    return StatsOut(**finding.counts(account.id))


@door.get("/jobs/<int:job_id>", gives=JobOut)
def show(account: Account, job_id: int) -> JobOut:
    """How one job is doing."""
    return JobOut.of(jobs.find(account.id, job_id))


@door.delete("/jobs/<int:job_id>", gives=JobOut)
def cancel(account: Account, job_id: int) -> JobOut:
    """Cancel it. What it delivered stays; what it did not is not charged. Cancelling what is over does nothing."""
    jobs.cancel(jobs.find(account.id, job_id))
    return JobOut.of(jobs.find(account.id, job_id))


@door.post("/jobs/<int:job_id>/retry", gives=JobOut, status=202)
def retry(account: Account, job_id: int) -> JobOut:
    """A new job for what this one did not deliver. Asked twice, the same new job answers."""
    return JobOut.of(jobs.retry(account, jobs.find(account.id, job_id), who.settings()))


@door.post("/jobs/<int:job_id>/front", gives=JobOut)
def to_front(account: Account, job_id: int) -> JobOut:
    """Before all other waiting jobs of this account."""
    job = jobs.find(account.id, job_id)
    jobs.move_to_front(job)
    return JobOut.of(job)
