"""A deploy drops nothing: web and workers are exchanged ten times while people click and jobs run."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from sqlalchemy import text

from tests.installation import Installation, until
from tests.test_survival import Owner

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RESTARTS = 10
SECONDS_BETWEEN = 3.0
VISITORS = 10
PAUSE_SECONDS = 0.2  # ten visitors with five requests a second each


@pytest.fixture
def installation(tmp_path) -> Iterator[Installation]:
    made = Installation(
        tmp_path,
        NOVAI_ECHO="1",
        NOVAI_CPU_WORKERS="1",
        NOVAI_API_LIMIT="100000 per minute",
        NOVAI_READ_LIMIT="100000 per minute",
    )
    yield made
    made.clear_away()


class Visitor(threading.Thread):
    """Looks at pages and starts jobs, over a connection that is kept and over new ones by turns."""

    def __init__(self, owner: Owner, done: threading.Event) -> None:
        super().__init__(daemon=True)
        self.url = owner.installation.url
        self.headers = dict(owner.session.headers)
        self.done = done
        self.kept = requests.Session()
        self.statuses: Counter[int] = Counter()
        self.accepted = 0
        self.refused: list[str] = []

    def run(self) -> None:
        turn = 0
        while not self.done.wait(PAUSE_SECONDS):
            turn += 1
            if turn % 10 == 0:
                self._ask("POST", "/api/v1/tools/echo/jobs", turn)
            else:
                self._ask("GET", ("/sign-in", "/api/v1/jobs", "/api/v1/users/profile")[turn % 3], turn)

    def _ask(self, method: str, path: str, turn: int) -> None:
        given = {"json": {"copies": 1, "seconds": 2}} if method == "POST" else {}
        headers = {**self.headers, "Idempotency-Key": uuid4().hex}
        try:
            answer = self._once(method, path, headers, is_kept=turn % 2 == 0, **given)
        except requests.RequestException as problem:
            self.refused.append(f"{method} {path}: {problem}")
            return
        self.statuses[answer.status_code] += 1
        self.accepted += method == "POST" and answer.ok

    def _once(self, method: str, path: str, headers: dict[str, str], *, is_kept: bool, **given: object):
        """As a browser does (RFC 9112, 9.3.1): when a kept connection turns out to be closed, a new one is taken."""
        send = {"url": self.url + path, "headers": headers, "timeout": 60, **given}
        if is_kept:
            try:
                return self.kept.request(method, **send)
            except requests.ConnectionError:
                self.kept.close()
        return requests.request(method, **{**send, "headers": {**headers, "Connection": "close"}})


def masters(installation: Installation, program: str) -> list[int]:
    """The processes of this program whose parents are not of it."""
    found = {pid for pid, command in installation.pids().items() if f"-m {program}" in command}
    return [pid for pid in found if _parent(pid) not in found]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _restart(installation: Installation, round_: int) -> None:
    """By turns: new code into the web server, new workers, and a new web server."""
    turns = (("gunicorn", signal.SIGHUP), ("celery", signal.SIGTERM), ("gunicorn", signal.SIGTERM))
    program, number = turns[round_ % len(turns)]
    for pid in masters(installation, program):
        os.kill(pid, number)


def test_ten_restarts_under_load_drop_no_request_and_no_job(installation):
    installation.start()
    owner = Owner(installation)
    done = threading.Event()
    visitors = [Visitor(owner, done) for _ in range(VISITORS)]
    for visitor in visitors:
        visitor.start()
    for round_ in range(RESTARTS):
        time.sleep(SECONDS_BETWEEN)
        until(lambda: masters(installation, "gunicorn") and len(masters(installation, "celery")) == 2)
        _restart(installation, round_)
    time.sleep(SECONDS_BETWEEN)
    done.set()
    for visitor in visitors:
        visitor.join()

    statuses = sum((visitor.statuses for visitor in visitors), Counter())
    assert [said for visitor in visitors for said in visitor.refused] == []
    assert {status for status in statuses if status >= 400} == set(), statuses
    assert sum(statuses.values()) > RESTARTS * VISITORS

    engine = installation.engine()
    with engine.connect() as connection:
        until(lambda: connection.scalar(text("SELECT count(*) FROM jobs WHERE ended_at IS NULL")) == 0)
        states = connection.execute(text("SELECT state, count(*) FROM jobs GROUP BY state")).tuples().all()
        assert states == [("succeeded", sum(visitor.accepted for visitor in visitors))]
        assert connection.scalar(text("SELECT sum(lost_attempts) FROM jobs")) == 0, "each was handed back, none lost"
        handed_back = connection.scalar(text("SELECT count(*) FROM jobs WHERE slices > 1"))
    engine.dispose()
    assert handed_back > 0, "at least one job was under way when its worker was asked to stop"


def test_a_worker_that_was_asked_to_end_is_replaced_at_once_however_often(installation):
    """A pause that grows is for those that fall."""
    installation.start()
    for round_ in range(4):
        until(lambda: _have_begun(installation))
        before = masters(installation, "celery")
        for pid in before:
            os.kill(pid, signal.SIGTERM)
        until(lambda: len(set(masters(installation, "celery")) - set(before)) == 2)  # noqa: B023
        assert installation.said.count("ended (0), starting it again in 0.5 s") == 2 * (round_ + 1)


def _have_begun(installation: Installation) -> bool:
    """Both have their pool, and so know what SIGTERM means."""
    parents = {_parent(pid) for pid, command in installation.pids().items() if "-m celery" in command}
    return len(masters(installation, "celery")) == 2 and parents >= set(masters(installation, "celery"))
