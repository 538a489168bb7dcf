"""Where a drill takes place: an installation with short leases, the vendor's stand-in, people, and a last look."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from bench import counting
from bench.counting import Billed, Diary, Findings
from bench.crowd import Person, join
from bench.faults import Hands
from novai_web.config import Settings
from novai_web.engines.store import open_store
from novai_web.sandbox import started
from tests.installation import ROOT, Installation

LEASE_SECONDS = 4
WITHOUT = ROOT / "bench/without"  # its sitecustomize.py takes guards out, see there
PLENTY = "1000000 per minute"
BILLING = ("fal-queue", "gemini", "wavespeed", "picsi")  # who has a bill, of the vendors of the paid tools
BOOKED_SECONDS = 330  # by then housekeeping has booked what no vendor lists; it is promised within ten minutes
LIMITS = ("SIGN_IN_LIMIT", "API_LIMIT", "READ_LIMIT", "UPLOAD_LIMIT")

# The bench watches the tables of its own installation: a job that is taken over from a silent worker, and how long
# after that worker's last renewal; and a file delivered under a lease that is not the newest (its token is in its key).
WATCH = (
    "CREATE SCHEMA bench",
    "CREATE TABLE bench.takeovers (job_id bigint, seconds float)",
    "CREATE TABLE bench.stale (job_id bigint, key text, newest bigint)",
    f"""
    CREATE FUNCTION bench.note_takeover() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO bench.takeovers
        VALUES (OLD.id, extract(epoch FROM clock_timestamp() - OLD.lease_until) + {LEASE_SECONDS});
        RETURN NULL;
    END $$""",
    """
    CREATE TRIGGER bench_takeovers AFTER UPDATE OF lease_token ON jobs FOR EACH ROW
    WHEN (OLD.state = 'running' AND NEW.state = 'running' AND NEW.lease_token > OLD.lease_token)
    EXECUTE FUNCTION bench.note_takeover()""",
    r"""
    CREATE FUNCTION bench.note_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO bench.stale SELECT id, NEW.store_key, lease_token FROM jobs
        WHERE id = NEW.made_by_job_id AND lease_token > CAST(substring(NEW.store_key FROM '-(\d+)\.') AS bigint);
        RETURN NULL;
    END $$""",
    """
    CREATE TRIGGER bench_deliveries AFTER INSERT ON assets FOR EACH ROW
    WHEN (NEW.made_by_job_id IS NOT NULL) EXECUTE FUNCTION bench.note_delivery()""",
)


@dataclass
class Stage:
    """All that takes part in one drill."""

    installation: Installation
    hands: Hands
    vendor_url: str
    diary: Diary
    sandbox_url: str = ""  # of the vendors of the paid tools, if they take part

    @property
    def settings(self) -> Settings:
        return Settings(_env_file=None, data=self.installation.data)

    @contextmanager
    def database(self) -> Iterator[Connection]:
        """A connection of its own each time: the server may be another one by now."""
        engine = self.installation.engine()
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    def people(self, count: int) -> list[Person]:
        return [join(self.installation, n, self.diary) for n in range(count)]

    def bill(self) -> list[Billed]:
        """What the vendors have on their bills."""
        mounts = [f"{self.sandbox_url}/{mount}" for mount in BILLING] if self.sandbox_url else []
        return [run for url in (self.vendor_url, *mounts) for run in _billed(url)]

    def unaccounted(self) -> int:
        """How much of it belongs to nobody yet."""
        with self.database() as connection:
            return sum(map(len, counting.spent(self.bill(), connection).values()))

    def open_jobs(self) -> int | None:
        """None while the database is away."""
        with suppress(OperationalError), self.database() as connection:
            query = "SELECT count(*) FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')"
            return int(connection.scalar(text(query)) or 0)
        return None

    def settle(self, patience_seconds: float) -> float:
        """Faults have stopped: wait until everything is over, here and at the vendor. Returns how long that took.

        What is not over then is counted as stuck, or as an orphan, by whoever looks.
        """
        start = time.monotonic()
        wait(self.installation.is_ready, patience_seconds)
        left = patience_seconds - (time.monotonic() - start)
        wait(lambda: self.open_jobs() == 0, left)
        elapsed = time.monotonic() - start
        self.keep_house()
        wait(lambda: all(run.is_over for run in self.bill()), max(10.0, patience_seconds - elapsed))
        self.keep_house()
        wait(self._is_accounted_for, BOOKED_SECONDS)
        return elapsed

    def _is_accounted_for(self) -> bool:
        self.keep_house()
        return self.unaccounted() == 0

    def keep_house(self) -> None:
        """One whole round of housekeeping, begun now."""
        before = self.installation.said.count("house_kept")
        self.hands.ring_housekeeping()
        wait(lambda: self.installation.said.count("house_kept") > before, 60)

    def look(self) -> Findings:
        """Everything that may be broken. All of it must be empty."""
        store = open_store(self.settings)
        self.diary.crashes = self.hands.unexplained(self.diary.crashes)
        with self.database() as connection:
            return {
                **counting.told(self.diary, connection),
                **counting.booked(connection),
                "deliveries of a stale worker": stale(connection),
                **counting.spent(self.bill(), connection),
                **counting.kept(store, connection, self.diary.uploaded),
                "complaints of fsck": self.fsck(),
            }

    def fsck(self) -> list[str]:
        """What `flask fsck` says is wrong."""
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "fsck", "--deep"]
        process = self.installation.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = process.communicate(timeout=120)
        return complaints(said.decode(), process.returncode)

    def rows(self, query: str) -> Sequence[Any]:
        with self.database() as connection:
            return connection.execute(text(query)).all()


def _billed(url: str) -> list[Billed]:
    answer = requests.get(f"{url}/sandbox/bill", timeout=30)
    answer.raise_for_status()
    return [Billed(str(run["id"]), run["marker"], run["billed"], run["over"]) for run in answer.json()]


def stale(connection: Connection) -> list[str]:
    """Deliveries under an older lease than the newest, as the watch has noted them."""
    return [f"job {row.job_id}: {row.key}" for row in connection.execute(text("SELECT * FROM bench.stale"))]


def complaints(said: str, code: int) -> list[str]:
    """An exit code of 0 is the only way for it to be content."""
    lines = [line for line in said.splitlines() if line.strip()]
    return [] if code == 0 else lines or [f"it ended with {code} and said nothing"]


def wait(condition: Callable[[], object], seconds: float) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


@contextmanager
def standing(
    folder: Path, seed: int, *, without: str = "", with_tools: bool = False, **settings: str
) -> Iterator[Stage]:
    """A stage on a new folder, gone afterwards. `without`: a guard that is taken out of the installation.

    `with_tools`: the vendors of the paid tools take part, played by the sandbox.
    """
    shutil.rmtree(folder, ignore_errors=True)
    armed = folder / "failpoints"
    armed.mkdir(parents=True)
    with ExitStack() as others:
        vendor_url = others.enter_context(started("runs"))
        book = ("vendors", "--folder", folder / "vendors", "--seconds", "2")
        sandbox_url = others.enter_context(started(*book)) if with_tools else ""
        asked = {"NOVAI_SANDBOX_URL": sandbox_url, "NOVAI_FAL_SECONDS_MAX": "60"} if with_tools else {}
        installation = Installation(folder, **{**_settings(armed, vendor_url, without), **asked, **settings})
        try:
            installation.start()
            hands = Hands(installation, armed, vendor_url, random.Random(seed), sandbox_url)
            stage = Stage(installation, hands, vendor_url, Diary(), sandbox_url)
            with stage.database() as connection:
                for statement in WATCH:
                    connection.execute(text(statement))
            yield stage
        finally:
            installation.clear_away()
    shutil.rmtree(folder, ignore_errors=True)


def _settings(armed: Path, vendor_url: str, without: str) -> dict[str, str]:
    settings = {
        "NOVAI_ECHO": "1",
        "NOVAI_ECHO_VENDOR_URL": vendor_url,
        "NOVAI_FAILPOINTS": str(armed),
        "NOVAI_LEASE_SECONDS": str(LEASE_SECONDS),
        "NOVAI_SIGN_UP": "open",
        "NOVAI_SIGN_UP_CREDITS": "1000000",
        "NOVAI_STARTING_CREDITS": "1000000",
        "NOVAI_ACCOUNT_DAILY_CREDITS": "1000000",
        "DAILY_COST_LIMIT_CENTS": "100000000",
        "NOVAI_ACCESS_TOKEN_SECONDS": "86400",
        "NOVAI_TRASH_DAYS": "0",
        "NOVAI_IO_WORKERS": "4",
        "NOVAI_CPU_WORKERS": "1",
        "NOVAI_PASSWORD_ROUNDS": "1",
        "NOVAI_PASSWORD_MEMORY_KIB": "1024",
    }
    settings |= {f"NOVAI_{name}": PLENTY for name in LIMITS}
    if without:
        path = os.pathsep.join(filter(None, (str(WITHOUT), os.environ.get("PYTHONPATH"))))
        settings |= {"PYTHONPATH": path, "BENCH_WITHOUT": without}
    return settings
