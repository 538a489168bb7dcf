"""What a run of faults may have broken, counted: every count must be zero, and a unit test feeds each a broken state.

A count is the list of what was found, so that a number that is not zero can be looked into.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from sqlalchemy import Connection, text

from novai_web.credits.invariants import INVARIANTS
from novai_web.engines.store import Store
from novai_web.errors import NovaiError

Findings = dict[str, list[str]]

QUERIES = {
    "stuck jobs": """
        SELECT id, tool_slug, state FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')""",
    "captures not equal to one": """
        SELECT j.id, count(e.id) AS captures FROM jobs j LEFT JOIN entries e ON e.job_id = j.id AND e.kind = 'capture'
        WHERE j.state = 'succeeded' AND j.price > 0 GROUP BY j.id HAVING count(e.id) <> 1""",
    "captures without success": """
        SELECT e.job_id, j.state FROM entries e JOIN jobs j ON j.id = e.job_id
        WHERE e.kind = 'capture' AND j.state <> 'succeeded'""",
    "charges above the price": """
        SELECT j.id, j.price, j.charged, sum(e.delta_spent) AS spent FROM jobs j
        JOIN entries e ON e.job_id = j.id AND e.kind = 'capture' GROUP BY j.id
        HAVING sum(e.delta_spent) > j.price OR sum(e.delta_spent) <> j.charged""",
    "outputs made twice": """
        SELECT a.id, a.made_by_job_id FROM assets a WHERE a.made_by_job_id IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM outputs o WHERE o.asset_id = a.id)""",
    "deliveries after the end": """
        SELECT a.id, a.made_by_job_id FROM assets a JOIN jobs j ON j.id = a.made_by_job_id
        WHERE a.created_at > j.ended_at""",
}


@dataclass
class Diary:
    """What people were told, from any thread: it is compared with what is there afterwards."""

    submitted: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))  # key → batches it was told
    started: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))  # key → jobs without a batch
    retried: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))  # job → its retries as told
    uploaded: dict[int, str] = field(default_factory=dict)  # asset → SHA-256 of what was sent
    answers: Counter[int] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)  # answers of 5xx that are no plain "try again"
    fell: list[str] = field(default_factory=list)
    whole_too_soon: list[str] = field(default_factory=list)
    gave_up: list[str] = field(default_factory=list)
    polls: int = 0
    _highest: dict[int, float] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def answered(self, what: str, status: int, retry_after: str | None) -> None:
        """503 with Retry-After is what is promised while a server is away; any other 5xx is a crash."""
        with self._lock:
            self.answers[status] += 1
            if status >= 500 and not (status in (503, 507) and retry_after):
                self.crashes.append(f"{what}: {status}")

    def told_batch(self, key: str, batch_id: int) -> None:
        with self._lock:
            self.submitted[key].add(batch_id)

    def told_jobs(self, key: str, job_ids: Iterable[int]) -> None:
        with self._lock:
            self.started[key].update(job_ids)

    def told_retry(self, job_id: int, retry_id: int) -> None:
        with self._lock:
            self.retried[job_id].add(retry_id)

    def told_upload(self, asset_id: int, content: bytes) -> None:
        with self._lock:
            self.uploaded[asset_id] = hashlib.sha256(content).hexdigest()

    def saw(self, job_id: int, progress: float, status: str) -> None:
        """One poll of one job; the polls of one job must come in their order."""
        with self._lock:
            self.polls += 1
            before = self._highest.get(job_id, 0.0)
            if progress < before:
                self.fell.append(f"job {job_id}: {before} → {progress} ({status})")
            if progress >= 1 and status != "succeeded":
                self.whole_too_soon.append(f"job {job_id}: {status}")
            self._highest[job_id] = max(before, progress)


def told(diary: Diary, connection: Connection) -> Findings:
    """What people were told against what is there."""
    batches = {batch for made in diary.submitted.values() for batch in made}
    retries = {job for made in diary.retried.values() for job in made}
    jobs = {job for made in diary.started.values() for job in made}
    lost = [
        *(f"batch {row.id}" for row in _missing(connection, batches, "jobs.batch_id")),
        *(f"retry {row.id}" for row in _missing(connection, retries, "jobs.id")),
        *(f"job {row.id}" for row in _missing(connection, jobs, "jobs.id")),
    ]
    twice = [f"{key}: {sorted(made)}" for key, made in diary.submitted.items() if len(made) > 1]
    twice += [f"retry of {job}: {sorted(made)}" for job, made in diary.retried.items() if len(made) > 1]
    return {
        "jobs acknowledged and lost": lost,
        "submits that made jobs twice": twice,
        "progress going back": list(diary.fell),
        "100 % before success": list(diary.whole_too_soon),
        "answers of 5xx without a reason": list(diary.crashes),
    }


def _missing(connection: Connection, ids: Iterable[int], column: str) -> Sequence[Any]:
    query = f"""
        SELECT told.id FROM unnest(CAST(:ids AS bigint[])) AS told(id)
        WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE {column} = told.id)"""
    return connection.execute(text(query), {"ids": list(ids)}).all()


def booked(connection: Connection) -> Findings:
    """Jobs, money and outputs as the database has them."""
    found = {name: [_said(row) for row in connection.execute(text(query))] for name, query in QUERIES.items()}
    broken = [f"{name}: {_said(row)}" for name, query in INVARIANTS.items() for row in connection.execute(text(query))]
    return {**found, "broken invariants": broken}


@dataclass(frozen=True)
class Billed:
    """One run as the vendor has it on its bill."""

    id: str
    marker: str
    is_billed: bool
    is_over: bool


def spent(bill: Sequence[Billed], connection: Connection) -> Findings:
    """The vendor's bill against our runs: each belongs to one job, or is booked to the house, and none lives on."""
    rows = connection.execute(
        text("""
            SELECT r.marker, r.job_id, r.external_id, r.state, r.booked_to_house,
                   j.state IN ('succeeded', 'failed', 'cancelled') AS is_over
            FROM runs r JOIN jobs j ON j.id = r.job_id""")
    )
    ours: dict[str, Any] = {}
    for known in rows:  # the vendor's own id says more than our marker, which a run may carry that is none of ours
        ours |= {known.marker: known, _short(known.external_id): known}
    paid: Counter[int] = Counter()
    orphans = []
    for run in bill:
        row = ours.get(run.id) or ours.get(run.marker)
        if row is None:
            orphans.append(f"vendor's run {run.id}: nobody knows its marker")
        elif not run.is_over and row.is_over:
            orphans.append(f"vendor's run {run.id} of job {row.job_id} lives on ({row.state})")
        elif run.is_billed and not row.booked_to_house:
            paid[row.job_id] += 1
            if _short(row.external_id) != run.id or row.state in ("submitting", "not_started", "abandoned"):
                orphans.append(f"vendor's run {run.id} of job {row.job_id} is billed and not linked ({row.state})")
    return {
        "jobs with more than one paid run": [f"job {job}: {count}" for job, count in paid.items() if count > 1],
        "orphans at the vendor": orphans,
    }


def _short(external_id: str | None) -> str | None:
    """What the vendor calls it; some of our ids have its place there in front."""
    return external_id and external_id.rpartition("/")[2]


def runs_started_twice(bill: Sequence[Billed], connection: Connection) -> list[str]:
    """Jobs for which the vendor started more than one run, whoever pays. Allowed where an answer was in doubt."""
    rows = connection.execute(text("SELECT marker, external_id, job_id FROM runs"))
    jobs = {name: row.job_id for row in rows for name in (row.marker, _short(row.external_id))}
    started = Counter(jobs.get(run.id, jobs.get(run.marker)) for run in bill)
    return [f"job {job}: {count}" for job, count in started.items() if job and count > 1]


def kept(store: Store, connection: Connection, uploaded: Mapping[int, str]) -> Findings:
    """Files and rows, both ways, and the bytes of every upload that was acknowledged."""
    assets = connection.execute(text("SELECT id, store_key, previews, deleting_at FROM assets")).all()
    known = {key for row in assets for key in (row.store_key, *row.previews.values()) if key}
    coming = connection.scalars(text("SELECT reserved_id FROM uploads WHERE finished_at IS NULL AND reserved_id > 0"))
    on_their_way = tuple(f"assets/{number}/" for number in coming)
    stored = {key for key, _ in store.list("")}
    staying = [row for row in assets if row.deleting_at is None]
    needed = {key for row in staying for key in (row.store_key, *row.previews.values()) if key}
    strays = {key for key in stored - known if not key.startswith(on_their_way)}
    return {
        "rows without their file": sorted(needed - stored),
        "files that nothing knows": sorted(strays),
        "uploads lost or changed": _changed(store, assets, uploaded),
    }


def _changed(store: Store, assets: Sequence[Any], uploaded: Mapping[int, str]) -> list[str]:
    keys = {row.id: row.store_key for row in assets}
    wrong = []
    for asset_id, sent in uploaded.items():
        try:
            is_same = hashlib.sha256(b"".join(store.read(keys[asset_id]))).hexdigest() == sent
        except (KeyError, NovaiError, OSError):
            is_same = False
        if not is_same:
            wrong.append(f"asset {asset_id}")
    return wrong


def _said(row: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in row._mapping.items())


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least this share of them does not pass; 0 for none."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 1000) // 1000) - 1)] if ordered else 0.0
