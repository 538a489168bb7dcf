"""A job, the batch it belongs to, and the outputs it promised."""

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, false, func, text
from sqlalchemy.orm import Mapped, mapped_column

from novai_web import tools
from novai_web.db import Base, Id, Json
from novai_web.tools.tool import Tool


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = (State.SUCCEEDED, State.FAILED, State.CANCELLED)
OPEN = (State.QUEUED, State.RUNNING, State.WAITING)


def remaining_seconds(started_at: datetime | None, progress: float) -> float | None:
    """What is left of work that goes on as it did; None as long as too little is done to tell."""
    if started_at is None or progress < 0.02:
        return None
    elapsed = (datetime.now(UTC) - started_at).total_seconds()
    return max(0.0, elapsed * (1 - progress) / progress)


class Batch(Base):
    """Jobs submitted together from one form."""

    __tablename__ = "batches"
    __table_args__ = (Index("ix_batches_list", "account_id", "id"),)

    id: Mapped[Id]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    tool_slug: Mapped[str]
    title: Mapped[str]
    input: Mapped[Json]
    promised: Mapped[int]
    rebuilt_from_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    kept_at: Mapped[datetime | None]

    @property
    def tool(self) -> Tool:
        return tools.find(self.tool_slug)


class Job(Base):
    """One run of one tool for one account. The table of these is the queue."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled')", name="state"),
        CheckConstraint("progress BETWEEN 0 AND 1", name="progress"),
        CheckConstraint("delivered BETWEEN 0 AND promised", name="delivered"),
        CheckConstraint("progress < 1 OR state = 'succeeded'", name="whole_only_on_success"),
        Index("ix_jobs_due", "queue", "run_at", postgresql_where=text("state IN ('queued', 'waiting', 'running')")),
        Index("ix_jobs_list", "account_id", "id"),
        Index(
            "ix_jobs_lanes",
            "queue",
            "account_id",
            text("(started_at IS NULL)"),
            "tool_slug",
            text("priority DESC"),
            "run_at",
            "id",
            postgresql_where=text("state IN ('queued', 'waiting', 'running')"),
        ),
        Index(
            "ix_jobs_begun",
            "tool_slug",
            "account_id",
            postgresql_where=text("started_at IS NOT NULL AND state IN ('queued', 'waiting', 'running')"),
        ),
        Index("ix_jobs_starts", "tool_slug", "started_at", postgresql_where=text("started_at IS NOT NULL")),
        Index("ix_jobs_open", "account_id", postgresql_where=text("state IN ('queued', 'waiting', 'running')")),
        Index("ix_jobs_cancels", "cancel_requested_at", postgresql_where=text("cancel_requested_at IS NOT NULL")),
        Index("ix_jobs_served", "account_id", "started_at"),
        Index("ix_jobs_running", "account_id", postgresql_where=text("state = 'running'")),
    )

    id: Mapped[Id]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"), index=True)
    retry_of_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"), unique=True)
    is_retried: Mapped[bool] = mapped_column(server_default=false())
    tool_slug: Mapped[str]
    title: Mapped[str]
    queue: Mapped[str]
    input: Mapped[Json]
    price: Mapped[int]
    charged: Mapped[int] = mapped_column(default=0)
    promised: Mapped[int] = mapped_column(default=1)
    delivered: Mapped[int] = mapped_column(default=0)

    state: Mapped[str] = mapped_column(default=State.QUEUED)
    step: Mapped[int] = mapped_column(default=0)
    progress: Mapped[float] = mapped_column(Float, default=0.0)
    notes: Mapped[Json] = mapped_column(default=dict)
    error: Mapped[str | None]
    error_code: Mapped[str | None]

    # The lease. Every write of a slice carries the token; a newer token means that the slice is stale.
    lease_token: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    slices: Mapped[int] = mapped_column(default=0)
    lost_attempts: Mapped[int] = mapped_column(default=0)
    error_attempts: Mapped[int] = mapped_column(default=0)
    priority: Mapped[int] = mapped_column(default=0)
    run_at: Mapped[datetime] = mapped_column(server_default=func.now())
    deadline_seconds: Mapped[int]
    deadline_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    # The sandbox stood in for a vendor.
    is_sandbox: Mapped[bool] = mapped_column(default=False, server_default=false())
    # Set when the database was restored: a vendor may know more of this job than we do.
    doubtful_since: Mapped[datetime | None]

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    heard_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    @property
    def tool(self) -> Tool:
        return tools.find(self.tool_slug)

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def is_cancelling(self) -> bool:
        return not self.is_over and self.cancel_requested_at is not None

    @property
    def status(self) -> str:
        """The word a person sees."""
        return "cancelling" if self.is_cancelling else self.state

    @property
    def step_label(self) -> str:
        steps = self.tool.steps
        return steps[min(self.step, len(steps) - 1)].label

    @property
    def held(self) -> int:
        return 0 if self.is_over else self.price

    @property
    def remaining_seconds(self) -> float | None:
        """About how long it still takes, if it goes on as it did."""
        return remaining_seconds(self.started_at, self.progress) if self.state == State.RUNNING else None

    @property
    def percent(self) -> int:
        """Whole percent, rounded down: 100 is shown only when all is done."""
        return int(self.progress * 100)

    @property
    def missing(self) -> int:
        """Outputs that were promised and not delivered."""
        return self.promised - self.delivered

    @property
    def can_retry(self) -> bool:
        return self.is_over and self.missing > 0 and not self.is_retried

    @property
    def retry_credits(self) -> int:
        """What a retry costs: the share of the price of what is missing, which was not charged before."""
        return self.price * self.missing // self.promised if self.promised else 0


class Output(Base):
    """One thing that a job promised. It is delivered when it has an asset, and only then charged."""

    __tablename__ = "outputs"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'done', 'failed', 'cancelled', 'expired')", name="state"),
        Index("uq_outputs_batch_n", "batch_id", "n", unique=True),
        Index("uq_outputs_job_n", "job_id", "n", unique=True),
        Index("ix_outputs_changes", "batch_id", "changed_at"),
        Index("ix_outputs_gone", "id", postgresql_where=text("state = 'done' AND asset_id IS NULL")),
    )

    id: Mapped[Id]
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"))
    n: Mapped[int]
    name: Mapped[str]
    spec: Mapped[Json] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(default="pending")
    error: Mapped[str | None]
    asset_id: Mapped[int | None] = mapped_column(ForeignKey("assets.id", ondelete="SET NULL"), index=True)
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.clock_timestamp())


class Submission(Base):
    """What one Idempotency-Key (or one rendering of a form) led to, so that sending it twice makes one job."""

    __tablename__ = "submissions"

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"))
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class Periodic(Base):
    """One slot of periodic work. The key makes two dispatchers do it once."""

    __tablename__ = "periodic"

    task: Mapped[str] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
