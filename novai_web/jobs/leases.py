"""Leases: which worker may write to a job, and for how long."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text, update
from sqlalchemy.engine import CursorResult

from novai_web import failpoints, tools
from novai_web.config import Pace, Settings
from novai_web.db import after_commit, now, session
from novai_web.errors import StaleLease
from novai_web.jobs.models import Job, State

# Its time has come, and nobody is at it, or whoever was has died. By the database's clock, at the start of a statement.
DUE = """run_at <= statement_timestamp() AND state IN ('queued', 'waiting', 'running')
    AND (state <> 'running' OR lease_until < statement_timestamp())"""

# A deadline is about work that does not get on. Time in which no worker came for a job, as while this machine was off,
# is none of it: nobody's paid run is thrown away for that.
STOOD_STILL = """statement_timestamp() - greatest(run_at, coalesce(heard_at, run_at), coalesce(lease_until, run_at))"""
STOOD_STILL_SECONDS = 15 * 60

# The account with the fewest running jobs goes first, then the one that was served longest ago, so nobody's two
# hundred variants block another's one job, not even on a single worker. A lane is what is alike for every limit: the
# jobs of one account and one tool that have begun, or that have not. Limits decide only who may begin: what has begun
# goes on. `lanes` steps through the index from one lane to the next, and `due` looks at the first job of each until
# one can be had: a long queue costs no more. All times are the database's, at the start of this statement.
CLAIM = text(f"""
    WITH RECURSIVE lanes AS (
        (SELECT account_id, (started_at IS NULL) AS is_new, tool_slug FROM jobs
         WHERE queue = :queue AND state IN ('queued', 'waiting', 'running')
         ORDER BY account_id, (started_at IS NULL), tool_slug LIMIT 1)
        UNION ALL
        SELECT next.account_id, next.is_new, next.tool_slug FROM lanes CROSS JOIN LATERAL (
            SELECT jobs.account_id, (jobs.started_at IS NULL) AS is_new, jobs.tool_slug FROM jobs
            WHERE queue = :queue AND state IN ('queued', 'waiting', 'running')
              AND (jobs.account_id, (jobs.started_at IS NULL), jobs.tool_slug)
                  > (lanes.account_id, lanes.is_new, lanes.tool_slug)
            ORDER BY jobs.account_id, (jobs.started_at IS NULL), jobs.tool_slug LIMIT 1
        ) AS next
    ), full_tools AS MATERIALIZED (
        SELECT pace.tool
        FROM unnest(CAST(:tools AS text[]), CAST(:parallel AS bigint[]), CAST(:starts AS bigint[]),
                    CAST(:seconds AS double precision[])) AS pace(tool, parallel, starts, seconds)
        WHERE (SELECT count(*) FROM jobs WHERE tool_slug = pace.tool
               AND started_at IS NOT NULL AND state IN ('queued', 'waiting', 'running')) >= pace.parallel
           OR (SELECT count(*) FROM jobs WHERE tool_slug = pace.tool
               AND started_at > statement_timestamp() - make_interval(secs => pace.seconds)) >= pace.starts
    ), full_accounts AS MATERIALIZED (
        SELECT account_id FROM jobs
        WHERE CAST(:most AS bigint) > 0 AND tool_slug = ANY (CAST(:counted AS text[]))
          AND started_at IS NOT NULL AND state IN ('queued', 'waiting', 'running')
        GROUP BY account_id HAVING count(*) >= CAST(:most AS bigint)
    ), turns AS MATERIALIZED (
        SELECT lanes.account_id, lanes.is_new, lanes.tool_slug FROM lanes CROSS JOIN LATERAL (
            SELECT priority, run_at, id FROM jobs
            WHERE queue = :queue AND jobs.account_id = lanes.account_id AND jobs.tool_slug = lanes.tool_slug
              AND (jobs.started_at IS NULL) = lanes.is_new AND {DUE}
            ORDER BY priority DESC, run_at, id LIMIT 1
        ) AS head
        WHERE NOT lanes.is_new OR (
            lanes.tool_slug NOT IN (SELECT tool FROM full_tools)
            AND (lanes.tool_slug <> ALL (CAST(:counted AS text[]))
                 OR lanes.account_id NOT IN (SELECT account_id FROM full_accounts)))
        ORDER BY (SELECT count(*) FROM jobs WHERE jobs.account_id = lanes.account_id
                  AND state = 'running' AND lease_until >= statement_timestamp()),
                 (SELECT max(started_at) FROM jobs WHERE jobs.account_id = lanes.account_id) NULLS FIRST,
                 lanes.account_id, head.priority DESC, head.run_at, head.id
    ), due AS (
        SELECT first.id FROM turns CROSS JOIN LATERAL (
            SELECT id FROM jobs
            WHERE queue = :queue AND jobs.account_id = turns.account_id AND jobs.tool_slug = turns.tool_slug
              AND (jobs.started_at IS NULL) = turns.is_new AND {DUE}
            ORDER BY priority DESC, run_at, id
            LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS first LIMIT 1
    )
    UPDATE jobs SET state = 'running', lease_token = lease_token + 1, slices = slices + 1,
           lease_until = statement_timestamp() + make_interval(secs => :lease), heard_at = statement_timestamp(),
           lost_attempts = lost_attempts + (state = 'running')::int,
           started_at = coalesce(started_at, statement_timestamp()),
           deadline_at = CASE
               WHEN deadline_at IS NULL THEN statement_timestamp() + make_interval(secs => deadline_seconds)
               WHEN {STOOD_STILL} > make_interval(secs => :stood_still) THEN deadline_at + ({STOOD_STILL})
               ELSE deadline_at END
    FROM due WHERE jobs.id = due.id
    RETURNING jobs.id, jobs.lease_token""")  # noqa: S608

# Two claims at once would both see the last place free. Who is stopped between here and the commit is thrown out.
ONE_AT_A_TIME = text("""
    SELECT set_config('idle_in_transaction_session_timeout', '5s', true), pg_advisory_xact_lock(:family, 0)""")
ADVISORY_FAMILY = 22


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
    """Take the job of this queue whose turn it is. None: nothing is due or may begin, and the bell can be dropped."""
    paces = _paces(settings)
    if paces or settings.jobs_parallel_per_account:
        session.execute(ONE_AT_A_TIME, {"family": ADVISORY_FAMILY})
    given = {"queue": queue, "lease": settings.lease_seconds, "stood_still": STOOD_STILL_SECONDS}
    given |= _limits(paces, settings)
    row = session.execute(CLAIM, given).first()
    if row is None:
        return None
    after_commit(lambda: failpoints.hit("claim.after"))
    return Lease(row.id, row.lease_token)


def _paces(settings: Settings) -> Mapping[str, Pace]:
    """What the tools say of themselves, unless the operator says otherwise."""
    declared = {tool.slug: tool.pace for tool in (*tools.TOOLS, *tools.DRILLS) if tool.pace}
    return declared | settings.paces


def _limits(paces: Mapping[str, Pace], settings: Settings) -> dict[str, Any]:
    """The limits as the claim reads them. So many starts a second is a whole number of starts in so many seconds."""
    per_second = [pace.starts_per_second for pace in paces.values()]
    starts = [math.ceil(rate) if rate else None for rate in per_second]
    return {
        "tools": list(paces),
        "parallel": [pace.parallel for pace in paces.values()],
        "starts": starts,
        "seconds": [n / rate if n and rate else None for n, rate in zip(starts, per_second, strict=True)],
        "most": settings.jobs_parallel_per_account,
        # What NOVAI gives itself to do neither waits for a person's jobs nor keeps one of them waiting.
        "counted": [tool.slug for tool in (*tools.TOOLS, *tools.DRILLS)],
    }


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
