"""One job from submit to its end: slices, checkpoints, leases, endings."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from novai_web import credits, jobs, tools
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.credits import invariants
from novai_web.db import session, transaction
from novai_web.engines.store import Store, open_store
from novai_web.errors import Conflict, DailyLimitReached, NotEnoughCredits, StaleLease
from novai_web.jobs import Job, State, leases
from novai_web.jobs.stopping import stopping
from novai_web.tools import echo


@pytest.fixture
def store(settings: Settings) -> Store:
    return open_store(settings)


@pytest.fixture
def submit(app: Flask, alice: Account, settings: Settings) -> Callable[..., jobs.Submitted]:
    def send(**given: Any) -> jobs.Submitted:
        key = given.pop("key", None)
        with transaction():
            return jobs.submit(alice, echo.tool, given, settings, key=key)

    return send


@pytest.fixture
def run(app: Flask, store: Store, settings: Settings) -> Iterator[Callable[[], int]]:
    """Run slices until nothing is due; afterwards no invariant is broken."""

    def until_idle() -> int:
        slices = 0
        while jobs.run_slice("io", store, settings):
            slices += 1
        return slices

    yield until_idle
    session.rollback()
    assert invariants.broken() == {}


def fresh(job: Job) -> Job:
    session.expire_all()
    return session.get_one(Job, job.id)


def make_due(job: Job) -> None:
    with transaction():
        session.execute(text("UPDATE jobs SET run_at = now() WHERE id = :id"), {"id": job.id})


def lose_worker(job: Job) -> None:
    """As after kill -9: the row says running, the lease has run out, nobody comes back."""
    with transaction():
        session.execute(
            text("UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = :id AND state = 'running'"),
            {"id": job.id},
        )


def test_a_job_that_delivers_everything_succeeds_and_is_whole(submit, run):
    made = submit(copies=3)
    assert run() == 1
    job = fresh(made.jobs[0])
    assert (job.state, job.percent, job.delivered, job.error) == ("succeeded", 100, 3, None)
    assert [each.asset.name for each in jobs.outputs(job_id=job.id)] == ["echo 1.wav", "echo 2.wav", "echo 3.wav"]


def test_what_was_delivered_is_in_the_store_before_it_has_a_row(submit, run, store):
    job = submit(copies=1).jobs[0]
    run()
    asset = jobs.outputs(job_id=job.id)[0].asset
    assert store.size(asset.store_key) == asset.size_bytes > 0


def test_one_form_becomes_as_many_jobs_as_the_tool_splits_it_into(submit, run):
    made = submit(copies=25, per_job=10)
    assert [job.promised for job in made.jobs] == [10, 10, 5]
    run()
    assert jobs.batches.summary(made.batch).done == 25


def test_a_job_is_paid_once_for_what_it_delivered(submit, run, alice, settings):
    before = credits.balance(alice, settings).available
    made = submit(copies=4, credits=5, lost=[1])
    assert credits.balance(alice, settings).held == 20
    run()
    job = fresh(made.jobs[0])
    assert (job.state, job.charged, job.error) == ("succeeded", 15, "1 of 4 could not be made.")
    assert credits.balance(alice, settings).available == before - 15


def test_a_job_that_delivers_nothing_has_failed_and_costs_nothing(submit, run, alice, settings):
    before = credits.balance(alice, settings)
    made = submit(copies=2, credits=5, lost=[0, 1])
    run()
    job = fresh(made.jobs[0])
    assert (job.state, job.error, job.charged) == ("failed", "This echo was lost.", 0)
    assert credits.balance(alice, settings) == before


@pytest.mark.parametrize(("trouble", "sentence"), [("refuse", "nothing to hear"), ("crash", "could not finish")])
def test_a_step_that_raises_ends_the_job_in_plain_words(submit, run, alice, settings, trouble, sentence):
    before = credits.balance(alice, settings)
    job = submit(copies=1, credits=5, trouble=trouble).jobs[0]
    run()
    job = fresh(job)
    assert job.state == "failed" and sentence in job.error
    assert credits.balance(alice, settings) == before


def test_a_store_that_is_away_is_tried_again_later_and_not_for_ever(submit, run):
    job = submit(copies=1, trouble="store").jobs[0]
    for attempt in range(1, 5):
        run()
        assert (fresh(job).state, fresh(job).error_attempts) == ("queued", attempt)
        make_due(job)
    run()
    assert (fresh(job).state, fresh(job).error_code) == ("failed", "unavailable")


@pytest.mark.parametrize(
    ("daily_limits", "refusal"),
    [((5000, 5000), NotEnoughCredits), ((800, 5000), DailyLimitReached), ((5000, 800), DailyLimitReached)],
)
def test_who_may_not_pay_gets_no_job_no_hold_and_no_entry(app, alice, settings, daily_limits, refusal):
    ours, everybodys = daily_limits
    limited = settings.model_copy(update={"account_daily_credits": ours, "daily_cost_limit_cents": everybodys})
    with pytest.raises(refusal), transaction():
        jobs.submit(alice, echo.tool, {"copies": 500, "per_job": 100, "credits": 3}, limited)
    assert invariants.broken() == {}
    assert session.scalar(text("SELECT count(*) FROM jobs")) == 0
    assert credits.balance(alice, settings).held == 0
    assert session.scalar(text("SELECT count(*) FROM entries WHERE kind = 'reserve'")) == 0


def test_a_lost_worker_costs_a_lease_and_its_step_runs_again(submit, run, settings):
    job = submit(copies=1).jobs[0]
    with transaction():
        leases.claim("io", settings)
    assert run() == 0
    lose_worker(job)
    assert run() == 1
    assert (fresh(job).state, fresh(job).slices) == ("succeeded", 2)


def test_a_job_goes_on_where_it_stopped_and_delivers_nothing_twice(submit, run, store, settings):
    job = submit(copies=5).jobs[0]
    first_two = lambda: session.scalar(text("SELECT count(*) FROM assets")) >= 2  # noqa: E731
    _run_and_abandon(store, settings, echo_job=job, when=first_two)
    lose_worker(job)
    run()
    outputs = jobs.outputs(job_id=job.id)
    assert fresh(job).state == "succeeded" and len({each.asset.id for each in outputs}) == 5
    assert session.scalar(text("SELECT count(*) FROM assets")) == 5


def _run_and_abandon(store: Store, settings: Settings, echo_job: Job, when: Callable[[], Any]) -> None:
    """Do what a worker does by hand, and leave it half done."""
    from novai_web.jobs.bench import Bench

    with transaction():
        lease = leases.claim("io", settings)
        bench = Bench(fresh(echo_job), lease, store, settings)
    with bench:
        for promise in list(bench.promises)[:2]:
            path = echo._sound(bench.folder / f"{promise.n}.wav", promise.n)
            bench.keep(path, echo._made(path, promise), n=promise.n)
            bench.keep(path, echo._made(path, promise), n=promise.n)
    assert when()


def test_a_paused_worker_cannot_write_afterwards(submit, run, settings):
    job = submit(copies=1).jobs[0]
    with transaction():
        paused = leases.claim("io", settings)
    lose_worker(job)
    run()
    with pytest.raises(StaleLease), transaction():
        paused.write(progress=0.1)
    with pytest.raises(StaleLease), transaction():
        leases.renew(paused, settings)
    assert fresh(job).state == "succeeded"


def test_a_job_that_stops_its_worker_three_times_fails_and_says_so(submit, run, settings):
    job = submit(copies=1, credits=2).jobs[0]
    for _ in range(3):
        with transaction():
            assert leases.claim("io", settings)
        lose_worker(job)
    run()
    assert (fresh(job).state, fresh(job).error_code, fresh(job).charged) == ("failed", "poison", 0)


def test_progress_never_goes_back_and_is_whole_only_on_success(submit, store, settings):
    job = submit(copies=4, seconds=0.8).jobs[0]
    seen: list[tuple[float, bool]] = []
    worker = _work_beside(store, settings)
    while worker.is_alive():
        now = fresh(job)
        seen.append((now.progress, now.state == "succeeded"))
        session.rollback()
        time.sleep(0.05)
    assert seen == sorted(seen) and len(set(seen)) > 2
    assert all((progress == 1) == is_success for progress, is_success in seen)
    assert fresh(job).progress == 1


def _work_beside(store: Store, settings: Settings) -> threading.Thread:
    """A worker in a thread, with a database session of its own."""
    from flask import current_app

    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]

    def work() -> None:
        with app.app_context():
            jobs.run_slice("io", store, settings)

    worker = threading.Thread(target=work)
    worker.start()
    return worker


def test_a_queued_job_is_cancelled_at_once_and_its_hold_released(submit, run, alice, settings):
    job = submit(copies=1, credits=9).jobs[0]
    with transaction():
        jobs.cancel(job)
    assert fresh(job).state == "cancelled" and credits.balance(alice, settings).held == 0
    assert run() == 0


def test_a_running_job_stops_at_its_next_word(submit, store, settings):
    job = submit(copies=1, seconds=60).jobs[0]
    worker = _work_beside(store, settings)
    while fresh(job).state != State.RUNNING:
        session.rollback()
        time.sleep(0.05)
    with transaction():
        jobs.cancel(fresh(job))
    assert fresh(job).status == "cancelling"
    session.rollback()
    worker.join(15)
    assert not worker.is_alive() and fresh(job).state == "cancelled"


def test_cancelling_what_is_over_does_nothing(submit, run):
    job = submit(copies=1).jobs[0]
    run()
    with transaction():
        jobs.cancel(job)
    assert fresh(job).state == "succeeded"


def test_a_worker_that_is_told_to_stop_gives_its_job_back(submit, store, settings, run):
    job = submit(copies=1, seconds=4).jobs[0]
    worker = _work_beside(store, settings)
    try:
        while fresh(job).state != State.RUNNING:
            session.rollback()
            time.sleep(0.05)
        stopping.set()
        session.rollback()
        worker.join(15)
    finally:
        stopping.clear()
    assert (fresh(job).state, fresh(job).lost_attempts) == ("queued", 0)
    run()
    assert fresh(job).state == "succeeded"


def test_a_retry_makes_one_new_job_for_what_is_missing_however_often_it_is_asked(submit, run, alice, settings):
    made = submit(copies=3, credits=2, trouble="refuse")
    run()
    with transaction():
        first = jobs.retry(alice, fresh(made.jobs[0]), settings)
    with transaction():
        second = jobs.retry(alice, fresh(made.jobs[0]), settings)
    assert first.id == second.id and first.promised == 3 and first.price == 6


def test_a_retry_holds_only_what_was_not_delivered(submit, run, alice, settings):
    made = submit(copies=4, credits=3, lost=[2])
    run()
    with transaction():
        (again,) = jobs.retry_batch(alice, made.batch, settings)
    assert (again.promised, again.price) == (1, 3)
    assert jobs.batches.summary(made.batch).pending == 1
    run()
    assert fresh(again).state == "failed" and jobs.batches.summary(made.batch).done == 3


def test_there_is_nothing_to_retry_when_all_was_delivered(submit, run, alice, settings):
    made = submit(copies=1)
    run()
    with pytest.raises(Conflict), transaction():
        jobs.retry(alice, fresh(made.jobs[0]), settings)


def test_an_ended_job_cannot_be_changed_even_by_hand(submit, run):
    job = submit(copies=1).jobs[0]
    run()
    with pytest.raises(Exception, match="is over"), transaction():
        session.execute(text("UPDATE jobs SET state = 'failed', progress = 0 WHERE id = :id"), {"id": job.id})


def test_users_share_workers_in_turn(submit, alice, bob, settings):
    for _ in range(5):
        submit(copies=1)
    with transaction():
        bobs = jobs.submit(bob, echo.tool, {"copies": 1}, settings).jobs[0]
    with transaction():
        first, second = leases.claim("io", settings), leases.claim("io", settings)
    assert session.get_one(Job, first.job_id).account_id == alice.id and second.job_id == bobs.id


@pytest.mark.parametrize("pushed", [False, True])
def test_users_take_turns_even_on_a_single_worker(submit, run, alice, bob, settings, store, pushed):
    alices = [submit(copies=1).jobs[0] for _ in range(3)]
    with transaction():
        bobs = jobs.submit(bob, echo.tool, {"copies": 1}, settings).jobs[0]
        for job in alices if pushed else []:
            jobs.move_to_front(job)
    run()
    ended = session.scalars(text("SELECT account_id FROM jobs ORDER BY ended_at")).all()
    assert ended == [alice.id, bob.id, alice.id, alice.id] and fresh(bobs).state == "succeeded"


def test_a_job_moved_to_the_front_is_the_next_of_its_account(submit, settings):
    submit(copies=1)
    last = submit(copies=1).jobs[0]
    with transaction():
        jobs.move_to_front(last)
    with transaction():
        assert leases.claim("io", settings).job_id == last.id


def test_the_same_key_and_input_make_one_job(submit):
    first, second = submit(copies=2, key="k"), submit(copies=2, key="k")
    assert [job.id for job in first.jobs] == [job.id for job in second.jobs]
    assert session.scalar(text("SELECT count(*) FROM jobs")) == 1


def test_fifty_at_once_with_one_key_make_one_job(app, alice, settings):
    def send() -> None:
        with app.app_context(), transaction():
            jobs.submit(alice, echo.tool, {"copies": 1, "credits": 1}, settings, key="same")

    threads = [threading.Thread(target=send) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.scalar(text("SELECT count(*) FROM jobs")) == 1
    assert credits.balance(alice, settings).held == 1 and invariants.broken() == {}


def test_every_tool_is_found_by_its_slug():
    assert all(tools.find(tool.slug) is tool for tool in (*tools.TOOLS, *tools.INTERNAL, *tools.DRILLS))
