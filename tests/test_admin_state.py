"""The state of the installation as an administrator sees it: what is wrong, since when, whose, and what to do."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from sqlalchemy import text

from novai_web import faults, jobs, presence
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.jobs import breaker, complaints
from novai_web.operations import state
from novai_web.tools import echo
from tests.test_credits_pages import words
from tests.things import put


@pytest.fixture
def page(client: FlaskClient, charlie: Account, sign_in: Callable[..., None]) -> FlaskClient:
    """A browser in which Charlie, the administrator, is signed in, of an installation whose workers are there."""
    sign_in(client, charlie)
    return client


@pytest.fixture
def at_work(app: Any, settings: Settings) -> None:
    for kind in presence.KINDS:
        presence.say(kind, settings)


@pytest.fixture
def start(alice: Account, settings: Settings) -> Callable[..., jobs.Job]:
    def start(**given: object) -> jobs.Job:
        with transaction():
            return jobs.submit(alice, echo.tool, {"copies": 1, **given}, settings).jobs[0]

    return start


def change(statement: str, **given: Any) -> None:
    with transaction():
        session.execute(text(statement), given)


def seen(page: FlaskClient) -> str:
    """What the page says, in words, and without the seconds beside minutes."""
    whole, part = page.get("/admin/state"), page.get("/admin/state/now")
    assert whole.status_code == part.status_code == 200
    assert "Free disk" in part.text and "<html" not in part.text
    return re.sub(r"(\d min) \d+ s\b", r"\1", words(whole.text))


def test_a_healthy_installation_says_so_in_one_line(page, at_work):
    said = seen(page)
    assert "Everything works. 0 jobs under way, 0 done and 0 failed in the last 24 hours." in said
    assert "What needs you" not in said and "Trouble" not in said


def test_every_process_is_named_with_its_machine_and_one_that_fell_silent_is_missed(page, at_work, settings):
    server = redis.Redis.from_url(settings.redis_url)
    server.set("novai:presence:worker-cpu:attic:77", b"", ex=presence.REMEMBERED_SECONDS - 240)
    said = seen(page)
    assert "Worker for renders 77 on attic fell silent 4 min ago. Look at that machine" in said
    assert "Processes at work 3 1 fell silent" in said


def test_a_process_that_was_told_to_stop_is_not_missed(settings, at_work):
    assert [each.kind for each in presence.processes(settings)] == ["dispatcher", "worker-cpu", "worker-io"]
    presence.leave("dispatcher", settings)
    assert [each.kind for each in presence.processes(settings)] == ["worker-cpu", "worker-io"]


def test_without_workers_the_page_says_what_to_start(page):
    said = seen(page)
    assert "Not heard for 30 seconds: worker-cpu, worker-io, dispatcher. Start the workers of both queues" in said
    assert "No process was heard of." in said


def test_a_queue_that_stands_still_is_told_with_its_oldest_job_and_whose_it_is(page, at_work, start, alice):
    job = start()
    change("UPDATE jobs SET run_at = now() - interval '3 minutes' WHERE id = :id", id=job.id)
    said = seen(page)
    assert "1 job could go on; the oldest has waited for 3 min. No worker takes them" in said
    assert f"{job.id} Echo Alice Owner Queued Could go on for 3 min." in said
    assert re.search(rf'href="/admin/credits/{alice.id}\?job={job.id}#job-{job.id}"', page.get("/admin/state").text)
    change("UPDATE jobs SET run_at = now() - interval '9 minutes' WHERE id = :id", id=job.id)
    said = seen(page)
    assert "A job has been due for 9 minutes." in said and "the oldest has waited" not in said


def test_a_job_that_loses_its_workers_is_shown_before_it_is_given_up(page, at_work, start):
    job = start()
    change("UPDATE jobs SET lost_attempts = 2, run_at = now() + interval '1 hour' WHERE id = :id", id=job.id)
    assert "Queued 2 workers lost. Goes on in 59 min" in seen(page)


def test_what_failed_is_counted_by_its_reason_and_leads_to_the_newest(page, at_work, start, work, alice):
    failed = [start(trouble="refuse") for _ in range(6)]
    start()
    work()
    said = seen(page)
    assert "6 of 7 jobs of the last 24 hours failed. The table of failures says why." in said
    assert f"6 1 just now job {failed[-1].id}" in said
    shown = page.get(f"/admin/credits/{alice.id}?job={failed[0].id}").text
    assert f'id="job-{failed[0].id}"' in shown and session.get_one(jobs.Job, failed[0].id).error in words(shown)


def test_a_vendor_that_is_down_is_told_with_what_its_jobs_do_meanwhile(page, at_work, settings):
    for _ in range(breaker.FAILURES_MAX):
        breaker.failed("fal")
    complaints.complain("fal", "unavailable", "503 Service Unavailable", None, settings)
    said = seen(page)
    assert re.search(
        r"fal failed 5 times in a row; nobody asks it for \d+ s. Its jobs wait and go on by themselves.", said
    )
    assert re.search(r"Open, \d+ s 1", said)
    assert 'href="/admin/vendors#vendor-fal"' in page.get("/admin/state").text


def test_a_full_disk_is_told_with_what_would_give_room(make_app, charlie, alice, at_work, settings, sign_in):
    put(alice, settings, size_bytes=3_000_000)
    gone = put(alice, settings, size_bytes=5_000_000)
    change("UPDATE assets SET trashed_at = now() WHERE id = :id", id=gone.id)
    client = make_app(disk_free_bytes_min=2**60).test_client()
    sign_in(client, charlie)
    said = words(client.get("/admin/state").text)
    assert (
        "Uploads and new jobs are refused below" in said and "The trash holds 4.8 MB, results that expire 0 B" in said
    )
    assert said.count("are refused below") == 1
    assert "Alice Owner 7.6 MB (4.8 MB in the trash)" in said


def test_books_that_do_not_add_up_are_told(page, at_work, alice):
    change("UPDATE wallets SET available = available + 1 WHERE account_id = :id", id=alice.id)
    assert re.search(r"\d+ rows? of the books do not add up. Run `flask fsck`", seen(page))
    change("UPDATE wallets SET available = available - 1 WHERE account_id = :id", id=alice.id)


def test_the_installations_limit_of_today_is_told_before_it_is_reached(
    make_app, charlie, alice, at_work, settings, sign_in
):
    small = settings.model_copy(update={"daily_cost_limit_cents": 100})
    with transaction():
        jobs.submit(alice, echo.tool, {"copies": 75, "credits": 1}, small)
    client = make_app(daily_cost_limit_cents=100).test_client()
    sign_in(client, charlie)
    assert "75 of the 100 credits of today are spent or held." in words(client.get("/admin/state").text)


def test_an_error_that_somebody_saw_is_found_by_its_reference(page, at_work, alice, settings):
    change("ALTER TABLE presets RENAME TO presets_away")
    try:
        answer = page.get("/tools/variants")
    finally:
        session.rollback()
        change("ALTER TABLE presets_away RENAME TO presets")
    assert answer.status_code == 500
    (reference,) = re.findall(r'Reference <span class="mono">([0-9a-f]{16})</span>', answer.text)
    assert f"{reference} GET /tools/<slug> ProgrammingError" in words(page.get("/admin/state").text)
    found = page.get(f"/admin/state/lookup?q={reference[:8]}")
    assert found.status_code == 303 and found.location.endswith(f"/admin/state#fault-{reference}")


def test_only_the_newest_errors_are_kept_and_nothing_that_was_asked(settings, app):
    for number in range(faults.KEPT + 5):
        faults.note(f"{number:016x}", "GET", "/assets/<int:asset_id>", "ValueError", settings)
    found = faults.newest(settings)
    assert len(found) == faults.KEPT and found[0].reference == f"{faults.KEPT + 4:016x}"


def test_the_number_of_a_job_leads_to_its_owner_and_what_became_of_it(page, start, alice):
    job = start()
    found = page.get(f"/admin/state/lookup?q=%23{job.id}")
    assert found.status_code == 303 and found.location.endswith(f"/admin/credits/{alice.id}?job={job.id}#job-{job.id}")


@pytest.mark.parametrize("asked", ["", "999999999", "nonsense", "9" * 30, "%00", "٣"])
def test_what_is_nowhere_is_told_and_leads_back(page, asked):
    found = page.get(f"/admin/state/lookup?q={asked}")
    assert found.status_code == 303 and found.location.endswith("/admin/state")
    assert re.search("is called|Enter the number of a job", words(page.get("/admin/state").text))


def test_the_page_asks_no_more_however_much_there_is(page, at_work, start, work, queries):
    def count() -> int:
        with queries() as said:
            assert page.get("/admin/state").status_code == 200
        return len(said)

    count()  # whoever comes first in a minute counts the books
    few = count()
    for _ in range(5):
        start()
        start(trouble="refuse")
    work()
    assert count() <= few


def test_the_page_still_stands_while_redis_is_away(make_app, charlie, sign_in):
    client = make_app().test_client()
    sign_in(client, charlie)
    client.application.extensions["novai_settings"] = client.application.extensions["novai_settings"].model_copy(
        update={"redis_url": "redis://127.0.0.1:1/0"}
    )
    said = words(client.get("/admin/state").text)
    assert "Redis does not answer. Start Redis, and check REDIS_URL." in said


def test_whatever_page_is_open_says_that_something_needs_an_administrator(make_app, charlie, alice, at_work, sign_in):
    client = make_app(disk_free_bytes_min=2**60).test_client()
    sign_in(client, charlie)
    assert 'hx-get="/admin/state/alarm"' in client.get("/videos").text
    assert "1 thing needs you: see the state of the installation." in words(client.get("/admin/state/alarm").text)
    sign_in(client, alice)
    assert "/admin/state" not in client.get("/videos").text


def test_a_healthy_installation_raises_no_alarm(make_app, charlie, at_work, sign_in):
    client = make_app().test_client()
    sign_in(client, charlie)
    assert "data-quiet" in client.get("/admin/state/alarm").text


def test_nobody_else_learns_of_it(client, alice, sign_in):
    sign_in(client, alice)
    for where in ("/admin/state", "/admin/state/now", "/admin/state/alarm", "/admin/state/lookup?q=1"):
        assert client.get(where).status_code == 404
    assert "/admin/state" not in client.get("/").text


def test_the_largest_libraries_come_first(settings, alice, bob, app, tmp_path):
    put(alice, settings, size_bytes=10)
    put(bob, settings, size_bytes=20)
    found = state.disk(settings, open_store(settings))
    assert [each.person for each in found.largest] == ["Bob Stranger", "Alice Owner"] and found.kept == 30
