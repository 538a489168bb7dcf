"""The book of the sandbox: every run that was started there, kept in a file, so that a killed sandbox forgets none."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

TABLE = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, vendor TEXT NOT NULL, model TEXT NOT NULL, marker TEXT NOT NULL, wanted TEXT NOT NULL,
    seconds REAL NOT NULL, started_at REAL NOT NULL, cancelled_at REAL, notes TEXT NOT NULL DEFAULT '{}')"""
COLUMNS = "id, vendor, model, marker, wanted, seconds, started_at, cancelled_at, notes"
QUEUED_SHARE = 0.2  # of its time a run waits until somebody begins with it
BUSY_SECONDS = 10.0


@dataclass(frozen=True)
class Run:
    """One run. How it stands at a moment follows from when it was started, and whether it was cancelled."""

    id: str
    vendor: str
    model: str
    marker: str
    wanted: dict[str, Any]
    seconds: float
    started_at: float
    cancelled_at: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def age(self) -> float:
        """Seconds since it was started, by the clock on the wall, which goes on while the sandbox is down."""
        return max(0.0, time.time() - self.started_at)

    @property
    def is_cancelled(self) -> bool:
        return self.cancelled_at is not None

    @property
    def is_over(self) -> bool:
        return self.is_cancelled or self.age >= self.seconds

    @property
    def is_queued(self) -> bool:
        return not self.is_over and self.age < QUEUED_SHARE * self.seconds

    @property
    def progress(self) -> float:
        """The share that is done, from 0 to 1."""
        return min(1.0, self.age / self.seconds) if self.seconds else 1.0

    @property
    def ended_at(self) -> float:
        """When it was over, or will be, in seconds since 1970."""
        return self.started_at + self.seconds if self.cancelled_at is None else self.cancelled_at

    @property
    def seed(self) -> int:
        """What its results are drawn from: what was asked for, or else what was wanted, so that it comes out alike."""
        given = self.wanted.get("seed")
        if isinstance(given, int) and not isinstance(given, bool):
            return given
        said = json.dumps([self.model, self.wanted], sort_keys=True).encode()
        return int.from_bytes(sha256(said).digest()[:4], "big")

    def billed(self, *, is_billed: bool | None = None) -> dict[str, Any]:
        """One line of the bill at /sandbox/bill. Whatever was started is billed unless it was cancelled in time."""
        return {
            "id": self.id,
            "vendor": self.vendor,
            "model": self.model,
            "marker": self.marker,
            "billed": not self.is_cancelled if is_billed is None else is_billed,
            "over": self.is_over,
            "cancelled": self.is_cancelled,
            "started_at": self.started_at,
        }


class Book:
    """All runs of one sandbox, in `folder`, which it makes. Any thread may ask."""

    def __init__(self, folder: Path, seconds: float = 3.0) -> None:
        """`seconds`: how long a run takes of which nobody says how long it takes."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.seconds = folder, seconds
        self._lock = threading.Lock()
        with self._rows() as rows:
            rows.execute("PRAGMA journal_mode = WAL")
            rows.execute(TABLE)

    def start(
        self, vendor: str, model: str, wanted: Mapping[str, Any], seconds: float | None = None, marker: str = ""
    ) -> Run:
        """Write a run down; it is in the file when this returns. `seconds`: how long it takes."""
        takes = self.seconds if seconds is None else seconds
        run = Run(str(uuid4()), vendor, model, marker, dict(wanted), takes, time.time())
        with self._rows() as rows:
            values = (run.id, vendor, model, marker, json.dumps(run.wanted), takes, run.started_at)
            rows.execute(f"INSERT INTO runs ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, NULL, '{{}}')", values)  # noqa: S608
        return run

    def find(self, run_id: str) -> Run | None:
        with self._rows() as rows:
            row = rows.execute(f"SELECT {COLUMNS} FROM runs WHERE id = ?", (run_id,)).fetchone()  # noqa: S608
        return _run(row) if row else None

    def all(self, vendor: str | None = None) -> list[Run]:
        """Every run, oldest first; of one vendor if that is named."""
        with self._rows() as rows:
            query = f"SELECT {COLUMNS} FROM runs WHERE ? IN (vendor, '') ORDER BY started_at"  # noqa: S608
            return [_run(row) for row in rows.execute(query, (vendor or "",))]

    def cancel(self, run: Run) -> bool:
        """Stop a run. False: it was over before."""
        with self._rows() as rows:
            now = time.time()
            done = rows.execute(
                "UPDATE runs SET cancelled_at = ? WHERE id = ? AND cancelled_at IS NULL AND started_at + seconds > ?",
                (now, run.id, now),
            )
            return done.rowcount > 0

    def note(self, run: Run, **values: Any) -> Run:
        """Write down what became of a run, beside what was noted before: the run with it."""
        with self._rows() as rows:
            query = f"SELECT {COLUMNS} FROM runs WHERE id = ?"  # noqa: S608
            noted = {**_run(rows.execute(query, (run.id,)).fetchone()).notes, **values}
            rows.execute("UPDATE runs SET notes = ? WHERE id = ?", (json.dumps(noted), run.id))
            return _run(rows.execute(query, (run.id,)).fetchone())

    @contextmanager
    def _rows(self) -> Iterator[sqlite3.Connection]:
        """A transaction. One at a time: they are short, and SQLite would only say that it is busy."""
        with (
            self._lock,
            closing(sqlite3.connect(self.folder / "book.sqlite", timeout=BUSY_SECONDS)) as rows,
            rows,
        ):
            yield rows


def _run(row: tuple[Any, ...]) -> Run:
    run_id, vendor, model, marker, wanted, seconds, started_at, cancelled_at, notes = row
    return Run(run_id, vendor, model, marker, json.loads(wanted), seconds, started_at, cancelled_at, json.loads(notes))
