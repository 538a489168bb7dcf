"""A thousand people with sessions and jobs, put straight into the database, and what each of them asks for when."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import uuid4

from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy import Connection, text

from bench.crowd import sound
from novai_web.config import Settings

TITLE = "Load"  # of the jobs that are only there to be looked at
OPEN_EACH = 3  # jobs that a watched page shows as open; they are due in a day
CSRF = "c" * 40
PAGES = ("/", "/jobs", "/batches", "/tools/echo", "/jobs/queue", "/credits")
FORM = {"copies": 1, "per_job": 1, "credits": 1, "seconds": 0, "trouble": "none"}
BURST = 20
BURST_EVERY_SECONDS = 20
UPLOADS = 20

JOBS = """
    INSERT INTO jobs (account_id, tool_slug, title, queue, input, price, charged, promised, delivered, state, step,
        progress, notes, lease_token, slices, lost_attempts, error_attempts, priority, deadline_seconds, run_at,
        created_at, started_at, heard_at, ended_at)
    SELECT a.id, 'echo', :title, 'io', '{}', 0, 0, 0, 0, :state, 1, :progress, '{}', 1, 1, 0, 0, 0, 900,
        now() + make_interval(days => :due_days), now() - n * interval '1 second', now() - n * interval '1 second',
        now() - n * interval '1 second', CASE WHEN :progress = 1 THEN now() - n * interval '1 second' END
    FROM generate_series(1, :count) AS n
    JOIN LATERAL (SELECT :first + n % :people AS id) AS a ON true"""


@dataclass(frozen=True)
class Visitor:
    """One signed-in account, and the jobs that its page watches."""

    account_id: int
    headers: Mapping[str, str]
    cards: str

    def get(self, path: str, **more: str) -> "Request":
        return Request("GET", path, {**self.headers, **more})

    def post(self, path: str, fields: Mapping[str, object]) -> "Request":
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return Request("POST", path, {**self.headers, **kind}, urlencode(fields).encode())


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Visit:
    """A request at its time, by a name under which it is reported."""

    at: float
    name: str
    visitor: Visitor
    request: Request


def settle_in(connection: Connection, settings: Settings, count: int) -> list[Visitor]:
    """Make the accounts, with credits that the ledger explains, and jobs that stay open for who watches."""
    first = connection.scalar(
        text("""
            WITH made AS (
                INSERT INTO accounts (email, name, password_hash, role, session_version)
                SELECT 'load' || n || '@example.com', 'Visitor ' || n, 'none', 'user', 1
                FROM generate_series(1, :count) AS n RETURNING id
            ), wallets AS (
                INSERT INTO wallets (account_id, available, held) SELECT id, 100000, 0 FROM made
            ), entries AS (
                INSERT INTO entries (account_id, kind, delta_available, delta_held, delta_spent, key)
                SELECT id, 'grant', 100000, 0, 0, 'grant:opening:' || id FROM made
            ) SELECT min(id) FROM made"""),
        {"count": count},
    )
    assert first is not None
    add_jobs(connection, first, count, OPEN_EACH * count, is_open=True)
    cards: dict[int, list[str]] = {}
    for row in connection.execute(text("SELECT account_id, id FROM jobs WHERE title = :title"), {"title": TITLE}):
        cards.setdefault(row.account_id, []).append(str(row.id))
    signed = _sessions(settings)
    return [
        Visitor(account_id, signed(account_id), "/jobs/cards?ids=" + ",".join(cards[account_id]))
        for account_id in range(first, first + count)
    ]


def add_jobs(connection: Connection, first: int, people: int, count: int, *, is_open: bool) -> None:
    """So many more rows, spread over everybody."""
    given = {"title": TITLE, "count": count, "first": first, "people": people}
    state = {"state": "waiting", "progress": 0.5, "due_days": 1} if is_open else {"state": "failed", "progress": 0.9}
    connection.execute(text(JOBS), {"due_days": 0, **given, **state})


def leave(connection: Connection) -> None:
    """What was only there to be looked at would be counted as stuck."""
    connection.execute(text("DELETE FROM jobs WHERE title = :title AND state = 'waiting'"), {"title": TITLE})


def _sessions(settings: Settings) -> Callable[[int], dict[str, str]]:
    """From an account's id to the headers of a browser that is signed in, as the sign-in page makes them."""
    app = Flask(__name__)
    app.secret_key = settings.secret
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    token = URLSafeTimedSerializer(settings.secret, salt="wtf-csrf-token").dumps(CSRF)

    def headers(account_id: int) -> dict[str, str]:
        session = {"_user_id": f"{account_id}.1", "_fresh": True, "_permanent": True, "csrf_token": CSRF}
        return {"Cookie": f"novai={serializer.dumps(session)}", "X-CSRFToken": str(token)}

    return headers


def everyday(people: Sequence[Visitor], seconds: float, rng: random.Random) -> list[Visit]:
    """70 % idle pages, 25 % watching one page of jobs, 5 % acting, and what a busy day has besides."""
    watching, acting = people[: len(people) // 4], people[len(people) // 4 : len(people) * 3 // 10]
    idle = people[len(people) * 3 // 10 :]
    visits = [
        *_poisson("page", idle, 60, seconds, rng, _page),
        *_poisson("page", acting, 10, seconds, rng, _page),
        *_poisson("quote", acting, 10, seconds, rng, lambda one, _: one.post("/tools/echo/quote", FORM)),
        *_poisson("submit", people, len(people) / 2, seconds, rng, _submit),
        *polls(watching, seconds, rng, every=2.0),
        *_once(people, seconds, rng),
    ]
    hasty = people[-1]
    for start in range(int(BURST_EVERY_SECONDS / 4), int(seconds), BURST_EVERY_SECONDS):
        visits += [Visit(start, "burst", hasty, _submit(hasty, rng)) for _ in range(BURST)]
    return sorted(visits, key=lambda visit: visit.at)


def polls(people: Sequence[Visitor], seconds: float, rng: random.Random, *, every: float) -> list[Visit]:
    """Each asks for the cards of a page in a rhythm of its own."""
    visits = []
    for one in people:
        at = rng.uniform(0, every)
        while at < seconds:
            visits.append(Visit(at, "poll", one, one.get(one.cards)))
            at += every
    return sorted(visits, key=lambda visit: visit.at)


def reading(people: Sequence[Visitor], seconds: float, rate: float, rng: random.Random) -> list[Visit]:
    """One after the other of what is read most, evenly: for comparing one table's size with another."""
    visits = []
    for n in range(int(seconds * rate)):
        one = rng.choice(people)
        path = (*PAGES[:2], "/jobs/queue", one.cards)[n % 4]
        visits.append(Visit(n / rate, path.partition("?")[0], one, one.get(path)))
    return visits


def _poisson(
    name: str,
    people: Sequence[Visitor],
    every: float,
    seconds: float,
    rng: random.Random,
    request: Callable[[Visitor, random.Random], Request],
) -> list[Visit]:
    """Each of them does it every so many seconds, at random."""
    visits, at, rate = [], 0.0, len(people) / every
    while (at := at + rng.expovariate(rate)) < seconds:
        one = rng.choice(people)
        visits.append(Visit(at, name, one, request(one, rng)))
    return visits


def _once(people: Sequence[Visitor], seconds: float, rng: random.Random) -> list[Visit]:
    """Uploads at one moment or another, and one export."""
    visits = []
    for _ in range(UPLOADS):
        one = rng.choice(people)
        visits.append(Visit(rng.uniform(0, seconds), "upload", one, _upload(one, rng)))
    one = people[0]
    return [*visits, Visit(seconds / 2, "CSV", one, one.get("/credits/entries.csv"))]


def _page(one: Visitor, rng: random.Random) -> Request:
    return one.get(rng.choice(PAGES))


def _submit(one: Visitor, _: random.Random) -> Request:
    return one.post("/tools/echo/jobs", {**FORM, "form_key": uuid4().hex})


def _upload(one: Visitor, rng: random.Random) -> Request:
    head = '--edge\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    body = head.encode() + sound(rng) + b"\r\n--edge--\r\n"
    headers = {**one.headers, "Content-Type": "multipart/form-data; boundary=edge"}
    return Request("POST", "/api/v1/audios", headers, body)
