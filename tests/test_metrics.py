"""`/metrics`: figures that Prometheus understands, for those who may see them."""

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import text

from novai_web import jobs, metrics
from novai_web.db import session, transaction
from novai_web.tools import echo

TOKEN = "a token for whoever watches"
SHOWN = {"Authorization": f"Bearer {TOKEN}"}
LINE = re.compile(
    r'(?P<name>[a-z_]+)(?:\{(?P<labels>[a-z_]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*)\})?'
    r" (?P<value>[0-9.e+-]+)"
)


@pytest.fixture
def watched(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(metrics_token=SecretStr(TOKEN)).test_client()


def figures(client: FlaskClient) -> dict[str, float]:
    """Every sample by its name and labels, after checking that each line is one that Prometheus takes."""
    answer = client.get("/metrics", headers=SHOWN)
    assert answer.status_code == 200 and answer.mimetype == "text/plain"
    found: dict[str, float] = {}
    described: set[str] = set()
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            assert name not in described, "each metric is described once"
            described.add(name)
        elif not line.startswith("# HELP "):
            match = LINE.fullmatch(line)
            assert match, line
            assert re.sub("_(sum|count)$", "", match["name"]) in described or match["name"] in described
            key = line.rpartition(" ")[0]
            assert key not in found, "a sample is there once"
            found[key] = float(match["value"])
    return found


# --- Who may see them ----------------------------------------------------------------------------------------------


def test_to_everybody_else_there_is_nothing_here(client, watched, alice, charlie, sign_in, bearer):
    assert client.get("/metrics").status_code == 404
    for header in (None, "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer ünïcode"):
        assert watched.get("/metrics", headers={"Authorization": header} if header else {}).status_code == 404
    assert watched.get("/metrics", headers=bearer(charlie)).status_code == 404, "an API token is not the token"
    sign_in(client, alice)
    assert client.get("/metrics").status_code == 404


def test_an_administrator_and_whoever_shows_the_token_may_see_them(client, watched, charlie, sign_in):
    sign_in(client, charlie)
    assert "novai_uptime_seconds" in client.get("/metrics").text
    assert "novai_uptime_seconds" in watched.get("/metrics", headers=SHOWN).text


def test_without_a_token_an_empty_one_opens_nothing(client):
    for header in ("Bearer", "Bearer ", "bearer  "):
        assert client.get("/metrics", headers={"Authorization": header}).status_code == 404


def test_no_cache_keeps_them(watched):
    assert watched.get("/metrics", headers=SHOWN).headers["Cache-Control"] == "private, no-store"


# --- What they say -------------------------------------------------------------------------------------------------


def test_jobs_are_counted_by_queue_and_state_and_so_are_those_that_wait(watched, alice, settings, work):
    assert figures(watched)['novai_jobs_due{queue="io"}'] == 0
    with transaction():
        for given in ({"copies": 1}, {"copies": 1, "trouble": "refuse"}):
            jobs.submit(alice, echo.tool, given, settings)
        session.execute(text("UPDATE jobs SET run_at = now() - interval '100 seconds'"))
    seen = figures(watched)
    assert seen['novai_jobs{queue="io",state="queued"}'] == 2 == seen['novai_jobs_due{queue="io"}']
    assert 100 <= seen['novai_job_oldest_due_seconds{queue="io"}'] < 160
    work()
    seen = figures(watched)
    assert seen['novai_jobs_due{queue="io"}'] == 0 == seen['novai_job_oldest_due_seconds{queue="io"}']
    assert seen['novai_recent_jobs{tool="echo",state="failed"}'] == 1
    assert seen['novai_recent_slices{tool="echo",state="succeeded"}'] == 1
    assert seen['novai_recent_job_seconds_count{tool="echo"}'] == 2
    assert 0 <= seen['novai_recent_job_seconds{tool="echo",quantile="0.95"}'] < 60


def test_vendors_and_what_they_cost_the_house_are_there(watched, alice, settings):
    with transaction():
        job = jobs.submit(alice, echo.tool, {"copies": 1}, settings).jobs[0]
        session.execute(
            text("INSERT INTO vendors (name, failures, open_until) VALUES ('sandbox', 5, now() + interval '1 minute')")
        )
        session.execute(
            text(
                "INSERT INTO runs (job_id, n, vendor, request, marker, state, booked_to_house)"
                " VALUES (:job, 1, 'sandbox', 'r', 'm', 'done', true)"
            ),
            {"job": job.id},
        )
    seen = figures(watched)
    assert seen['novai_vendor_failures{vendor="sandbox"}'] == 5
    assert seen['novai_vendor_breaker_open{vendor="sandbox"}'] == 1
    assert seen['novai_recent_runs{vendor="sandbox",state="done"}'] == 1
    assert seen['novai_recent_runs_booked_to_house{vendor="sandbox"}'] == 1


def test_a_ledger_that_breaks_is_seen_within_a_minute_and_asked_about_at_most_once(watched, alice, queries, settings):
    name = 'novai_ledger_breaks{invariant="a wallet equals the sum of its entries"}'
    assert figures(watched)[name] == 0
    with transaction():
        session.execute(text("UPDATE wallets SET available = available + 1"))
    with queries() as said:
        assert figures(watched)[name] == 0
    assert not [statement for statement in said if "FROM wallets" in statement]
    metrics._redis(settings.redis_url).delete(metrics.LEDGER_TURN_KEY)  # a minute later
    assert figures(watched)[name] == 1


def test_every_answer_is_counted_by_its_status(watched):
    before = figures(watched)
    for _ in range(3):
        watched.get("/health")
    watched.get("/nothing-here")
    after = figures(watched)

    def more(status: str) -> float:
        name = f'novai_requests_total{{status="{status}"}}'
        return after.get(name, 0) - before.get(name, 0)

    assert more("200") == 4  # and the figures themselves
    assert more("404") == 1


def test_disk_and_uptime_and_who_is_at_work_are_there(watched, settings):
    from novai_web import presence

    presence.say("dispatcher", settings)
    seen = figures(watched)
    assert seen['novai_disk_free_bytes{disk="data"}'] > 0 < seen["novai_uptime_seconds"]
    assert seen['novai_present{kind="dispatcher"}'] == 1 and seen['novai_present{kind="worker-cpu"}'] == 0
    assert seen["novai_database_up"] == 1 == seen["novai_redis_up"]


# --- When something is away ----------------------------------------------------------------------------------------


def test_without_a_database_the_rest_is_still_there(make_app):
    away = make_app(metrics_token=SecretStr(TOKEN), database_url="postgresql+psycopg://nobody@127.0.0.1:1/none")
    seen = figures(away.test_client())
    assert seen["novai_database_up"] == 0 and seen["novai_redis_up"] == 1
    assert "novai_uptime_seconds" in seen and not [name for name in seen if name.startswith("novai_jobs")]


def test_without_redis_the_rest_is_still_there_and_no_request_waits_for_it(make_app):
    away = make_app(metrics_token=SecretStr(TOKEN), redis_url="redis://127.0.0.1:1/0")
    seen = figures(away.test_client())
    assert seen["novai_redis_up"] == 0 and seen["novai_database_up"] == 1
    assert seen['novai_jobs_due{queue="cpu"}'] == 0


def test_what_could_not_be_counted_at_once_is_counted_later(settings, app):
    counted = metrics.Requests()
    counted.count(200, settings)
    counted.flush(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    counted.flush(settings)
    assert metrics._redis(settings.redis_url).hget(metrics.REQUESTS_KEY, "200") == b"1"


def test_labels_cannot_break_out_of_their_line():
    (line,) = [metrics._line("novai_x", {"tool": 'a"} 1\nnovai_y{b="\\'}, 1)]
    assert line.count("\n") == 1 and LINE.fullmatch(line.strip())


def test_they_are_quick_with_a_hundred_thousand_jobs(app, alice):
    """Every query stops at the newest thousand, or knows the open ones by an index."""
    with transaction():
        session.execute(
            text("""
                INSERT INTO jobs (account_id, tool_slug, title, queue, input, price, charged, promised, delivered,
                                  state, step, progress, notes, lease_token, slices, lost_attempts, error_attempts,
                                  priority, deadline_seconds, ended_at, started_at)
                SELECT :account, 'echo', 'Echo', 'io', '{}', 0, 0, 0, 0, 'failed', 0, 0, '{}', 1, 1, 0, 0, 0, 900,
                       now(), now() FROM generate_series(1, 100000)"""),
            {"account": alice.id},
        )
    session.execute(text("ANALYZE jobs"))
    for query in (metrics.OPEN_JOBS, metrics.RECENT_JOBS, metrics.DURATIONS):
        plan = "\n".join(session.scalars(text(f"EXPLAIN {query.text}")))
        assert "Seq Scan on jobs" not in plan, plan
    session.rollback()
