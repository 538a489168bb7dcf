"""Paid runs: whatever is lost on the way to a vendor and back, one request is one paid run, and no run is forgotten."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask
from sqlalchemy import text

from novai_web import credits, failpoints, jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.credits import invariants
from novai_web.db import session, transaction
from novai_web.errors import StaleLease
from novai_web.jobs import State, breaker, ending, housekeeping, runs, withdrawing
from novai_web.jobs.ending import Ending
from novai_web.jobs.waiting import Waiting
from novai_web.sandbox import started
from novai_web.tools import echo
from novai_web.vendors import Refused
from novai_web.vendors.sandbox_runs import SandboxRuns
from tests.installation import until
from tests.paying import BUSY, SETTLED_SECONDS, Desk

OVER_SECONDS = 700  # longer than the sandbox vendor's longest run
SUBMITTING = ["submit.after_intent", "submit.after_post", "submit.after_save"]
DELIVERING = ["poll.after_terminal", "fetch.mid", "store.after_file", "store.after_blob", "store.before_commit"]
ENDING = ["store.after_commit", "step.mid", "step.after_output", "settle.before_commit"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with started("runs") as url:
        yield url


@pytest.fixture
def paying(settings: Settings, address: str) -> Settings:
    return settings.model_copy(update={"echo_vendor_url": address})


@pytest.fixture
def desk(app: Flask, alice: Account, paying: Settings) -> Iterator[Desk]:
    """Afterwards no invariant is broken, and everything that the vendor bills is accounted for."""
    requests.delete(f"{paying.echo_vendor_url}/sandbox/requests", timeout=5)
    desk = Desk(app, alice, paying)
    yield desk
    desk.close()
    assert invariants.broken() == {} and desk.unaccounted() == []


@pytest.fixture
def armed(tmp_path: Path) -> Iterator[Path]:
    failpoints.watch(tmp_path)
    yield tmp_path
    failpoints.watch(None)


@pytest.fixture
def balance(desk: Desk) -> Callable[[], credits.Balance]:
    def now() -> credits.Balance:
        session.rollback()
        return credits.balance(desk.account, desk.settings)

    return now


def test_a_paid_run_is_started_once_waited_for_and_charged_when_its_file_is_kept(desk, balance):
    before = balance().available
    job = desk.slice(desk.submit(copies=3))
    (run,) = desk.runs(job)
    assert (job.state, run.state, run.n, balance().held) == ("waiting", "running", 1, 15)
    assert run.external_id == desk.bill()[0]["id"] and run.marker == desk.bill()[0]["marker"]
    job = desk.slice(job)
    assert (job.state, job.delivered, job.charged, balance().available) == ("succeeded", 3, 15, before - 15)
    (run,) = desk.runs(job)
    assert (run.state, run.cost_credits, run.booked_to_house, desk.paid()) == ("done", 3, False, 1)
    first = jobs.outputs(job_id=job.id)[0].asset
    assert first.size_bytes == desk.store.size(first.store_key) >= 4000


def test_a_job_that_asks_no_vendor_has_no_run(desk):
    job = desk.slice(desk.submit(vendor=False))
    assert job.state == "succeeded" and desk.states(job) == [] and desk.asked() == 0


def test_while_a_run_is_under_way_the_card_shows_how_far_it_is(desk):
    job = desk.submit(copies=1, vendor_seconds=1.5)
    for _ in range(2):
        job = desk.slice(job)
        time.sleep(0.5)
    assert job.state == "waiting" and 0.1 < job.progress < 0.2
    desk.change("UPDATE jobs SET lost_attempts = 2, error_attempts = 4 WHERE id = :id", job)
    job = desk.slice(job)
    assert (job.lost_attempts, job.error_attempts) == (0, 0), "who waits in good order stops no workers"
    time.sleep(1)
    assert desk.finish(job).state == "succeeded"


def test_polls_come_further_apart_the_longer_a_run_takes(desk):
    job = desk.slice(desk.submit(vendor_seconds=600))
    waits = []
    for age in (0, 40, 100_000):
        desk.age(job, age)
        job = desk.slice(job)
        waits.append(desk.wait(job))
    assert 2 < waits[0] < 4 and 6 < waits[1] < 10.5 and 11 < waits[2] < 18.5


# Answers that are lost


@pytest.mark.parametrize("odd", [{"fault": "lost"}, {"fault": "trickle", "seconds": 0.2}], ids=str)
def test_a_run_whose_answer_was_lost_is_found_by_its_marker_and_not_started_again(desk, odd):
    desk.settings = desk.settings.model_copy(update={"lease_seconds": 3})  # a trickle is listened to for 1.2 s
    desk.fault(method="POST", **odd)
    job = desk.slice(desk.submit())
    assert (job.state, desk.states(job), desk.runs(job)[0].external_id) == ("waiting", ["submitting"], None)
    job = desk.slice(job)
    assert desk.states(job) == ["running"]
    assert desk.finish(job).state == "succeeded" and desk.posts() == 1 and desk.paid() == 1


def test_a_run_that_is_listed_late_is_waited_for(desk):
    desk.fault(fault="lost", method="POST")
    job = desk.slice(desk.submit(vendor_trouble="slow_list"))
    end = time.monotonic() + 20
    while desk.states(job) == ["submitting"] and time.monotonic() < end:
        job = desk.slice(job)
        time.sleep(0.5)
    assert desk.finish(job).state == "succeeded" and desk.posts() == 1 and desk.paid() == 1


@pytest.mark.parametrize(
    "odd",
    [
        {"fault": "garbled"},
        {"fault": "garbled", "body": "x" * 1_500_000},
        {"fault": "garbled", "body": '{"id": ["wrong"]}'},
        {"fault": "status", "status": 500},
        {"fault": "status", "status": 503, "body": "<html>"},
        {"fault": "cut", "after_bytes": 5},
    ],
    ids=lambda odd: f"{odd['fault']} {odd.get('body', odd.get('status', ''))!s:.20}",
)
def test_what_may_have_been_started_is_not_started_again_before_it_would_be_listed(desk, odd):
    desk.fault(method="POST", **odd)
    job = desk.slice(desk.submit())
    for _ in range(3):
        job = desk.slice(job)
    assert desk.states(job) == ["submitting"] and desk.posts() == 1
    desk.age(job, SETTLED_SECONDS)
    job = desk.slice(job)
    assert desk.states(job) == ["abandoned", "running"]
    assert desk.finish(job).state == "succeeded" and desk.paid() == 1


def test_after_a_second_doubt_nothing_is_started_before_the_longest_run_would_be_over(desk):
    desk.fault(fault="garbled", method="POST", times=2)
    job = desk.slice(desk.submit())
    desk.age(job, SETTLED_SECONDS)
    job = desk.slice(job)
    desk.age(job, SETTLED_SECONDS)
    job = desk.slice(job)
    assert desk.states(job) == ["abandoned", "submitting"] and desk.posts() == 2
    desk.age(job, OVER_SECONDS)
    assert desk.finish(desk.slice(job)).state == "succeeded"
    assert desk.states(job) == ["abandoned", "abandoned", "done"]


def test_a_dear_vendor_is_asked_a_second_time_only_when_the_first_would_be_over(desk):
    dear = SandboxRuns(desk.url, is_dear=True)
    job = desk.submit()
    desk.fault(fault="garbled", method="POST")
    for age, states in [
        (0, ["submitting"]),
        (SETTLED_SECONDS, ["submitting"]),
        (OVER_SECONDS, ["abandoned", "running"]),
    ]:
        desk.age(job, age)
        with desk.bench() as bench, pytest.raises(Waiting):
            bench.paid(dear, {"seconds": 0}, cost_credits=3)
        assert desk.states(job) == states
        desk.lose_worker(job)


def test_a_run_that_turns_up_after_it_was_given_up_is_cancelled(desk):
    desk.settings = desk.settings.model_copy(update={"lease_seconds": 2})
    desk.fault(fault="slow", method="POST", seconds=2)
    job = desk.slice(desk.submit(vendor_seconds=30))
    desk.age(job, SETTLED_SECONDS)
    job = desk.slice(job)
    assert desk.states(job) == ["abandoned", "running"]
    until(lambda: len(desk.bill()) == 2)
    desk.reconcile()
    assert desk.states(job) == ["cancelled", "running"] and desk.paid() == 1
    job = desk.slice(desk.cancel(job))
    assert job.state == "cancelled" and desk.paid() == 0


# Answers that say no


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_vendor_is_asked_again_and_not_before_it_said(desk, status):
    desk.fault(fault="status", method="POST", status=status, body=BUSY, retry_after=40)
    job = desk.slice(desk.submit())
    wait = desk.wait(job)
    assert desk.states(job) == ["not_started"] and 39 < wait < 60
    assert desk.finish(job).state == "succeeded"
    assert desk.states(job) == ["not_started", "done"] and desk.paid() == 1


def test_nobody_waits_for_a_vendor_longer_than_five_minutes_at_a_time(desk):
    desk.fault(fault="status", method="POST", status=429, body=BUSY, retry_after=86_400)
    job = desk.slice(desk.submit())
    wait = desk.wait(job)
    assert 290 < wait <= 300
    assert desk.finish(job).state == "succeeded"


def test_a_refusal_at_the_door_is_final_and_costs_nothing(desk, balance):
    before = balance()
    desk.fault(fault="status", method="POST", status=422, body='{"sandbox": true, "error": "no faces here"}')
    job = desk.slice(desk.submit())
    assert (job.state, job.error_code, job.charged) == ("failed", "vendor_refused", 0)
    assert job.error == "The vendor refused this: no faces here. You were not charged."
    assert balance() == before and desk.posts() == 1 and desk.paid() == 0


@pytest.mark.parametrize(
    ("trouble", "code", "said", "is_billed"),
    [
        ("refuse", "vendor_refused", "against the rules", False),
        ("fail", "vendor_failed", "tone generator broke", True),
        ("no_output", "vendor_failed", "gave nothing back", True),
    ],
)
def test_a_run_that_comes_to_nothing_is_not_charged_and_the_house_pays(desk, balance, trouble, code, said, is_billed):
    before = balance()
    job = desk.finish(desk.submit(vendor_trouble=trouble))
    assert (job.state, job.error_code, job.charged) == ("failed", code, 0) and said in job.error
    assert balance() == before and desk.posts() == 1
    (run,) = desk.runs(job)
    assert (run.state, run.booked_to_house, desk.paid()) == ("failed", is_billed, int(is_billed))


def test_a_refusal_is_heard_again_when_the_worker_died_before_it_could_say_so(desk):
    desk.submit()
    desk.fault(fault="status", method="POST", status=422, body='{"sandbox": true, "error": "no"}')
    with desk.bench() as bench:
        for _ in range(2):
            with pytest.raises(Refused, match="refused this: no"):
                bench.paid(SandboxRuns(desk.url), {"seconds": 0}, cost_credits=3)
    assert desk.posts() == 1


# Answers that are none


@pytest.mark.parametrize(
    "odd",
    [
        {"fault": "garbled"},
        {"fault": "garbled", "body": "x" * 1_500_000},
        {"fault": "garbled", "body": '{"id": 1, "status": "done"}'},
        {"fault": "status", "status": 500},
        {"fault": "lost"},
        {"fault": "cut", "after_bytes": 5},
    ],
    ids=lambda odd: f"{odd['fault']} {odd.get('body', odd.get('status', ''))!s:.20}",
)
def test_a_poll_that_makes_no_sense_is_asked_again(desk, odd):
    job = desk.slice(desk.submit())
    desk.fault(method="GET", path="/runs/", **odd)
    job = desk.slice(job)
    assert (job.state, desk.states(job)) == ("waiting", ["running"])
    assert desk.finish(job).state == "succeeded" and desk.posts() == 1


def test_progress_that_is_no_number_hurts_nobody(desk):
    job = desk.slice(desk.submit(vendor_trouble="nan", vendor_seconds=4))
    job = desk.slice(job)
    assert job.state == "waiting" and 0 < job.progress < 1
    time.sleep(4)
    assert desk.finish(job).state == "succeeded"


def test_a_web_page_instead_of_the_file_is_no_output_and_the_house_pays(desk, balance):
    before = balance()
    job = desk.slice(desk.submit())
    desk.fault(fault="garbled", path="/files/")
    job = desk.finish(job)
    assert job.state == "failed" and "cannot be used" in job.error and balance() == before
    assert [run.booked_to_house for run in desk.runs(job)] == [True]


def test_one_file_that_cannot_be_used_does_not_cost_the_other_copies(desk):
    job = desk.slice(desk.submit(copies=3))
    desk.fault(fault="garbled", path="/files/")
    job = desk.finish(job)
    assert (job.state, job.delivered, job.charged) == ("succeeded", 2, 10)


def test_a_file_that_is_cut_is_fetched_again_from_the_same_run(desk):
    job = desk.slice(desk.submit())
    desk.fault(fault="cut", path="/files/", after_bytes=1000)
    job = desk.slice(job)
    assert (job.state, desk.states(job)) == ("waiting", ["done"])
    assert desk.finish(job).state == "succeeded" and desk.posts() == 1


def test_a_vendor_that_points_elsewhere_is_not_followed(desk):
    job = desk.slice(desk.submit())
    run = desk.bill()[0]
    files = '[{"url": "http://169.254.169.254/latest", "name": "x", "mime": "audio/wav"}]'
    body = f'{{"id": "{run["id"]}", "marker": "{run["marker"]}", "status": "done", "files": {files}}}'
    desk.fault(fault="garbled", path="/runs/", body=body)
    job = desk.finish(job)
    assert (job.state, job.error_code, job.charged) == ("failed", "vendor_failed", 0) and "not its own" in job.error


def test_a_vendor_that_has_forgotten_a_run_ends_its_job_in_plain_words(desk, address):
    job = desk.slice(desk.submit())
    desk.change("UPDATE runs SET external_id = 'forgotten' WHERE job_id = :id", job)
    job = desk.slice(job)
    assert job.state == "waiting", "it may only be behind"
    desk.age(job, 200)
    job = desk.finish(job)  # once it has said so again and again
    assert (job.state, job.error_code) == ("failed", "vendor_failed") and "no longer knows" in job.error
    desk.change("UPDATE runs SET external_id = NULL WHERE job_id = :id", job)
    desk.reconcile()  # finds it by its marker: it is the house's


# Workers that die, or are stopped, between two things


@pytest.mark.parametrize("point", [*SUBMITTING, *DELIVERING, *ENDING])
def test_a_cut_connection_costs_no_second_run_and_no_job(desk, armed, balance, point):
    before = balance().available
    job = desk.submit(copies=2)
    failpoints.arm(armed, point, "cut")
    for _ in range(8):
        if not (job := desk.fresh(job)).is_over:
            desk.lose_worker(job)
            job = desk.slice(job)
    assert not (armed / point).exists()
    assert (job.state, job.delivered, balance().available) == ("succeeded", 2, before - 10)
    assert desk.posts() == 1 and desk.paid() == 1


@pytest.mark.parametrize("point", [*SUBMITTING, *DELIVERING, "store.after_commit", "step.mid", "step.after_output"])
def test_an_error_that_nobody_foresaw_leaves_no_run_alive_and_none_unpaid(desk, armed, balance, point):
    before = balance().available
    job = desk.submit(copies=2, vendor_seconds=0)
    failpoints.arm(armed, point, "raise")
    job = desk.finish(job)
    assert job.state == ("succeeded" if job.delivered else "failed") and job.charged == 5 * job.delivered
    assert balance().available == before - job.charged
    desk.reconcile()
    assert not set(desk.states(job)) & {"submitting", "running"}
    assert all(each["over"] for each in desk.bill()) and desk.posts() <= 1


@pytest.mark.parametrize("point", [*SUBMITTING, *DELIVERING, *ENDING])
def test_a_worker_killed_at_any_point_costs_no_second_run_and_no_job(desk, tmp_path, point):
    job = desk.submit(copies=2)
    failpoints.arm(tmp_path, point, "kill")
    while (code := desk.slice_elsewhere(job, tmp_path).wait(60)) == 0:
        assert not desk.fresh(job).is_over
    assert code == -signal.SIGKILL
    if point == "submit.after_intent":
        assert (desk.posts(), desk.states(job)) == (0, ["submitting"])
        desk.age(job, SETTLED_SECONDS)
    desk.lose_worker(job)
    job = desk.finish(job)
    assert (job.state, job.delivered, job.charged) == ("succeeded", 2, 10)
    assert desk.posts() == 1 and desk.paid() == 1
    assert sum(job.id == int(key.split("/")[1]) for key, _ in desk.store.list("jobs")) == 2


def test_a_worker_that_is_stopped_before_it_sends_sends_nothing_when_another_has_its_job(desk, tmp_path):
    desk.settings = desk.settings.model_copy(update={"lease_seconds": 2})
    job = desk.submit(vendor_seconds=600)
    failpoints.arm(tmp_path, "submit.after_intent", "pause 6")
    paused = desk.slice_elsewhere(job, tmp_path)
    until(lambda: desk.states(job) == ["submitting"])
    desk.lose_worker(job)
    desk.age(job, SETTLED_SECONDS)
    job = desk.slice(job)
    assert desk.states(job) == ["abandoned", "running"] and paused.poll() is None
    assert paused.wait(60) == 0 and desk.posts() == 1 and desk.paid() == 1


def test_nothing_is_sent_when_half_of_the_lease_is_over(desk):
    job = desk.submit()
    bench = desk.bench(taken_at=time.monotonic() - 0.6 * desk.settings.lease_seconds)
    with bench, pytest.raises(Waiting):
        bench.paid(SandboxRuns(desk.url), {"seconds": 0}, cost_credits=3)
    assert desk.states(job) == ["not_started"] and desk.posts() == 0
    bench.renewed(time.monotonic())
    with bench, pytest.raises(Waiting):
        bench.paid(SandboxRuns(desk.url), {"seconds": 0}, cost_credits=3)
    assert desk.states(job) == ["not_started", "running"]


def test_a_worker_without_its_lease_neither_begins_nor_ends_a_run(desk):
    job = desk.submit(vendor_seconds=600)
    stale = desk.bench()
    desk.lose_worker(job)
    job = desk.slice(job)
    with stale, pytest.raises(StaleLease):
        stale.paid(SandboxRuns(desk.url), {"seconds": 1}, cost_credits=3)
    assert desk.states(job) == ["running"] and desk.posts() == 1


def test_an_id_that_comes_back_to_a_worker_without_its_lease_is_not_lost(desk):
    job = desk.submit(vendor_seconds=600)
    desk.fault(fault="slow", method="POST", seconds=1.5)
    worker = desk.beside(job)
    until(lambda: desk.states(job) == ["submitting"])
    desk.change("UPDATE jobs SET lease_token = lease_token + 1 WHERE id = :id", job)
    session.rollback()
    worker.join(20)
    assert desk.states(job) == ["running"] and desk.runs(job)[0].external_id == desk.bill()[0]["id"]


def test_workers_that_are_killed_twenty_times_during_one_run_start_it_once(desk):
    job = desk.slice(desk.submit(vendor_seconds=3))
    for n in range(20):
        desk.change("UPDATE jobs SET run_at = now() - interval '1 day' WHERE id = :id", job)
        with desk.bench():  # a worker takes it, and is heard of no more
            desk.lose_worker(job)
        if n % 2:
            job = desk.slice(job)
    time.sleep(3)
    assert desk.finish(job).state == "succeeded" and desk.posts() == 1 and desk.paid() == 1


# Cancelling


def test_a_job_that_a_vendor_works_on_is_over_when_the_vendor_has_been_told(desk, balance):
    before = balance().available
    job = desk.slice(desk.submit(vendor_seconds=600))
    job = desk.cancel(job)
    assert (job.status, balance().held) == ("cancelling", 5)
    assert desk.wait(job) <= 0
    job = desk.slice(job)
    assert (job.state, job.error, desk.states(job)) == ("cancelled", None, ["cancelled"])
    assert balance().available == before and desk.paid() == 0


def test_a_whole_batch_is_cancelled_at_the_vendor_too(desk):
    with transaction():
        wanted = {"copies": 3, "per_job": 1, "vendor": True, "vendor_seconds": 600}
        made = jobs.submit(desk.account, echo.tool, wanted, desk.settings)
    first, second, third = made.jobs
    assert jobs.run_slice("io", desk.store, desk.settings) and jobs.run_slice("io", desk.store, desk.settings)
    session.rollback()
    with transaction():
        jobs.cancel_batch(made.batch)
    assert sorted(desk.fresh(job).status for job in (first, second, third)) == ["cancelled", "cancelling", "cancelling"]
    while jobs.run_slice("io", desk.store, desk.settings):
        pass
    assert {desk.fresh(job).state for job in made.jobs} == {"cancelled"} and desk.paid() == 0


def test_a_run_that_is_in_doubt_is_found_and_cancelled(desk):
    desk.fault(fault="lost", method="POST")
    job = desk.cancel(desk.slice(desk.submit(vendor_seconds=600)))
    job = desk.slice(job)
    assert (job.state, desk.states(job), desk.paid()) == ("cancelled", ["cancelled"], 0)


def test_a_doubt_that_cannot_be_settled_does_not_keep_a_cancelled_job_open(desk):
    desk.fault(fault="garbled", method="POST")
    job = desk.cancel(desk.slice(desk.submit(vendor_seconds=600)))
    job = desk.slice(job)
    assert (job.status, desk.states(job)) == ("cancelling", ["submitting"])
    desk.age(job, SETTLED_SECONDS)
    job = desk.slice(job)
    assert (job.state, desk.states(job)) == ("cancelled", ["abandoned"])


def test_a_vendor_that_does_not_cancel_is_asked_again_a_little_later(desk):
    job = desk.cancel(desk.slice(desk.submit(vendor_seconds=600, vendor_trouble="stubborn")))
    for _ in range(3):
        job = desk.slice(job)
        wait = desk.wait(job)
        assert (job.status, desk.states(job)) == ("cancelling", ["running"]) and 0.5 < wait < 9
    job = desk.slice(job)
    assert (job.state, desk.states(job), desk.paid()) == ("cancelled", ["cancelled"], 0)


def test_after_a_minute_the_job_ends_says_what_may_be_billed_and_housekeeping_goes_on(desk, balance):
    job = desk.cancel(desk.slice(desk.submit(vendor_seconds=600)))
    desk.fault(fault="status", method="DELETE", status=500, times=1000)
    assert desk.slice(job).status == "cancelling"
    desk.change("UPDATE jobs SET cancel_requested_at = now() - interval '61 s' WHERE id = :id", job)
    job = desk.slice(job)
    assert (job.state, job.error, desk.states(job)) == ("cancelled", withdrawing.NOT_CONFIRMED, ["abandoned"])
    assert balance().held == 0
    desk.reconcile()
    assert [run.booked_to_house for run in desk.runs(job)] == [False]
    desk.age(job, 400)
    desk.reconcile()
    assert [run.booked_to_house for run in desk.runs(job)] == [True], "within ten minutes it is the house's"
    desk.well_again()
    desk.reconcile()
    assert (desk.states(job), [run.booked_to_house for run in desk.runs(job)]) == (["cancelled"], [False])


def test_what_was_finished_before_it_could_be_cancelled_is_the_houses_and_is_said(desk, balance):
    before = balance().available
    job = desk.cancel(desk.slice(desk.submit(vendor_seconds=0)))
    job = desk.slice(job)
    (run,) = desk.runs(job)
    assert (job.state, job.error, job.charged) == ("cancelled", withdrawing.TOO_LATE, 0)
    assert (run.state, run.booked_to_house, desk.paid(), balance().available) == ("done", True, 1, before)


def test_what_was_delivered_before_it_was_cancelled_stays_and_is_charged(desk):
    job = desk.slice(desk.submit(copies=2, seconds=5))
    worker = desk.beside(job)
    until(lambda: desk.fresh(job).delivered)
    job = desk.cancel(job)
    worker.join(30)
    job = desk.finish(job)
    assert (job.state, job.delivered, job.charged, desk.states(job)) == ("succeeded", 1, 5, ["done"])


def test_a_job_cancelled_while_its_run_is_being_started_is_cancelled_at_the_vendor(desk):
    desk.fault(fault="slow", method="POST", seconds=1.5)
    job = desk.submit(vendor_seconds=600)
    worker = desk.beside(job)
    until(lambda: desk.states(job) == ["submitting"])
    job = desk.cancel(job)
    assert job.status == "cancelling"
    session.rollback()
    worker.join(30)
    assert desk.finish(job).state == "cancelled"
    assert desk.states(job) == ["cancelled"] and desk.paid() == 0


@pytest.mark.parametrize("action", ["raise", "cut"])
@pytest.mark.parametrize("point", ["cancel.before_vendor", "cancel.after_vendor"])
def test_trouble_while_cancelling_leaves_neither_job_nor_run_alive(desk, armed, point, action):
    job = desk.cancel(desk.slice(desk.submit(vendor_seconds=600)))
    failpoints.arm(armed, point, action)
    for _ in range(3):
        if not (job := desk.fresh(job)).is_over:
            desk.lose_worker(job)
            job = desk.slice(job)
    assert job.state == "cancelled" and job.charged == 0
    desk.reconcile()
    assert desk.states(job) == ["cancelled"] and desk.paid() == 0


@pytest.mark.parametrize("point", ["cancel.before_vendor", "cancel.after_vendor"])
def test_a_worker_killed_while_cancelling_is_followed_by_one_that_finishes_it(desk, tmp_path, point):
    job = desk.cancel(desk.slice(desk.submit(vendor_seconds=600)))
    failpoints.arm(tmp_path, point, "kill")
    assert desk.slice_elsewhere(job, tmp_path).wait(60) == -signal.SIGKILL
    desk.lose_worker(job)
    assert desk.finish(job).state == "cancelled" and desk.states(job) == ["cancelled"] and desk.paid() == 0


def test_a_job_past_its_deadline_is_cancelled_at_the_vendor(desk, balance):
    before = balance()
    job = desk.slice(desk.submit(vendor_seconds=600))
    desk.change("UPDATE jobs SET deadline_at = now() WHERE id = :id", job)
    job = desk.slice(job)
    assert (job.state, job.error_code, desk.states(job)) == ("failed", "out_of_time", ["cancelled"])
    assert desk.paid() == 0 and balance() == before


def test_a_vendor_that_is_configured_no_more_keeps_nobody_from_cancelling(desk):
    job = desk.cancel(desk.slice(desk.submit(vendor_seconds=600)))
    with_vendor, desk.settings = desk.settings, desk.settings.model_copy(update={"echo_vendor_url": ""})
    job = desk.slice(job)
    desk.settings = with_vendor
    assert (job.state, job.error, desk.states(job)) == ("cancelled", None, ["abandoned"])  # a trial bills nobody


# The circuit breaker


def until_open() -> float | None:
    session.rollback()
    seconds: float | None = session.scalar(text("SELECT extract(epoch FROM open_until - now()) FROM vendors"))
    return None if seconds is None else float(seconds)


def close_soon() -> None:
    session.rollback()
    with transaction():
        session.execute(text("UPDATE vendors SET open_until = now() - interval '1 s'"))


def test_five_failures_in_a_row_open_the_breaker_and_then_nobody_asks(desk):
    waiting = [desk.submit(vendor_seconds=600) for _ in range(7)]
    desk.fault(fault="status", method="POST", status=503, body=BUSY, times=1000)
    for job in waiting:
        job = desk.slice(job)
    assert desk.posts() == 5 and 25 < until_open() < 31
    waits = session.scalars(text("SELECT extract(epoch FROM run_at - now()) FROM jobs ORDER BY id DESC LIMIT 2")).all()
    assert all(25 < wait < 62 for wait in waits) and desk.states(waiting[-1]) == []
    desk.well_again()
    assert desk.slice(waiting[0]).state == "waiting" and desk.posts() == 5


def test_a_success_between_failures_keeps_it_closed(desk):
    for _ in range(3):
        desk.fault(fault="status", method="POST", status=503, body=BUSY, times=4)
        job = desk.submit()
        for _ in range(4):
            job = desk.slice(job)
        assert desk.finish(job).state == "succeeded"
    assert until_open() is None


def test_half_open_one_probes_while_the_others_wait_and_a_failure_doubles_the_time(desk):
    for _ in range(5):
        breaker.failed("sandbox")
    assert 25 < until_open() < 31
    breaker.failed("sandbox")
    assert until_open() < 31, "what was under way when it opened does not count"
    for longest in (61, 121, 241, 301, 301):
        close_soon()
        assert breaker.seconds_to_wait("sandbox") == 0
        assert breaker.seconds_to_wait("sandbox") > 0
        breaker.failed("sandbox")
        assert longest / 2 < until_open() < longest
    close_soon()
    assert breaker.seconds_to_wait("sandbox") == 0
    breaker.succeeded("sandbox")
    assert breaker.seconds_to_wait("sandbox") == 0 and until_open() is None


def test_of_many_workers_at_once_one_probes(desk, app):
    for _ in range(5):
        breaker.failed("sandbox")
    close_soon()
    waits: list[float] = []

    def probe() -> None:
        with app.app_context():
            waits.append(breaker.seconds_to_wait("sandbox"))

    threads = [threading.Thread(target=probe) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(wait == 0 for wait in waits) == 1 and len(waits) == 8


def test_a_probe_whose_worker_died_does_not_keep_everybody_waiting_for_ever(desk):
    for _ in range(5):
        breaker.failed("sandbox")
    close_soon()
    assert breaker.seconds_to_wait("sandbox") == 0
    with transaction():
        session.execute(text("UPDATE vendors SET probing_at = now() - interval '31 s'"))
    assert breaker.seconds_to_wait("sandbox") == 0


def test_when_the_vendor_is_back_every_job_that_waited_is_done(desk):
    waiting = [desk.submit() for _ in range(8)]
    desk.fault(fault="status", method="POST", status=503, body=BUSY, times=1000)
    for job in waiting:
        desk.slice(job)
    desk.well_again()
    close_soon()
    assert [desk.finish(job).state for job in waiting] == ["succeeded"] * 8 and desk.paid() == 8


# What vendors say they run, compared with what we know


def test_a_run_whose_answer_was_lost_is_linked_by_housekeeping_and_its_job_called(desk):
    desk.fault(fault="lost", method="POST")
    job = desk.slice(desk.submit())
    desk.reconcile()
    assert desk.runs(job)[0].external_id == desk.bill()[0]["id"] and desk.states(job) == ["running"]
    assert desk.wait(job) <= 0
    assert desk.finish(job).state == "succeeded" and desk.posts() == 1


@pytest.mark.parametrize(("seconds", "state"), [(600, "cancelled"), (0, "done")])
def test_a_run_that_is_listed_when_its_job_is_over_is_cancelled_or_the_houses(desk, seconds, state):
    desk.fault(fault="lost", method="POST")
    job = desk.slice(desk.submit(vendor_seconds=seconds))
    with transaction():
        ending.end(job.id, Ending(State.FAILED, "as if"))
    assert desk.states(job) == ["abandoned"]
    desk.reconcile()
    (run,) = desk.runs(job)
    assert (run.state, run.booked_to_house, desk.paid()) == (state, state == "done", int(state == "done"))


def test_a_second_run_under_one_marker_is_cancelled_and_has_a_row(desk):
    job = desk.slice(desk.submit(vendor_seconds=600))
    again = {"marker": desk.runs(job)[0].marker, "seconds": 600}
    requests.post(f"{desk.url}/runs", json=again, timeout=5).raise_for_status()
    for _ in range(2):
        desk.reconcile()
    assert desk.states(job) == ["running", "cancelled"] and desk.paid() == 1
    job = desk.slice(desk.cancel(job))
    assert job.state == "cancelled" and desk.paid() == 0


def test_runs_of_another_installation_with_the_same_key_are_left_alone(desk, address):
    job = desk.slice(desk.submit(vendor_seconds=0))
    for marker in (f"novai-{job.id}-{'f' * 16}-1-{'a' * 8}", f"novai-999999-{'f' * 16}-1-{'a' * 8}", "somebody else's"):
        requests.post(f"{address}/runs", json={"marker": marker, "seconds": 600}, timeout=5).raise_for_status()
    desk.reconcile()
    assert desk.finish(job).state == "succeeded" and desk.states(job) == ["done"]
    theirs = [each for each in desk.bill() if each["id"] != desk.runs(job)[0].external_id]
    assert len(theirs) == 3 and not any(each["cancelled"] for each in theirs)
    desk._before |= {each["id"] for each in theirs}


def test_what_never_turns_up_is_forgotten_after_a_day(desk):
    desk.fault(fault="garbled", method="POST")
    job = desk.cancel(desk.slice(desk.submit()))
    desk.age(job, SETTLED_SECONDS)
    job = desk.slice(job)
    desk.reconcile()
    assert desk.states(job) == ["abandoned"]
    desk.age(job, 25 * 3600)
    desk.reconcile()
    assert desk.states(job) == ["not_started"]


def test_a_vendor_that_is_away_keeps_nobody_from_keeping_house(desk):
    desk.fault(fault="garbled", path="/runs", times=1000)
    housekeeping.keep_house(desk.store, desk.settings)
    desk.well_again()


def test_a_database_restored_from_a_backup_finds_what_was_asked_after_it(desk):
    """The runs are gone from it, but the job is there, and its markers follow from its row."""
    job = desk.slice(desk.submit(vendor_seconds=0))
    desk.change("DELETE FROM runs WHERE job_id = :id", job)
    desk.change("UPDATE jobs SET doubtful_since = now() WHERE id = :id", job)
    desk.reconcile()
    assert desk.states(job) == [], "it is left to its job"
    assert desk.finish(job).state == "succeeded"
    assert desk.posts() == 1 and desk.paid() == 1 and desk.states(job) == ["done"]


def test_a_restored_job_whose_run_was_never_asked_for_asks_for_it(desk):
    job = desk.submit()
    desk.change("UPDATE jobs SET doubtful_since = now() WHERE id = :id", job)
    assert desk.finish(job).state == "succeeded" and desk.posts() == 1


def test_a_run_that_a_restored_database_needs_no_more_is_the_houses(desk):
    job = desk.finish(desk.submit())
    desk.change("DELETE FROM runs WHERE job_id = :id", job)
    desk.reconcile()
    (run,) = desk.runs(job)
    assert (run.state, run.booked_to_house) == ("done", True)


def test_the_same_request_is_the_same_run_and_another_request_is_another(desk):
    job = desk.submit()
    with desk.bench() as bench:
        with pytest.raises(Waiting):
            bench.paid(SandboxRuns(desk.url), {"seconds": 0, "files": 2}, cost_credits=3)
        first = bench.paid(SandboxRuns(desk.url), {"files": 2, "seconds": 0}, cost_credits=3)
        assert first == bench.paid(SandboxRuns(desk.url), {"seconds": 0, "files": 2}, cost_credits=3)
        with pytest.raises(Waiting):
            bench.paid(SandboxRuns(desk.url), {"seconds": 0, "files": 1}, cost_credits=3)
    assert [run.n for run in desk.runs(job)] == [1, 2] and desk.posts() == 2
    assert runs.stem(desk.fresh(job)) in desk.runs(job)[1].marker


# What is left behind


@pytest.mark.parametrize("point", ["store.after_blob", "store.before_commit"])
def test_a_job_that_fails_in_its_first_slice_leaves_no_file_behind(desk, armed, point):
    failpoints.arm(armed, point, "raise")
    job = desk.slice(desk.submit(vendor=False))
    assert (job.state, job.lease_token) == ("failed", 1)
    assert list(desk.store.list("jobs")) == []


def test_housekeeping_clears_up_behind_a_worker_that_died_right_after_the_end(desk, tmp_path):
    job = desk.slice(desk.submit())
    stray = tmp_path / "stray.wav"
    stray.write_bytes(b"RIFF")
    desk.store.put(f"jobs/{job.id}/0-1.wav", stray, "audio/wav")
    desk.make_due(job)
    with desk.bench() as bench, transaction():
        ending.end(job.id, Ending(State.FAILED, "as if"), bench.lease)
    housekeeping.keep_house(desk.store, desk.settings)
    assert list(desk.store.list("jobs")) == []


def test_a_worker_that_wakes_without_its_lease_leaves_the_folder_of_the_next_alone(desk):
    job = desk.submit(vendor=False)
    stale = desk.bench()
    desk.lose_worker(job)
    with desk.bench() as newer:
        (newer.folder / "half.wav").write_bytes(b"RIFF")
        with stale:
            assert (newer.folder / "half.wav").exists()
    desk.lose_worker(job)
    with desk.bench() as last:
        assert [path.name for path in last.folder.parent.glob("job-*")] == [last.folder.name]
