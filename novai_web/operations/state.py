"""State: what an administrator must see at an incident. Each part is one bounded question, and none asks outside."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from novai_web import queue
from novai_web.config import Settings
from novai_web.db import session
from novai_web.engines.store import Store
from novai_web.errors import NovaiError
from novai_web.jobs.leases import DUE

HOURS = 24
# Of those that are over, so many of the newest are looked at, however many there are.
JOBS_LOOKED_AT = 20_000
SHOWN = 10
LATE_SECONDS = 60
ERRORS_SHOWN = 20

OPEN_JOBS = text(f"""
    SELECT queue, tool_slug AS tool,
           count(*) FILTER (WHERE state = 'queued') AS queued,
           count(*) FILTER (WHERE state = 'running' AND lease_until >= statement_timestamp()) AS running,
           count(*) FILTER (WHERE state = 'waiting') AS waiting,
           count(*) FILTER (WHERE {DUE}) AS due,
           coalesce(extract(epoch FROM statement_timestamp() - min(run_at) FILTER (WHERE {DUE})), 0)::float
               AS oldest_seconds
    FROM jobs WHERE state IN ('queued', 'running', 'waiting')
    GROUP BY queue, tool_slug ORDER BY queue, tool_slug""")  # noqa: S608

# Its turn has long come, its worker was lost, or it fails again and again. The longest first.
LATE_JOBS = text(f"""
    SELECT j.id, j.title, j.account_id, a.name AS person, j.state, j.tool_slug AS tool, j.run_at, j.heard_at,
           j.lost_attempts, j.error_attempts,
           greatest(0, extract(epoch FROM statement_timestamp() - j.run_at)::float) AS due_seconds
    FROM jobs j JOIN accounts a ON a.id = j.account_id
    WHERE j.state IN ('queued', 'running', 'waiting')
      AND (j.lost_attempts > 0 OR j.error_attempts > 1
           OR (j.run_at < statement_timestamp() - make_interval(secs => :late) AND {DUE}))
    ORDER BY j.run_at LIMIT :most""")  # noqa: S608

FAILED_JOBS = text("""
    SELECT tool_slug AS tool, error_code AS code, count(*) AS jobs, count(DISTINCT account_id) AS people,
           max(ended_at) AS last_at, max(id) AS last_id, (array_agg(error ORDER BY ended_at DESC))[1] AS words,
           (array_agg(account_id ORDER BY ended_at DESC))[1] AS account_id
    FROM jobs
    WHERE id > (SELECT coalesce(max(id), 0) FROM jobs) - :looked_at AND state = 'failed'
      AND ended_at > statement_timestamp() - make_interval(hours => :hours)
    GROUP BY tool_slug, error_code ORDER BY count(*) DESC, max(ended_at) DESC LIMIT :most""")

ENDED_JOBS = text("""
    SELECT count(*) FILTER (WHERE state = 'succeeded') AS done, count(*) FILTER (WHERE state = 'failed') AS failed
    FROM jobs WHERE id > (SELECT coalesce(max(id), 0) FROM jobs) - :looked_at
      AND ended_at > statement_timestamp() - make_interval(hours => :hours)""")

VENDOR_ERRORS = text("""
    SELECT vendor, count(*) AS errors FROM vendor_errors
    WHERE at > statement_timestamp() - make_interval(hours => :hours) GROUP BY vendor""")

ROOM = text("""
    SELECT coalesce(sum(size_bytes) FILTER (WHERE trashed_at IS NULL AND expires_at IS NULL), 0)::bigint AS kept,
           coalesce(sum(size_bytes) FILTER (WHERE trashed_at IS NULL AND expires_at IS NOT NULL), 0)::bigint
               AS expiring,
           coalesce(sum(size_bytes) FILTER (WHERE trashed_at IS NOT NULL), 0)::bigint AS trash,
           min(expires_at) FILTER (WHERE trashed_at IS NULL) AS first_expiry
    FROM assets WHERE deleting_at IS NULL""")

LARGEST = text("""
    SELECT a.account_id, p.name AS person, sum(a.size_bytes)::bigint AS bytes,
           coalesce(sum(a.size_bytes) FILTER (WHERE a.trashed_at IS NOT NULL), 0)::bigint AS trash
    FROM assets a JOIN accounts p ON p.id = a.account_id WHERE a.deleting_at IS NULL
    GROUP BY a.account_id, p.name ORDER BY sum(a.size_bytes) DESC LIMIT 5""")


@dataclass(frozen=True)
class Lane:
    """The open jobs of one tool in one queue. `due` could be taken now; the oldest of them since so many seconds."""

    queue: str
    tool: str
    queued: int
    running: int
    waiting: int
    due: int
    oldest_seconds: float


@dataclass(frozen=True)
class Late:
    """A job that gives trouble: whose, since when it could go on, and what was tried."""

    id: int
    title: str
    account_id: int
    person: str
    state: str
    tool: str
    run_at: datetime
    heard_at: datetime | None
    lost_attempts: int
    error_attempts: int
    due_seconds: float


@dataclass(frozen=True)
class Failed:
    """Jobs of one tool that ended with the same code, and the newest of them."""

    tool: str
    code: str | None
    jobs: int
    people: int
    last_at: datetime
    last_id: int
    words: str | None
    account_id: int


@dataclass(frozen=True)
class Jobs:
    """The queue now, and what became of jobs in the last day. `bells` wait for a worker; None: Redis does not say."""

    lanes: Sequence[Lane]
    late: Sequence[Late]
    failed: Sequence[Failed]
    done_count: int
    failed_count: int
    bells: dict[str, int | None]

    @property
    def open_count(self) -> int:
        return sum(lane.queued + lane.running + lane.waiting for lane in self.lanes)

    @property
    def due_count(self) -> int:
        return sum(lane.due for lane in self.lanes)

    @property
    def oldest_seconds(self) -> float:
        return max((lane.oldest_seconds for lane in self.lanes), default=0.0)


@dataclass(frozen=True)
class Largest:
    account_id: int
    person: str
    bytes: int
    trash: int


@dataclass(frozen=True)
class Disk:
    """The disk of the data folder, and what the library has on the store. `store_free` is None where nobody knows."""

    total: int
    free: int
    free_min: int
    store_free: int | None
    kept: int
    expiring: int
    trash: int
    first_expiry: datetime | None
    largest: Sequence[Largest]

    @property
    def used(self) -> int:
        return self.total - self.free

    @property
    def is_full(self) -> bool:
        return self.free < self.free_min

    @property
    def is_nearly_full(self) -> bool:
        return self.free < 2 * self.free_min


def jobs() -> Jobs:
    bounds = {"looked_at": JOBS_LOOKED_AT, "hours": HOURS}
    ended = session.execute(ENDED_JOBS, bounds).one()
    return Jobs(
        lanes=[Lane(**row) for row in _rows(OPEN_JOBS)],
        late=[Late(**row) for row in _rows(LATE_JOBS, late=LATE_SECONDS, most=SHOWN)],
        failed=[Failed(**row) for row in _rows(FAILED_JOBS, **bounds, most=ERRORS_SHOWN)],
        done_count=ended.done,
        failed_count=ended.failed,
        bells={name: queue.depth(name) for name in queue.QUEUES},
    )


def vendor_errors() -> dict[str, int]:
    """How much went wrong at each vendor in the last day."""
    return {row["vendor"]: row["errors"] for row in _rows(VENDOR_ERRORS, hours=HOURS)}


def disk(settings: Settings, store: Store) -> Disk:
    on_data = shutil.disk_usage(settings.data)
    try:
        store_free = store.free_bytes()
    except NovaiError:
        store_free = None
    (room,) = _rows(ROOM)
    return Disk(
        total=on_data.total,
        free=on_data.free,
        free_min=settings.disk_free_bytes_min,
        store_free=store_free,
        largest=[Largest(**row) for row in _rows(LARGEST)],
        **room,
    )


def _rows(query: Any, **given: object) -> list[dict[str, Any]]:
    return [dict(row) for row in session.execute(query, given).mappings()]
