"""Figures for whoever watches over an installation, in the text format of Prometheus.

Everything is asked of the database at the moment of asking, in bounded queries; only requests are counted, in Redis,
because several processes answer them.
"""

import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import redis
import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from novai_web import presence
from novai_web.config import Settings
from novai_web.credits import invariants
from novai_web.db import session
from novai_web.engines.store import Store
from novai_web.errors import NovaiError
from novai_web.jobs.leases import DUE
from novai_web.queue import QUEUES

log = structlog.get_logger()

MIME = "text/plain; version=0.0.4"
LEDGER_SECONDS = 60
FLUSH_SECONDS = 5.0
# Redis only says how often people asked; nobody waits for it.
REDIS_SECONDS = 0.3

REQUESTS_KEY = "novai:metrics:requests"
LEDGER_KEY = "novai:metrics:ledger"
LEDGER_TURN_KEY = "novai:metrics:ledger-turn"

Labels = Mapping[str, str]
Samples = Iterable[tuple[Labels, float]]

# The open jobs are few, and an index knows them; of those that are over, the thousand newest are enough.
OPEN_JOBS = text(f"""
    SELECT queue, state, count(*) AS jobs,
           count(*) FILTER (WHERE {DUE}) AS due,
           coalesce(extract(epoch FROM clock_timestamp() - min(run_at) FILTER (WHERE {DUE})), 0)::float
               AS oldest_seconds
    FROM jobs WHERE state IN ('queued', 'running', 'waiting') GROUP BY queue, state""")  # noqa: S608

RECENT_JOBS = text("""
    SELECT tool_slug, state, count(*) AS jobs, sum(slices)::bigint AS slices,
           sum(lost_attempts)::bigint AS lost_attempts
    FROM (SELECT * FROM jobs ORDER BY id DESC LIMIT 1000) AS recent GROUP BY tool_slug, state""")

DURATIONS = text("""
    SELECT tool_slug, count(*) AS jobs, sum(seconds)::float AS seconds,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds)::float AS p50,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds)::float AS p95
    FROM (SELECT tool_slug, extract(epoch FROM ended_at - started_at) AS seconds
          FROM (SELECT * FROM jobs ORDER BY id DESC LIMIT 1000) AS recent
          WHERE ended_at IS NOT NULL AND started_at IS NOT NULL) AS ended
    GROUP BY tool_slug""")

VENDORS = text("SELECT name, failures, coalesce(open_until > clock_timestamp(), false) AS is_open FROM vendors")

RECENT_RUNS = text("""
    SELECT vendor, state, count(*) AS runs, count(*) FILTER (WHERE booked_to_house) AS booked
    FROM (SELECT * FROM runs ORDER BY id DESC LIMIT 1000) AS recent GROUP BY vendor, state""")


class Requests:
    """Answers by their status, counted here and now and then added to what all web processes counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._flushed_at = time.monotonic()

    def count(self, status: int, settings: Settings) -> None:
        with self._lock:
            self._counts[str(status)] += 1
            is_due = time.monotonic() - self._flushed_at > FLUSH_SECONDS
        if is_due:
            self.flush(settings)

    def flush(self, settings: Settings) -> None:
        """Add what was counted. When that fails it stays, and is added later."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            self._flushed_at = time.monotonic()
        if not counts:
            return
        try:
            with _redis(settings.redis_url).pipeline() as line:
                for status, number in counts.items():
                    line.hincrby(REQUESTS_KEY, status, number)
                line.execute()
        except (redis.RedisError, ValueError) as problem:  # ValueError: no address at all
            log.warning("requests_not_counted", problem=type(problem).__name__)
            with self._lock:
                self._counts += counts


requests = Requests()
_started_at = time.monotonic()


def page(settings: Settings, store: Store) -> str:
    """Everything that is known now. What does not answer is left out, and said to be down."""
    return "".join(line for part in (_of_process, _of_database, _of_redis, _of_disk) for line in part(settings, store))


def _of_process(settings: Settings, store: Store) -> Iterator[str]:
    yield from _gauge("novai_uptime_seconds", "How long this web process has run.", _one(_uptime()))


def _of_database(settings: Settings, store: Store) -> Iterator[str]:
    try:
        found = [*_jobs(), *_durations(), *_vendors(), *_ledger(settings)]
    except SQLAlchemyError as problem:
        log.warning("not_measured", problem=type(problem).__name__)
        found = []
    finally:
        session.rollback()
    yield from _gauge("novai_database_up", "Whether the database answers.", _one(bool(found)))
    yield from found


def _of_redis(settings: Settings, store: Store) -> Iterator[str]:
    requests.flush(settings)
    try:
        heard = presence.heard(settings)
        counted = _redis(settings.redis_url).hgetall(REQUESTS_KEY)
    except (redis.RedisError, ValueError):
        yield from _gauge("novai_redis_up", "Whether Redis answers.", _one(0))
        return
    yield from _gauge("novai_redis_up", "Whether Redis answers.", _one(1))
    present = [({"kind": kind}, float(kind in heard)) for kind in presence.KINDS]
    yield from _gauge("novai_present", "Whether a process of this kind was heard of lately.", present)
    by_status = [({"status": status.decode()}, float(number)) for status, number in sorted(_items(counted))]
    yield from _counter("novai_requests_total", "Answers of all web processes, by status.", by_status)


def _of_disk(settings: Settings, store: Store) -> Iterator[str]:
    free = [({"disk": "data"}, float(shutil.disk_usage(settings.data).free))] if settings.data.exists() else []
    try:
        in_store = store.free_bytes()
    except NovaiError:
        in_store = None
    free += [] if in_store is None else [({"disk": "store"}, float(in_store))]
    yield from _gauge("novai_disk_free_bytes", "Room left.", free)
    watermark = _one(settings.disk_free_bytes_min)
    yield from _gauge("novai_disk_free_bytes_min", "Below this, uploads and jobs are refused.", watermark)


def _jobs() -> Iterator[str]:
    rows = session.execute(OPEN_JOBS).all()
    by_state = [({"queue": row.queue, "state": row.state}, row.jobs) for row in rows]
    yield from _gauge("novai_jobs", "Jobs that are not over, by queue and state.", by_state)
    due: dict[str, float] = dict.fromkeys(QUEUES, 0.0)
    oldest: dict[str, float] = dict.fromkeys(QUEUES, 0.0)
    for row in rows:
        due[row.queue] = due.get(row.queue, 0.0) + row.due
        oldest[row.queue] = max(oldest.get(row.queue, 0.0), row.oldest_seconds)
    yield from _gauge("novai_jobs_due", "Jobs that a worker could take now.", _by("queue", due))
    yield from _gauge(
        "novai_job_oldest_due_seconds", "How long the job that waits longest was due.", _by("queue", oldest)
    )
    recent = session.execute(RECENT_JOBS).all()
    for name, meaning in (("jobs", "Jobs"), ("slices", "Slices of jobs"), ("lost_attempts", "Workers lost over jobs")):
        samples = [({"tool": row.tool_slug, "state": row.state}, getattr(row, name)) for row in recent]
        yield from _gauge(f"novai_recent_{name}", f"{meaning}, of the thousand newest.", samples)


def _durations() -> Iterator[str]:
    rows = session.execute(DURATIONS).all()
    name = "novai_recent_job_seconds"
    yield _head(name, "From first start to end, of the thousand newest jobs.", "summary")
    for row in rows:
        for share, seconds in (("0.5", row.p50), ("0.95", row.p95)):
            yield _line(name, {"tool": row.tool_slug, "quantile": share}, seconds)
        yield _line(f"{name}_sum", {"tool": row.tool_slug}, row.seconds)
        yield _line(f"{name}_count", {"tool": row.tool_slug}, row.jobs)


def _vendors() -> Iterator[str]:
    rows = session.execute(VENDORS).all()
    failures = [({"vendor": row.name}, row.failures) for row in rows]
    yield from _gauge("novai_vendor_failures", "Failures in a row at a vendor.", failures)
    is_open = [({"vendor": row.name}, row.is_open) for row in rows]
    yield from _gauge("novai_vendor_breaker_open", "Whether a vendor is being left alone for a while.", is_open)
    runs = session.execute(RECENT_RUNS).all()
    by_state = [({"vendor": row.vendor, "state": row.state}, row.runs) for row in runs]
    yield from _gauge("novai_recent_runs", "Paid runs by state, of the thousand newest.", by_state)
    booked: Counter[str] = Counter()
    for row in runs:
        booked[row.vendor] += row.booked
    yield from _gauge(
        "novai_recent_runs_booked_to_house", "Paid runs that nobody was charged for.", _by("vendor", booked)
    )


def _ledger(settings: Settings) -> Iterator[str]:
    broken = ledger_breaks(settings)
    if broken is not None:
        samples = [({"invariant": name}, float(broken.get(name, 0))) for name in invariants.INVARIANTS]
        yield from _gauge("novai_ledger_breaks", "Rows that break what must hold of money and jobs.", samples)


def ledger_breaks(settings: Settings) -> dict[str, int] | None:
    """How many rows break which invariant; None while nobody knows. They read whole tables, so one process a minute
    looks, and all tell what it saw."""
    try:
        server = _redis(settings.redis_url)
        if server.set(LEDGER_TURN_KEY, "taken", nx=True, ex=LEDGER_SECONDS):
            server.set(LEDGER_KEY, json.dumps({name: len(rows) for name, rows in invariants.broken().items()}))
        said: Any = server.get(LEDGER_KEY)
    except (redis.RedisError, ValueError):
        return None
    return None if said is None else dict(json.loads(said))


@cache
def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS)


def _items(found: Any) -> Iterable[tuple[bytes, bytes]]:
    """redis-py types every answer as one that might be awaited."""
    return [(key, value) for key, value in found.items()]


def _uptime() -> float:
    return time.monotonic() - _started_at


def _one(value: float) -> Samples:
    return [({}, value)]


def _by(label: str, values: Mapping[str, float]) -> Samples:
    return [({label: name}, value) for name, value in sorted(values.items())]


def _gauge(name: str, meaning: str, samples: Samples) -> Iterator[str]:
    yield _head(name, meaning, "gauge")
    for labels, value in samples:
        yield _line(name, labels, value)


def _counter(name: str, meaning: str, samples: Samples) -> Iterator[str]:
    yield _head(name, meaning, "counter")
    for labels, value in samples:
        yield _line(name, labels, value)


def _head(name: str, meaning: str, kind: str) -> str:
    return f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"


def _line(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{label}="{_escaped(said)}"' for label, said in labels.items())
    return f"{name}{{{shown}}} {float(value):.17g}\n" if shown else f"{name} {float(value):.17g}\n"


def _escaped(said: str) -> str:
    """As https://prometheus.io/docs/instrumenting/exposition_formats/ has it."""
    return said.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
