"""The load: people are signed in and explained by the ledger, the schedule is fixed, and a short run is served."""

import asyncio
import random
import threading
from argparse import Namespace
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from bench import counting, load, pages, visitors
from bench.load import Growth, Report, Tally
from bench.visitors import Request
from bench.wire import Answer, Wire
from novai_web.config import Settings


def test_visitors_are_signed_in_and_their_credits_are_explained(app, settings: Settings, database: Engine):
    client = app.test_client(use_cookies=False)
    with database.begin() as connection:
        people = visitors.settle_in(connection, settings, 5)
        visitors.add_jobs(connection, people[0].account_id, len(people), 50, is_open=False)
    for one in (people[0], people[-1]):
        shown = client.get(one.cards, headers=one.headers)
        assert shown.status_code == 200 and shown.text.count("<article") == 2 * visitors.OPEN_EACH
        assert client.get("/jobs", headers=one.headers).status_code == 200
    made = client.post("/tools/echo/jobs", data={**visitors.FORM, "form_key": "a"}, headers=people[0].headers)
    assert made.status_code == 303
    with database.begin() as connection:
        assert counting.booked(connection)["broken invariants"] == []
        visitors.leave(connection)
        assert connection.scalar(text("SELECT count(*) FROM jobs WHERE state <> 'failed'")) == 1


def test_an_upload_of_the_load_is_one_that_is_accepted(app, settings: Settings, database: Engine):
    client = app.test_client(use_cookies=False)
    with database.begin() as connection:
        (one,) = visitors.settle_in(connection, settings, 1)
    request = visitors._upload(one, random.Random(1))
    answer = client.open(request.path, method="POST", headers=request.headers, data=request.body)
    assert answer.status_code == 201, answer.text


@pytest.fixture
def people() -> list[visitors.Visitor]:
    return [visitors.Visitor(n, {}, f"/jobs/cards?ids={n}") for n in range(100)]


def test_the_schedule_is_fixed_beforehand_and_is_the_mix_that_was_promised(people):
    visits = visitors.everyday(people, 60, random.Random(1))
    again = visitors.everyday(people, 60, random.Random(1))
    assert [(each.at, each.name) for each in visits] == [(each.at, each.name) for each in again]
    assert [each.at for each in visits] == sorted(each.at for each in visits)
    counts = {name: sum(each.name == name for each in visits) for name in {each.name for each in visits}}
    assert counts["poll"] == 25 * 30 and counts["upload"] == 20 and counts["burst"] == 3 * 20 and counts["CSV"] == 1
    assert 80 < counts["submit"] < 160 and counts["page"] > 70


def test_the_worst_case_is_everybody_asking_every_two_seconds(people):
    visits = visitors.polls(people, 10, random.Random(1), every=2)
    assert len(visits) == 500 and len({each.visitor.account_id for each in visits}) == 100


class Server(BaseHTTPRequestHandler):
    """Answers that are awkward to read."""

    protocol_version = "HTTP/1.1"
    times: dict[str, int]

    def do_GET(self) -> None:
        self.times[self.path] = self.times.get(self.path, 0) + 1
        if (self.path == "/hangs-up-once" and self.times[self.path] == 2) or self.path == "/never":
            self.close_connection = True
        elif self.path == "/chunked":
            self._say(200, {"Transfer-Encoding": "chunked"}, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        elif self.path == "/304":
            self._say(304, {"HX-PTag": "t"}, b"")
        else:
            self._say(500 if self.path == "/500" else 200, {"Content-Length": "2"}, b"ok")

    def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def port() -> Iterator[int]:
    Server.times = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def asked(port: int, *paths: str) -> list[Answer]:
    async def ask() -> list[Answer]:
        wire = Wire(port)
        answers = [await wire.ask("GET", path, {}) for path in paths]
        wire.close()
        return answers

    return asyncio.run(ask())


def test_the_wire_reads_bodies_of_all_kinds_over_kept_connections(port):
    answers = asked(port, "/chunked", "/304", "/200", "/500")
    assert [(each.status, each.body) for each in answers] == [(200, b"abcde"), (304, b""), (200, b"ok"), (500, b"ok")]
    assert answers[1].headers["hx-ptag"] == "t"


def test_a_kept_connection_that_was_closed_is_replaced_and_no_answer_is_no_answer(port):
    answers = asked(port, "/hangs-up-once", "/hangs-up-once", "/never")
    assert [each.status for each in answers] == [200, 200, 0]


def test_requests_that_fail_are_counted_by_class_and_time_counts_from_when_they_were_due(port, people):
    def visit(at: float, path: str) -> visitors.Visit:
        return visitors.Visit(at, path, people[0], Request("GET", path, {}))

    tally = load._play(port, [visit(0, "/200"), visit(0.1, "/500"), visit(0.2, "/never"), visit(1.0, "/200")])
    assert tally.errors == {"5xx": 1, "no answer": 1}
    assert (tally.due["/200"], len(tally.took["/200"]), len(tally.took["/never"])) == (2, 2, 0)
    assert all(0 <= each < 1 for each in tally.took["/200"])


def test_memory_that_grows_has_a_slope_and_memory_that_does_not_has_none():
    grows = Growth([(second, 100 + second / 6) for second in range(120)], [1])
    flat = Growth([(second, 100 + 50 * (second > 30)) for second in range(120)], [1])
    assert grows.slope == pytest.approx(10) and flat.slope == pytest.approx(0)


def report(**changes: object) -> Report:
    tally = Tally()
    tally.due["poll"], tally.took["poll"] = 2, [0.01, 0.02]
    given = {
        "users": 10, "yardstick_capacity": 1000.0, "health_capacity": 500.0,
        "poll_capacity": 250.0, "quiet_capacity": 300.0,
        "yardstick": tally, "yardstick_worst": tally,
        "few": {"/jobs": 0.01}, "many": {"/jobs": 0.012}, "everyday": tally, "worst": tally,
        "growth": {"web": Growth([(0, 100.0), (1, 100.0)], [50, 51])}, "queue_waits": {"now and then": [0.1]},
        "findings": {"stuck jobs": []}, "rows": (1000, 100_000), "busy_before": 0.5,
    }  # fmt: skip
    return Report(**{**given, **changes})  # type: ignore[arg-type]


def test_a_load_is_good_only_without_5xx_and_without_anything_broken():
    crashed = Tally()
    crashed.statuses["poll", 503] = 1
    assert report().is_good
    assert not report(everyday=crashed).is_good
    assert not report(findings={"stuck jobs": ["id 1"]}).is_good


def test_what_was_measured_is_told_as_ratios():
    said = pages.load(report())
    assert "| 0.25 " in said and "| 1.20× " in said and "50 → 51" in said and "is 1.0 times that" in said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_load_is_served_without_a_crash_and_leaves_everything_whole(tmp_path: Path):
    given = Namespace(users=60, seconds=8.0, worst_rate=60.0, rows=(500, 5000), seed=1, folder=tmp_path)
    found = load.measured(given)
    assert found.is_good, (found.everyday.statuses, found.worst.statuses, found.findings)
    assert found.everyday.errors == found.worst.errors == {}
    assert min(found.yardstick_capacity, found.poll_capacity, found.health_capacity) > 0
    assert set(found.few) == set(found.many) and min(*found.few.values(), *found.many.values()) > 0
    assert found.queue_waits["now and then"] and found.queue_waits["in bursts"]
    assert all(growth.megabytes[-1][1] > 1 for growth in found.growth.values())
