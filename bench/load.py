"""A thousand signed-in people on one installation: how many requests it answers, how fast, and what that costs it.

    python -m bench.load                          everything: some minutes
    python -m bench.load --users 100 --seconds 8  a short one
    python -m bench.load --write                  and the tables into docs/reliability.md

The loop is open: all requests and their times are fixed beforehand, and a request's time counts from when it was due,
so that a server which is slow cannot slow down those who ask. The server shares the machine with us, so what counts
are ratios: to a Flask application that says "ok" under the same gunicorn settings, and to itself with fewer rows.
"""

import argparse
import asyncio
import os
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression, median

from sqlalchemy import text

from bench import pages, visitors, yardstick
from bench.counting import Findings, percentile
from bench.faults import processes
from bench.stage import PLENTY, Stage, standing
from bench.variants import FOLDER, only_one, say
from bench.visitors import Request, Visit, Visitor
from bench.wire import Wire
from tests.installation import until

ROWS = (1_000, 100_000)
ROLES = ("web", "worker", "dispatcher")
CAPACITY_SECONDS = 5
AT_ONCE = 16  # requests under way when the most that is possible is measured
READ_RATE = 20
FLAT_ROUNDS = 3


@dataclass
class Tally:
    """What became of the requests of one phase."""

    seconds: float = 1.0  # until the last answer
    offered_seconds: float = 1.0  # until the last request was due
    due: Counter[str] = field(default_factory=Counter)
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    late: list[float] = field(default_factory=list)  # how late we were ourselves

    @property
    def errors(self) -> dict[str, int]:
        """By class: 4xx, 5xx, and no answer at all."""
        found: Counter[str] = Counter()
        for (_, status), count in self.statuses.items():
            if status == 0 or status >= 400:
                found["no answer" if status == 0 else f"{status // 100}xx"] += count
        return dict(found)

    @property
    def achieved(self) -> float:
        """Answers a second, over the time it took to get them all."""
        return sum(map(len, self.took.values())) / self.seconds

    @property
    def offered(self) -> float:
        return self.due.total() / self.offered_seconds

    def p(self, share: float, name: str | None = None) -> float:
        values = self.took[name] if name else [value for each in self.took.values() for value in each]
        return percentile(values, share)


@dataclass
class Growth:
    """Memory and open files of the processes of one kind, sampled while they work."""

    megabytes: list[tuple[float, float]] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    @property
    def slope(self) -> float:
        """Megabytes a minute over the second half, when everything has been loaded."""
        half = self.megabytes[len(self.megabytes) // 2 :]
        if len(half) < 2:
            return 0.0
        return linear_regression([at / 60 for at, _ in half], [size for _, size in half]).slope


@dataclass
class Report:
    """One run of the load."""

    users: int
    yardstick_capacity: float
    poll_capacity: float
    quiet_capacity: float  # polls that find nothing new
    health_capacity: float
    yardstick: Tally  # at the rate of the everyday mix
    yardstick_worst: Tally  # and at that of the worst case
    few: Mapping[str, float]  # p95 of what is read, with few rows
    many: Mapping[str, float]
    everyday: Tally
    worst: Tally
    growth: Mapping[str, Growth]
    queue_waits: Mapping[str, list[float]]  # light accounts, and the one that submits in bursts
    findings: Findings
    rows: Sequence[int]
    busy_before: float  # processes that wanted a core before we began

    @property
    def is_good(self) -> bool:
        """What must be so on any machine, however slow."""
        crashed = self.everyday.errors.get("5xx", 0) + self.worst.errors.get("5xx", 0)
        return not crashed and not any(self.findings.values())

    @property
    def worst_ratio(self) -> float:
        """The p95 of a poll at the worst, to that of "ok" at the same rate."""
        return self.worst.p(0.95) / self.yardstick_worst.p(0.95)

    def ratio(self, name: str) -> float:
        return self.many[name] / self.few[name]


def main() -> None:
    given = arguments()
    with only_one(given.folder):
        report = measured(given)
    print(f"\n{pages.load(report)}")
    if given.write:
        pages.write("load", pages.load(report))
    sys.exit(0 if report.is_good else 1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60, help="of the everyday mix")
    parser.add_argument("--worst-rate", type=float, default=500, help="polls a second at the worst")
    parser.add_argument("--rows", type=int, nargs=2, default=ROWS, help="of the jobs table, few and many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="the tables into docs/reliability.md")
    parser.add_argument("--folder", type=Path, default=FOLDER / "load", help="for the installation")
    return parser.parse_args()


def measured(given: argparse.Namespace) -> Report:
    settings = {"NOVAI_FAILPOINTS": "", "NOVAI_LEASE_SECONDS": "60", "NOVAI_IO_WORKERS": "2"}
    settings |= {"NOVAI_UPLOAD_LIMIT": PLENTY, "NOVAI_TRASH_DAYS": "30"}
    with standing(given.folder / "stage", given.seed, **settings) as stage:
        busy = os.getloadavg()[0]
        with yardstick.running(stage.installation.data) as port:
            return _product(stage, given, port, busy)


def _product(stage: Stage, given: argparse.Namespace, plain_port: int, busy: float) -> Report:
    rng, port = random.Random(given.seed), stage.installation.port
    bar = _capacity(plain_port, [Request("GET", "/", {})])
    plain = _play(plain_port, _plain_visits(given.users / 7, min(10.0, given.seconds)))
    with stage.database() as connection:
        people = visitors.settle_in(connection, stage.settings, given.users)
    few, many = given.rows
    _grow(stage, people, few)
    polls = [one.get(one.cards) for one in people]
    say("  the most that is possible")
    poll_capacity, quiet_capacity = _capacity(port, polls), _capacity(port, polls, with_tags=True)
    health_capacity = _capacity(port, [Request("GET", "/health", {})])
    say(f"  {few} rows, then {many}")
    with_few = _flat(port, people, given, rng)
    _grow(stage, people, many)
    with_many = _flat(port, people, given, rng)
    say(f"  an everyday mix of {given.users} people")
    watched = Watched(stage)
    visits = visitors.everyday(people, given.seconds, rng)
    visits.append(Visit(given.seconds / 2, "ZIP", people[0], people[0].get(_archive(stage, port, people[0]))))
    with watched:
        everyday = _play(port, sorted(visits, key=lambda visit: visit.at))
    say("  the worst case")
    every, seconds = given.users / given.worst_rate, max(5.0, given.seconds / 6)
    plain_worst = _play(plain_port, _plain_visits(given.worst_rate, seconds))
    worst = _play(port, visitors.polls(people, seconds, rng, every=every), _tags(port, polls))
    with stage.database() as connection:
        visitors.leave(connection)
    stage.settle(120)
    return Report(
        users=given.users,
        yardstick_capacity=bar,
        poll_capacity=poll_capacity,
        quiet_capacity=quiet_capacity,
        health_capacity=health_capacity,
        yardstick=plain,
        yardstick_worst=plain_worst,
        few=with_few,
        many=with_many,
        everyday=everyday,
        worst=worst,
        growth=watched.growth,
        queue_waits=_queue_waits(stage, people[-1]),
        findings=stage.look(),
        rows=given.rows,
        busy_before=busy,
    )


def _grow(stage: Stage, people: Sequence[Visitor], rows: int) -> None:
    """To so many rows of jobs in all, with statistics as autovacuum would have made them."""
    with stage.database() as connection:
        there = connection.scalar(text("SELECT count(*) FROM jobs")) or 0
        missing = max(0, rows - there)
        visitors.add_jobs(connection, people[0].account_id, len(people), missing, is_open=False)
    with stage.database() as connection:
        connection.execute(text("ANALYZE"))


def _flat(port: int, people: Sequence[Visitor], given: argparse.Namespace, rng: random.Random) -> dict[str, float]:
    """The p95 of each thing that is read, the median of some rounds."""
    seconds = max(4.0, given.seconds / 6)
    rounds = [_play(port, visitors.reading(people, seconds, READ_RATE, rng)) for _ in range(FLAT_ROUNDS)]
    return {name: median(each.p(0.95, name) for each in rounds) for name in rounds[0].took}


def _archive(stage: Stage, port: int, one: Visitor) -> str:
    """The address of the ZIP of a batch that has been made."""
    request = one.post("/tools/echo/jobs", {**visitors.FORM, "copies": 20, "per_job": 20, "form_key": "zip"})
    asyncio.run(Wire(port).ask(request.method, request.path, request.headers, request.body))
    made = f"SELECT id FROM batches WHERE account_id = {one.account_id} AND promised = 20"
    done = f"SELECT 1 FROM jobs WHERE account_id = {one.account_id} AND delivered = 20"
    until(lambda: stage.rows(done))
    return f"/batches/{stage.rows(made)[0].id}/zip"


def _plain_visits(rate: float, seconds: float) -> list[Visit]:
    nobody = Visitor(0, {}, "/")
    return [Visit(n / rate, "ok", nobody, Request("GET", "/", {})) for n in range(int(rate * seconds))]


def _tags(port: int, polls: Sequence[Request]) -> dict[str, str]:
    """What the pages that have long been open know: the tag of the cards they show."""
    return asyncio.run(_asked_once(port, polls))


async def _asked_once(port: int, polls: Sequence[Request]) -> dict[str, str]:
    wire = Wire(port, AT_ONCE)
    answers = await asyncio.gather(*(wire.ask(each.method, each.path, each.headers) for each in polls))
    wire.close()
    return {poll.path: answer.headers["hx-ptag"] for poll, answer in zip(polls, answers, strict=True)}


def _play(port: int, visits: Sequence[Visit], tags: Mapping[str, str] | None = None) -> Tally:
    return asyncio.run(_played(port, visits, dict(tags or {})))


async def _played(port: int, visits: Sequence[Visit], tags: dict[str, str]) -> Tally:
    """Each request at its time, whether or not those before it have been answered."""
    wire = Wire(port)
    tally = Tally(offered_seconds=max(1.0, visits[-1].at))
    start = time.monotonic()

    async def visit(each: Visit) -> None:
        request = each.request
        headers = dict(request.headers)
        if tag := tags.get(request.path):
            headers["HX-PTag"] = tag  # as live.js does
        answer = await wire.ask(request.method, request.path, headers, request.body)
        if "hx-ptag" in answer.headers:
            tags[request.path] = answer.headers["hx-ptag"]
        tally.statuses[each.name, answer.status] += 1
        if answer.status:
            tally.took[each.name].append(time.monotonic() - start - each.at)

    under_way = []
    for each in visits:
        if (left := start + each.at - time.monotonic()) > 0:
            await asyncio.sleep(left)
        tally.late.append(max(0.0, time.monotonic() - start - each.at))
        tally.due[each.name] += 1
        under_way.append(asyncio.create_task(visit(each)))
    await asyncio.gather(*under_way)
    tally.seconds = max(1.0, time.monotonic() - start)
    wire.close()
    return tally


def _capacity(port: int, requests: Sequence[Request], *, with_tags: bool = False) -> float:
    """Answers a second when there are always so many requests under way."""
    return asyncio.run(_saturated(port, requests, with_tags))


async def _saturated(port: int, requests: Sequence[Request], with_tags: bool) -> float:
    tags = await _asked_once(port, requests) if with_tags else {}
    wire, answers = Wire(port), 0
    end = time.monotonic() + CAPACITY_SECONDS

    async def ask_on(mine: Sequence[Request]) -> None:
        nonlocal answers
        turn = 0
        while time.monotonic() < end:
            request = mine[turn % len(mine)]
            turn += 1
            headers = {**request.headers, **({"HX-PTag": tags[request.path]} if request.path in tags else {})}
            answer = await wire.ask(request.method, request.path, headers, request.body)
            if answer.status >= 400 or not answer.status:
                raise SystemExit(f"{request.path}: {answer.status} {answer.body[:200]!r}")
            answers += 1

    start = time.monotonic()
    await asyncio.gather(*(ask_on(requests[n % len(requests) :: AT_ONCE] or requests) for n in range(AT_ONCE)))
    wire.close()
    return answers / (time.monotonic() - start)


class Watched:
    """Memory and files of the installation's processes while the block runs."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.growth = {role: Growth() for role in ROLES}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        start = time.monotonic()
        while not self._done.wait(1.0):
            for role, growth in self.growth.items():
                pids = processes(self.stage.installation, role)
                growth.megabytes.append((time.monotonic() - start, sum(map(_megabytes, pids))))
                growth.files.append(sum(map(_open_files, pids)))


def _megabytes(pid: int) -> float:
    """What it keeps in memory of its own and shared (man 5 proc, statm: the second number, in pages)."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6
    except OSError:
        return 0.0


def _open_files(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0


def _queue_waits(stage: Stage, hasty: Visitor) -> dict[str, list[float]]:
    """Seconds from a submit to its start, of people who submit now and then, and of the one who does in bursts."""
    rows = stage.rows(
        f"""SELECT account_id, extract(epoch FROM started_at - created_at) AS waited FROM jobs
        WHERE title <> '{visitors.TITLE}' AND tool_slug = 'echo' AND started_at IS NOT NULL"""
    )
    waits: dict[str, list[float]] = {"now and then": [], "in bursts": []}
    for row in rows:
        waits["in bursts" if row.account_id == hasty.account_id else "now and then"].append(float(row.waited))
    return waits


if __name__ == "__main__":
    main()
