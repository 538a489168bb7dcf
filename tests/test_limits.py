"""Limits of the queue: how much may wait, how much may be under way at once, how fast it may begin."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from novai_web import credits, jobs, queue, tools
from novai_web.accounts import Account
from novai_web.config import Pace, Settings
from novai_web.credits import invariants
from novai_web.db import session, transaction
from novai_web.errors import DiskFull, NovaiError, Overloaded, TooManyJobs
from novai_web.jobs import Job, State, leases
from novai_web.jobs.ending import Ending, end
from novai_web.jobs.leases import Lease
from novai_web.tools import echo, preparing

FORM = {"copies": "1", "per_job": "1", "credits": "1", "seconds": "0", "trouble": "none"}


@pytest.fixture(autouse=True)
def _books_are_right(app: Flask) -> Iterator[None]:
    yield
    session.rollback()
    assert invariants.broken() == {}


@pytest.fixture
def submit(app: Flask, alice: Account, settings: Settings) -> Callable[..., list[Job]]:
    """`submit(3)`: so many jobs of Alice's. `submit(3, bob)`: of Bob's."""

    def send(count: int, account: Account = alice, limits: Settings = settings, **given: Any) -> list[Job]:
        with transaction():
            made = jobs.submit(account, echo.tool, {"copies": count, "per_job": 1, **given}, limits)
        return list(made.jobs)

    return send


def limited(settings: Settings, **limits: Any) -> Settings:
    return settings.model_copy(update=limits)


def claim(limits: Settings, name: str = "io") -> Lease | None:
    with transaction():
        return leases.claim(name, limits)


def owner(lease: Lease | None) -> int | None:
    return session.get_one(Job, lease.job_id).account_id if lease else None


def finish(lease: Lease) -> None:
    with transaction():
        end(lease.job_id, Ending(State.FAILED, "It was over.", "test"), lease)


def change(what: str, job_id: int | None = None) -> None:
    with transaction():
        session.execute(text(f"UPDATE jobs SET {what} WHERE id = :id OR :id IS NULL").bindparams(id=job_id))


def together(app: Flask, count: int, what: Callable[[], object]) -> list[Any]:
    def do() -> object:
        with app.app_context():
            return what()

    with ThreadPoolExecutor(max_workers=16) as threads:
        return [done.result() for done in [threads.submit(do) for _ in range(count)]]


def counts() -> dict[str, int]:
    """How many rows a submit could have written."""
    session.rollback()
    tables = ("jobs", "batches", "outputs", "holds", "entries", "submissions")
    return {table: session.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in tables}


# --- What may wait -------------------------------------------------------------------------------------------------


def refused(answer: TestResponse, status: int, code: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert code is None or answer.json["code"] == code


def test_too_many_jobs_of_ones_own_are_refused_at_both_doors_and_leave_nothing(
    make_app, alice, as_alice, sign_in, settings, submit
):
    client = make_app(queued_jobs_per_account_max=3).test_client()
    submit(3, credits=1)
    before, bells = counts(), queue.depth("io")
    for _ in range(2):
        keyed = as_alice | {"Idempotency-Key": "k"}
        answer = client.post("/api/v1/tools/echo/jobs", json={"copies": 1, "credits": 1}, headers=keyed)
        refused(answer, 429, "too_many_jobs")
    sign_in(client, alice)
    page = client.post("/tools/echo/jobs", data=FORM | {"form_key": "k"})
    refused(page, 429)
    assert "At most 3 jobs of yours" in page.text and "nothing was charged" in page.text
    assert counts() == before and queue.depth("io") == bells


def test_when_everybody_together_waits_for_too_much_a_stranger_is_told_to_come_later(
    make_app, bob, as_bob, sign_in, submit
):
    client = make_app(queued_jobs_max=3).test_client()
    submit(3)
    before, bells = counts(), queue.depth("io")
    refused(client.post("/api/v1/tools/echo/jobs", json={"copies": 1}, headers=as_bob), 503, "overloaded")
    sign_in(client, bob)
    refused(client.post("/tools/echo/jobs", data=FORM), 503)
    assert counts() == before and queue.depth("io") == bells


def test_the_last_place_is_given_and_an_end_makes_room_for_another(submit, settings):
    few = limited(settings, queued_jobs_per_account_max=2, queued_jobs_max=2)
    first, _ = submit(2, limits=few)
    with pytest.raises(TooManyJobs):
        submit(1, limits=few)
    with transaction():
        jobs.cancel(first)
    submit(1, limits=few)


def test_a_submit_that_is_more_than_may_ever_wait_says_so(submit, settings):
    with pytest.raises(TooManyJobs, match=r"At most 5 .* this would make it 6"):
        submit(6, limits=limited(settings, queued_jobs_per_account_max=5))


def test_anothers_jobs_do_not_count_as_ones_own(submit, bob, settings):
    few = limited(settings, queued_jobs_per_account_max=2)
    submit(2, limits=few)
    submit(2, bob, limits=few)
    with pytest.raises(TooManyJobs):
        submit(1, bob, limits=few)


def test_what_novai_gives_itself_to_do_counts_for_the_house_and_for_nobody_else(submit, alice, bob, settings):
    with transaction():
        for _ in range(3):
            jobs.submit_internal(alice.id, preparing.tool, {"asset_id": 1})
    submit(1, limits=limited(settings, queued_jobs_per_account_max=1))
    with pytest.raises(Overloaded):
        submit(1, bob, limits=limited(settings, queued_jobs_max=4))


def test_a_repeated_submit_is_answered_although_there_is_no_room(make_app, as_alice):
    client = make_app(queued_jobs_per_account_max=2, queued_jobs_max=2).test_client()
    keyed = as_alice | {"Idempotency-Key": "k"}
    given = {"copies": 2, "per_job": 1}
    first, second = (client.post("/api/v1/tools/echo/jobs", json=given, headers=keyed) for _ in range(2))
    assert first.status_code == second.status_code == 202 and first.json == second.json


def test_of_fifty_submits_at_once_exactly_as_many_are_taken_as_there_are_places(app, alice, settings, submit):
    few = limited(settings, queued_jobs_per_account_max=10)

    def send() -> type:
        try:
            submit(1, limits=few, credits=1)
        except NovaiError as problem:
            return type(problem)
        return Job

    assert Counter(together(app, 50, send)) == {Job: 10, TooManyJobs: 40}
    assert credits.balance(alice, settings).held == 10


def test_a_retry_needs_a_place_too_and_may_be_asked_again(submit, alice, settings, work):
    (failed,) = submit(1, trouble="refuse")
    work()
    submit(2)
    few = limited(settings, queued_jobs_per_account_max=2)
    session.expire_all()
    with pytest.raises(TooManyJobs), transaction():
        jobs.retry(alice, jobs.find(alice.id, failed.id), few)
    session.expire_all()
    assert jobs.find(alice.id, failed.id).can_retry
    with transaction():
        assert jobs.retry(alice, jobs.find(alice.id, failed.id), settings).retry_of_id == failed.id


def test_a_retry_needs_room_on_the_disk_as_any_submit_does(submit, alice, settings, work):
    (failed,) = submit(1, trouble="refuse")
    work()
    session.expire_all()
    with pytest.raises(DiskFull, match="nearly full"), transaction():
        jobs.retry(alice, jobs.find(alice.id, failed.id), limited(settings, disk_free_bytes_min=2**62))
    assert counts()["jobs"] == 1


def test_a_batch_is_not_built_again_while_there_is_no_room(make_app, as_alice, submit, work):
    (job,) = submit(1)
    work()
    submit(2)
    client = make_app(queued_jobs_per_account_max=2).test_client()
    refused(client.post(f"/api/v1/batches/{job.batch_id}/rebuild", headers=as_alice), 429, "too_many_jobs")


def test_who_has_spent_the_days_limit_is_told_to_come_back_after_midnight(make_app, as_alice):
    client = make_app(account_daily_credits=1).test_client()
    answer = client.post("/api/v1/tools/echo/jobs", json={"copies": 2, "credits": 1}, headers=as_alice)
    refused(answer, 429, "daily_limit_reached")
    left = session.scalar(text("SELECT extract(epoch FROM CAST(current_date + 1 AS timestamptz) - now())"))
    assert abs(int(answer.headers["Retry-After"]) - float(left)) < 60 or float(left) > 86_340


# --- What may be under way at once ---------------------------------------------------------------------------------


def test_no_account_has_more_jobs_under_way_than_it_may_and_the_others_get_their_turn(submit, alice, bob, settings):
    two = limited(settings, jobs_parallel_per_account=2)
    submit(4)
    submit(1, bob)
    taken = [claim(two) for _ in range(4)]
    assert [owner(lease) for lease in taken] == [alice.id, bob.id, alice.id, None]
    finish(taken[0])
    assert owner(claim(two)) == alice.id and claim(two) is None


def test_no_tool_has_more_jobs_under_way_than_its_pace_allows_whoever_they_belong_to(submit, bob, settings):
    two = limited(settings, paces={"echo": Pace(parallel=2)})
    submit(2)
    submit(2, bob)
    first, second, third = (claim(two) for _ in range(3))
    assert first and second and third is None
    finish(second)
    assert claim(two) and claim(two) is None


def test_a_job_that_has_begun_goes_on_whatever_the_limits_say_now(submit, settings):
    one = limited(settings, jobs_parallel_per_account=1, paces={"echo": Pace(parallel=1, starts_per_second=0.001)})
    first, _ = submit(2)
    lease = claim(one)
    assert lease and lease.job_id == first.id and claim(one) is None
    change("lease_until = now() - interval '1 s'", first.id)
    again = claim(one)
    assert again and (again.job_id, again.token) == (first.id, 2) and claim(one) is None
    change("state = 'queued', lease_until = NULL", first.id)  # as a worker does that is told to stop
    assert claim(one).job_id == first.id


@pytest.mark.parametrize("limits", [{"jobs_parallel_per_account": 1}, {"paces": {"echo": Pace(parallel=1)}}])
def test_a_job_that_waits_for_a_vendor_is_under_way(submit, settings, limits):
    one = limited(settings, **limits)
    first, second = submit(2)
    assert claim(one)
    change("state = 'waiting', run_at = now() + interval '1 minute', lease_until = NULL", first.id)
    assert claim(one) is None
    with transaction():
        jobs.cancel(jobs.find(first.account_id, first.id))
    assert claim(one).job_id == second.id


def test_what_novai_gives_itself_to_do_neither_waits_for_a_persons_jobs_nor_holds_them_up(submit, alice, settings):
    one = limited(settings, jobs_parallel_per_account=1)
    submit(2)
    with transaction():
        prepared = [jobs.submit_internal(alice.id, preparing.tool, {"asset_id": n}).id for n in (1, 2)]
    taken = [claim(one) for _ in range(4)]
    assert taken[3] is None and {lease.job_id for lease in taken if lease} > set(prepared)


def test_a_tool_at_its_limit_does_not_hold_up_the_other_tools_behind_it(submit, alice, settings):
    one = limited(settings, paces={"echo": Pace(parallel=1)})
    submit(50)
    assert claim(one)
    with transaction():
        other = jobs.submit_internal(alice.id, preparing.tool, {"asset_id": 1})
    assert claim(one).job_id == other.id


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ({"jobs_parallel_per_account": 3}, 3),
        ({"paces": {"echo": Pace(parallel=3)}}, 3),
        ({"paces": {"echo": Pace(starts_per_second=0.01)}}, 1),
    ],
    ids=["account", "tool", "starts"],
)
def test_workers_that_look_at_once_do_not_pass_a_limit_together(app, submit, settings, limits, allowed):
    submit(30)
    few = limited(settings, **limits)
    taken = [lease for lease in together(app, 16, lambda: claim(few)) if lease]
    assert len(taken) == len({lease.job_id for lease in taken}) == allowed


def test_a_worker_that_stands_still_in_a_claim_holds_up_the_others_for_seconds_only(app, submit, settings):
    submit(2)
    one = limited(settings, jobs_parallel_per_account=2)
    leases.claim("io", one)  # and never commits
    began = time.monotonic()
    with ThreadPoolExecutor(max_workers=1) as thread:
        other = thread.submit(lambda: together(app, 1, lambda: claim(one)))
        assert other.result(30) != [None]
    assert time.monotonic() - began < 15
    with pytest.raises(Exception, match=r"idle-in-transaction|closed the connection|terminating"):
        session.execute(text("SELECT 1"))


# --- How fast it may begin -----------------------------------------------------------------------------------------


def test_no_more_jobs_of_a_tool_begin_in_a_second_than_its_pace_allows(submit, settings):
    two = limited(settings, paces={"echo": Pace(starts_per_second=2)})
    submit(5)
    taken = [claim(two) for _ in range(3)]
    assert taken[0] and taken[1] and taken[2] is None
    finish(taken[0])
    assert claim(two) is None, "an end gives no right to another beginning"
    change("started_at = started_at - interval '1 s'")
    assert [bool(claim(two)) for _ in range(3)] == [True, True, False]


def test_a_pace_may_be_slower_than_one_a_second(submit, settings):
    slow = limited(settings, paces={"echo": Pace(starts_per_second=0.01)})
    submit(3)
    assert claim(slow) and claim(slow) is None
    change("started_at = started_at - interval '90 s'")
    assert claim(slow) is None
    change("started_at = started_at - interval '11 s'")
    assert claim(slow) and claim(slow) is None


def test_a_tool_says_its_pace_itself_unless_the_operator_says_another(submit, settings, monkeypatch):
    monkeypatch.setattr(tools, "DRILLS", (replace(echo.tool, pace=Pace(parallel=1)),))
    submit(4)
    assert claim(settings) and claim(settings) is None
    faster = limited(settings, paces={"echo": Pace(parallel=3)})
    assert claim(faster) and claim(faster) and claim(faster) is None


def test_paces_are_read_from_the_environment_and_a_wrong_one_ends_the_start(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOVAI_PACES", '{"variants": {"parallel": 2, "starts_per_second": 0.5}}')
    assert Settings.read().paces == {"variants": Pace(parallel=2, starts_per_second=0.5)}
    monkeypatch.setenv("NOVAI_PACES", '{"variants": {"parallel": 0}}')
    with pytest.raises(SystemExit, match="PACES"):
        Settings.read()


# --- With a hundred thousand rows ----------------------------------------------------------------------------------

ACCOUNTS = 40
ROWS = 100_000
LIMITS: dict[str, dict[str, Any]] = {
    "no limits": {},
    "all limits": {
        "jobs_parallel_per_account": 5,
        "paces": {"echo": Pace(parallel=500, starts_per_second=500), "variants": Pace(parallel=5)},
    },
    "limits that nobody passes": {"paces": {"echo": Pace(parallel=1)}},
}


def fill(**jobs_by_state: int) -> None:
    """So many jobs in each of these states, of many accounts and two tools."""
    people = "INSERT INTO accounts (email, name, password_hash, role, session_version)"
    people += " SELECT 'person' || n || '@example.com', 'Person', 'none', 'user', 1 FROM generate_series(1, :n) AS n"
    people += " ON CONFLICT DO NOTHING"
    rows = """
        INSERT INTO jobs (account_id, tool_slug, title, queue, input, price, charged, promised, delivered, state, step,
                          progress, notes, lease_token, lease_until, slices, lost_attempts, error_attempts, priority,
                          deadline_seconds, run_at, created_at, started_at, ended_at)
        SELECT ids[1 + n % cardinality(ids)], CASE n % 7 WHEN 0 THEN 'prepare' ELSE 'echo' END, 'Echo', 'io', '{}',
               0, 0, 0, 0, CAST(:state AS text), 0, 0, '{}', 0,
               CASE :state WHEN 'running' THEN now() + interval '1 h' END, 0, 0, 0, 0, 900,
               now() - n * interval '1 s', now() - n * interval '1 s',
               CASE :state WHEN 'queued' THEN NULL ELSE now() - n * interval '1 s' END,
               CASE :state WHEN 'failed' THEN now() END
        FROM generate_series(1, :n) AS n,
             (SELECT array_agg(id ORDER BY id) AS ids FROM accounts WHERE name = 'Person') AS people"""
    with transaction():
        session.execute(text(people), {"n": ACCOUNTS})
        for state, n in jobs_by_state.items():
            session.execute(text(rows), {"state": state, "n": n})
    with transaction():
        session.execute(text("ANALYZE jobs"))


def looked_at(limits: Settings, statement: str = leases.CLAIM.text) -> dict[str, Any]:
    """How Postgres answers a claim, having done so; nobody is given the job."""
    given = {"queue": "io", "lease": 60, "stood_still": leases.STOOD_STILL_SECONDS}
    given |= leases._limits(leases._paces(limits), limits)
    explained = session.execute(text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"), given).scalar_one()
    session.rollback()
    plan: dict[str, Any] = explained[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def whole_scans(plan: dict[str, Any]) -> Sequence[dict[str, Any]]:
    return [each for each in nodes(plan) if "Seq Scan" in each["Node Type"] and each.get("Relation Name") == "jobs"]


def pages(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def test_a_claim_never_reads_the_whole_table_and_a_long_queue_costs_no_more_than_a_short_one(app, settings):
    asked: dict[str, list[int]] = {name: [] for name in LIMITS}
    for more in ({"failed": ROWS - 10_000, "running": 3 * ACCOUNTS, "queued": 1_000}, {"queued": 9_000}):
        fill(**more)
        for name, limits in LIMITS.items():
            plan = looked_at(limited(settings, **limits))
            assert whole_scans(plan) == [], name
            asked[name].append(pages(plan))
    assert session.scalar(text("SELECT count(*) FROM jobs")) > ROWS
    for few, many in asked.values():
        assert many <= 1.5 * few + 100, asked


def test_counting_what_waits_before_a_submit_never_reads_the_whole_table(app, alice, settings):
    from novai_web.jobs import submitting

    fill(failed=ROWS - 5_000, queued=5_000)
    given = {"account": alice.id, "internal": ["prepare"], "most": settings.queued_jobs_max + 1}
    explained = session.execute(text(f"EXPLAIN (FORMAT JSON) {submitting.UNDER_WAY.text}"), given).scalar_one()
    assert whole_scans(explained[0]["Plan"]) == []


def test_a_hundred_claims_from_a_hundred_thousand_rows_take_a_moment(app, settings):
    fill(failed=ROWS - 10_000, running=3 * ACCOUNTS, queued=9_880)
    for limits in LIMITS.values():
        began = time.monotonic()
        taken = [claim(limited(settings, **limits)) for _ in range(100)]
        assert time.monotonic() - began < 10 and (all(taken) or limits)
