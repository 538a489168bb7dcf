"""Leases: which worker may write to a job, and for how long."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text, update
from sqlalchemy.engine import CursorResult

from novai_web.config import Settings
from novai_web.db import now, session
from novai_web.errors import StaleLease
from novai_web.jobs.models import Job, State

# The account with the fewest running jobs goes first, then the one that was served longest ago, so nobody's two
# hundred variants block another's one job, not even on a single worker. `accounts` steps through the index from one
# account to the next, and `due` looks at the first job of each until one can be had: a long queue costs no more.
CLAIM = text("""
    WITH RECURSIVE accounts AS (
        (SELECT account_id FROM jobs WHERE queue = :queue AND state IN ('queued', 'waiting', 'running')
         ORDER BY account_id LIMIT 1)
        UNION ALL
        SELECT (SELECT jobs.account_id FROM jobs WHERE queue = :queue AND state IN ('queued', 'waiting', 'running')
                AND jobs.account_id > accounts.account_id ORDER BY jobs.account_id LIMIT 1)
        FROM accounts WHERE account_id IS NOT NULL
    ), turns AS MATERIALIZED (
        SELECT account_id FROM accounts WHERE account_id IS NOT NULL
        ORDER BY (SELECT count(*) FROM jobs WHERE jobs.account_id = accounts.account_id
                  AND state = 'running' AND lease_until >= now()),
                 (SELECT max(started_at) FROM jobs WHERE jobs.account_id = accounts.account_id) NULLS FIRST,
                 account_id
    ), due AS (
        SELECT first.id FROM turns CROSS JOIN LATERAL (
            SELECT id FROM jobs
            WHERE queue = :queue AND jobs.account_id = turns.account_id AND run_at <= now()
              AND state IN ('queued', 'waiting', 'running') AND (state <> 'running' OR lease_until < now())
            ORDER BY priority DESC, run_at, id
            LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS first LIMIT 1
    )
    UPDATE jobs SET state = 'running', lease_token = lease_token + 1, slices = slices + 1,
           lease_until = now() + make_interval(secs => :lease), heard_at = now(),
           lost_attempts = lost_attempts + (state = 'running')::int,
           started_at = coalesce(started_at, now()),
           deadline_at = coalesce(deadline_at, now() + make_interval(secs => deadline_seconds))
    FROM due WHERE jobs.id = due.id
    RETURNING jobs.id, jobs.lease_token""")


@dataclass(frozen=True)
class Lease:
    """The right to write to a job. A newer token makes an older lease worthless."""

    job_id: int
    token: int

    def write(self, **values: Any) -> None:
        """Change the job's row. Raises StaleLease when another worker has it, or when it is over."""
        done = session.execute(
            update(Job)
            .where(Job.id == self.job_id, Job.lease_token == self.token, Job.state == State.RUNNING)
            .values(heard_at=now(), **values)
            .execution_options(synchronize_session=False)
        )
        if not isinstance(done, CursorResult) or done.rowcount == 0:
            raise StaleLease


def claim(queue: str, settings: Settings) -> Lease | None:
    """Take the job of this queue whose turn it is. None: nothing is due, and the bell can be dropped."""
    row = session.execute(CLAIM, {"queue": queue, "lease": settings.lease_seconds}).first()
    return Lease(row.id, row.lease_token) if row else None


@dataclass(frozen=True)
class Word:
    """What a job's row says back to the worker that renews its lease."""

    cancel: bool
    late: bool


def renew(lease: Lease, settings: Settings) -> Word:
    """Hold the job for another lease. Raises StaleLease."""
    row = session.execute(
        text("""
            UPDATE jobs SET lease_until = now() + make_interval(secs => :lease)
            WHERE id = :job AND lease_token = :token AND state = 'running'
            RETURNING cancel_requested_at IS NOT NULL AS cancel, deadline_at < now() AS late"""),
        {"job": lease.job_id, "token": lease.token, "lease": settings.lease_seconds},
    ).first()
    if row is None:
        raise StaleLease
    return Word(bool(row.cancel), bool(row.late))
