"""A batch as its owner sees it, on the page and over the API: filling, failing, kept, expired, rebuilt, downloaded."""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from novai_web import jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.credits import invariants
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.jobs import Batch, State, batches, finding, housekeeping, leases
from novai_web.jobs.bench import Bench
from novai_web.jobs.ending import Ending
from novai_web.tools import echo
from tests import things


class Studio:
    """Alice at her pages and her API, and the workers that answer her."""

    def __init__(self, client: FlaskClient, api: dict[str, str], account: Account, settings: Settings) -> None:
        self.client, self.api, self.account, self.settings = client, api, account, settings

    def start(self, **given: Any) -> Batch:
        with transaction():
            made = jobs.submit(self.account, echo.tool, given, self.settings).batch
        assert made is not None
        return made

    def work(self, slices: int = 1000) -> None:
        session.rollback()  # what a test has read began a transaction, whose clock stands still
        while slices and jobs.run_slice("io", open_store(self.settings), self.settings):
            slices -= 1

    def page(self, url: str, status: int = 200, **headers: str) -> Any:
        answer = self.client.get(url, headers=headers)
        assert answer.status_code == status, answer.text
        return answer

    def press(self, url: str, **fields: str) -> Any:
        answer = self.client.post(url, data=fields)
        assert answer.status_code == 303, answer.text
        return answer

    def ask(self, url: str, method: str = "GET", status: int = 200, **headers: str) -> Any:
        answer = self.client.open(f"/api/v1{url}", method=method, headers=self.api | headers)
        assert answer.status_code == status, answer.text
        return answer.json

    def change(self, statement: str) -> None:
        with transaction():
            session.execute(text(statement))

    def let_expire(self, which: str = "true") -> None:
        self.change(f"UPDATE assets SET expires_at = now() - interval '1 s' WHERE expires_at IS NOT NULL AND {which}")
        housekeeping.keep_house(open_store(self.settings), self.settings)
        session.expire_all()


@pytest.fixture
def studio(app, client, alice, sign_in, bearer, settings) -> Iterator[Studio]:
    sign_in(client, alice)
    yield Studio(client, bearer(alice), alice, settings)
    session.rollback()
    assert invariants.broken() == {}


def live_url(page: Any) -> str:
    return re.search(r'data-live="(/batches/\d+/live[^"]*)"', page.text)[1].replace("&amp;", "&")


def cells_told(answer: Any) -> set[int]:
    return {int(each) for each in re.findall(r'id="output-(\d+)"', answer.text)}


# --- Watching ------------------------------------------------------------------------------------------------------


def test_a_poll_tells_only_the_cells_that_changed_since_the_page_was_drawn(studio):
    batch = studio.start(copies=6, per_job=2)
    studio.change("UPDATE outputs SET changed_at = now() - interval '1 minute' * (n + 1)")
    page = studio.page(f"/batches/{batch.id}")
    assert len(cells_told(page)) == 6
    studio.work(slices=1)
    done = {each.output.id for each in jobs.outputs(batch_id=batch.id) if each.asset}
    assert cells_told(studio.page(live_url(page))) == done and len(done) == 2


def test_a_poll_is_304_until_something_changes_and_stops_when_all_is_over(studio):
    batch = studio.start(copies=4, per_job=2)
    url = live_url(studio.page(f"/batches/{batch.id}"))
    tag = studio.page(url).headers["HX-PTag"]
    assert studio.page(url, 304, **{"HX-PTag": tag}).data == b""
    studio.work(slices=1)
    changed = studio.page(url, **{"HX-PTag": tag})
    assert "data-live" in changed.text and changed.headers["HX-PTag"] != tag
    studio.work()
    assert "data-live" not in studio.page(url, **{"HX-PTag": changed.headers["HX-PTag"]}).text


def test_the_last_poll_tells_every_change_however_many(studio):
    batch = studio.start(copies=300, per_job=150)
    studio.change("UPDATE outputs SET changed_at = now() - interval '1 minute'")
    url = live_url(studio.page(f"/batches/{batch.id}"))
    with transaction():
        jobs.cancel_batch(batch)
    assert len(cells_told(studio.page(url))) == 300


@pytest.mark.parametrize("noun", ["batches", "jobs"])
def test_all_cards_are_polled_in_one_request_that_is_304_until_one_changes(studio, noun):
    made = [studio.start(copies=1) for _ in range(3)]
    ids = [each.id for each in made] if noun == "batches" else [jobs.finding.of_batch(each.id)[0].id for each in made]
    url = f"/{noun}/cards?ids={','.join(map(str, ids))}"
    tag = studio.page(url).headers["HX-PTag"]
    studio.page(url, 304, **{"HX-PTag": tag})
    studio.work(slices=1)
    studio.page(url, 200, **{"HX-PTag": tag})


@pytest.mark.parametrize(
    "url", ["/batches", "/batches/cards?ids={ids}", "/jobs", "/jobs/queue", "/jobs/cards?ids={ids}"]
)
def test_a_longer_list_asks_the_database_no_more(studio, queries, url):
    counts = []
    for _ in range(2):
        for _ in range(4):
            studio.start(copies=2, per_job=1)
        studio.work()
        ids = ",".join(str(number) for number in range(1, 200))
        session.remove()
        with queries() as said:
            studio.page(url.format(ids=ids))
        counts.append(len(said))
    assert counts[0] == counts[1]


def test_a_larger_batch_asks_the_database_no_more(studio, queries):
    counts = []
    for copies in (4, 40):
        batch_id = studio.start(copies=copies, per_job=2, lost=[0]).id
        studio.work()
        session.remove()
        with queries() as said:
            studio.page(f"/batches/{batch_id}")
        counts.append(len(said))
    assert counts[0] == counts[1]


def test_what_novai_does_for_itself_is_no_job_of_a_person(studio):
    answer = studio.client.post(
        "/api/v1/audios", data={"file": (io.BytesIO(things.wav()), "a.wav")}, headers=studio.api
    )
    assert answer.status_code == 201 and session.scalar(text("SELECT count(*) FROM jobs")) == 1
    hidden = session.scalar(text("SELECT id FROM jobs"))
    assert finding.active_count(studio.account.id) == 0 and finding.delivered_count(studio.account.id) == 0
    assert set(studio.ask("/jobs/stats").values()) == {0} and studio.ask("/jobs")["items"] == []
    studio.page(f"/jobs/{hidden}", 404)
    assert f"job-{hidden}" not in studio.page(f"/jobs/cards?ids={hidden}").text


# --- Counts and progress -------------------------------------------------------------------------------------------


def test_the_counts_of_a_batch_add_up_through_failure_retry_and_expiry(studio):
    batch = studio.start(copies=6, per_job=3, lost=[1, 4], credits=2)

    def tally() -> tuple[int, int, int, int]:
        session.expire_all()
        found = batches.summary(session.get_one(Batch, batch.id))
        return found.pending, found.done, found.failed, found.expired

    assert tally() == (6, 0, 0, 0)
    studio.work()
    assert tally() == (0, 4, 2, 0)
    studio.press(f"/batches/{batch.id}/retry")
    assert tally() == (2, 4, 0, 0)
    studio.work()
    assert tally() == (0, 4, 2, 0)
    studio.let_expire()
    assert tally() == (0, 0, 2, 4)


def test_progress_never_goes_back_while_what_failed_is_tried_again(studio):
    batch = studio.start(copies=8, per_job=4, lost=[1, 5])
    studio.work()
    studio.press(f"/batches/{batch.id}/retry")
    seen = []
    while True:
        session.expire_all()
        seen.append(studio.ask(f"/batches/{batch.id}")["progress"])
        if not jobs.run_slice("io", open_store(studio.settings), studio.settings):
            break
    assert seen[0] == 0.75 and seen == sorted(seen) and seen[-1] == 1


def test_a_cancelled_batch_that_was_tried_again_and_failed_has_failed(studio):
    batch = studio.start(copies=2, trouble="refuse")
    studio.press(f"/batches/{batch.id}/cancellation")
    assert studio.ask(f"/batches/{batch.id}")["status"] == "cancelled"
    studio.press(f"/batches/{batch.id}/retry")
    studio.work()
    session.expire_all()
    assert studio.ask(f"/batches/{batch.id}")["status"] == "failed"


def test_a_job_that_was_tried_again_offers_no_second_retry(studio):
    batch = studio.start(copies=2, lost=[0])
    studio.work()
    (job,) = jobs.finding.of_batch(batch.id)
    assert f"/jobs/{job.id}/retry" in studio.page(f"/jobs/{job.id}").text
    studio.press(f"/jobs/{job.id}/retry")
    assert f"/jobs/{job.id}/retry" not in studio.page(f"/jobs/{job.id}").text
    studio.press(f"/jobs/{job.id}/retry")
    assert len(jobs.finding.of_batch(batch.id)) == 2


# --- Cancelling ----------------------------------------------------------------------------------------------------


def half_done(studio: Studio, batch: Batch) -> leases.Lease:
    """A worker delivers the first output of the batch's first job, and is still at work."""
    with transaction():
        lease = leases.claim("io", studio.settings)
        assert lease is not None
        bench = Bench(session.get_one(jobs.Job, lease.job_id), lease, open_store(studio.settings), studio.settings)
    with bench:
        first = bench.promises[0]
        path = echo._sound(bench.folder / "0.wav", first.n)
        bench.keep(path, echo._made(path, first), n=first.n)
    return lease


@pytest.mark.parametrize(("credits", "state"), [(3, "succeeded"), (0, "cancelled")])
def test_what_was_delivered_before_a_cancel_stays_and_is_all_that_is_paid(studio, credits, state):
    batch = studio.start(copies=4, credits=credits)
    lease = half_done(studio, batch)
    studio.press(f"/batches/{batch.id}/cancellation")
    assert studio.ask(f"/jobs/{lease.job_id}")["status"] == "cancelling"
    with transaction():
        jobs.ending.end(lease.job_id, Ending(State.CANCELLED), lease)
    job = studio.ask(f"/jobs/{lease.job_id}")
    assert (job["status"], job["outputs_delivered"], job["credits_charged"]) == (state, 1, credits)
    found = studio.ask(f"/batches/{batch.id}")
    assert (found["done"], found["failed"], found["cancelled"], found["zip_url"] is not None) == (1, 0, 3, True)


def test_a_job_that_delivered_everything_before_the_cancel_was_heard_has_succeeded(studio):
    batch = studio.start(copies=1, credits=3)
    lease = half_done(studio, batch)
    with transaction():
        jobs.cancel_batch(batch)
    with transaction():
        jobs.ending.end(lease.job_id, Ending(State.CANCELLED), lease)
    job = studio.ask(f"/jobs/{lease.job_id}")
    assert (job["status"], job["credits_charged"], job["error"]) == ("succeeded", 3, None)


def test_a_cancel_is_not_lost_with_the_worker_that_should_have_heard_it(studio):
    batch = studio.start(copies=2)
    lease = half_done(studio, batch)
    studio.press(f"/batches/{batch.id}/cancellation")
    studio.change("UPDATE jobs SET lease_until = now() - interval '1 s'")
    studio.work()
    session.expire_all()
    assert studio.ask(f"/jobs/{lease.job_id}")["status"] == "cancelled"
    assert studio.ask(f"/batches/{batch.id}")["done"] == 1


def test_a_job_whose_worker_died_is_cancelled_at_once(studio):
    batch = studio.start(copies=2)
    lease = half_done(studio, batch)
    studio.change("UPDATE jobs SET lease_until = now() - interval '1 s'")
    studio.press(f"/batches/{batch.id}/cancellation")
    assert studio.ask(f"/jobs/{lease.job_id}")["status"] == "cancelled"


# --- Keeping, expiring, building again -----------------------------------------------------------------------------


def test_one_is_kept_and_exactly_the_others_expire(studio):
    batch = studio.start(copies=3)
    studio.work()
    studio.press(f"/batches/{batch.id}/keep", n="1")
    studio.let_expire()
    items = studio.ask(f"/batches/{batch.id}/results?status=all")["items"]
    assert [item["status"] for item in items] == ["expired", "done", "expired"]
    assert things.stored(studio.settings) == [session.scalar(text("SELECT store_key FROM assets"))]
    page = studio.page(f"/batches/{batch.id}").text
    assert "Kept" in page and page.count("Expired") == 2
    assert studio.page(items[1]["url"]).status_code == 200


@pytest.mark.parametrize("number", ["99", "all", "9" * 30, "-1"])
def test_a_number_that_is_none_of_the_batch_keeps_nothing(studio, number):
    batch = studio.start(copies=2)
    studio.work()
    studio.client.post(f"/batches/{batch.id}/keep", data={"n": number})
    assert studio.ask(f"/batches/{batch.id}")["kept_at"] is None


def test_keeping_all_keeps_all(studio):
    batch = studio.start(copies=3)
    studio.work()
    studio.press(f"/batches/{batch.id}/keep")
    studio.let_expire()
    assert studio.ask(f"/batches/{batch.id}")["done"] == 3 and len(things.stored(studio.settings)) == 3


def test_an_expired_batch_says_so_and_is_built_again_with_one_press_however_often(studio):
    batch = studio.start(copies=2, credits=1)
    studio.work()
    studio.let_expire()
    page = studio.page(f"/batches/{batch.id}").text
    (form_key,) = re.findall(r'name="form_key" value="([^"]+)"', page)
    first = studio.press(f"/batches/{batch.id}/rebuild", form_key=form_key)
    second = studio.press(f"/batches/{batch.id}/rebuild", form_key=form_key)
    assert first.location == second.location != f"/batches/{batch.id}"
    studio.work()
    assert studio.ask(first.location)["done"] == 2
    studio.page(f"/batches/{batch.id}/zip", 404)
    later = re.findall(r'name="form_key" value="([^"]+)"', studio.page(f"/batches/{batch.id}").text)
    assert studio.press(f"/batches/{batch.id}/rebuild", form_key=later[0]).location != first.location


def test_an_expired_batch_is_built_again_over_the_api_once_for_each_key(studio):
    batch = studio.start(copies=2)
    studio.work()
    studio.let_expire()
    assert studio.ask(f"/batches/{batch.id}")["zip_url"] is None
    again = [
        studio.ask(f"/batches/{batch.id}/rebuild", "POST", 202, **{"Idempotency-Key": key})["batch"]["id"]
        for key in ("a", "a", "b")
    ]
    assert again[0] == again[1] != again[2]


def test_a_key_whose_submit_was_refused_is_free_again(studio, make_app):
    form = {"copies": "2", "per_job": "1", "credits": "1", "seconds": "0", "trouble": "none", "form_key": "k"}
    poor = make_app(account_daily_credits=1).test_client()
    keyed = studio.api | {"Idempotency-Key": "k"}
    refused = poor.post("/api/v1/tools/echo/jobs", json={"copies": 2, "credits": 1}, headers=keyed)
    assert refused.status_code == 429 and session.scalar(text("SELECT count(*) FROM submissions")) == 0
    accepted = studio.client.post("/api/v1/tools/echo/jobs", json={"copies": 2, "credits": 1}, headers=keyed)
    assert accepted.status_code == 202
    first, second = (studio.press("/tools/echo/jobs", **form) for _ in range(2))
    assert first.location == second.location


# --- The ZIP -------------------------------------------------------------------------------------------------------

ODD = ["مرحبا ‏ 1.wav", "=SUM(A1) 🎬.wav", "é e\u0301 ß.wav", "a" * 100 + ".wav"]


def unzip(answer: Any) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(answer.data))
    assert archive.testzip() is None and int(answer.headers["Content-Length"]) == len(answer.data)
    return archive


def test_the_zip_has_odd_names_as_they_are_and_a_manifest_no_spreadsheet_runs(studio):
    batch = studio.start(copies=len(ODD))
    studio.work()
    with transaction():
        for each, name in zip(jobs.outputs(batch_id=batch.id), ODD, strict=True):
            each.output.name = name
        session.get_one(Batch, batch.id).title = 'Ein "Titel"\r\nSet-Cookie: a=b/../ü'
    answer = studio.page(f"/batches/{batch.id}/zip")
    archive = unzip(answer)
    assert archive.namelist() == [*ODD, "manifest.csv"]
    rows = list(csv.reader(io.StringIO(archive.read("manifest.csv").decode("utf-8-sig"))))
    assert len(rows) == len(ODD) + 1 and not any(cell.startswith("=") for row in rows for cell in row)
    assert "Set-Cookie" not in answer.headers or "a=b" not in answer.headers["Set-Cookie"]
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_nothing_expires_while_its_zip_is_downloaded(studio):
    batch = studio.start(copies=2)
    studio.work()
    studio.change("UPDATE assets SET expires_at = now() + interval '1 s'")
    download = studio.page(f"/batches/{batch.id}/zip")
    studio.change("UPDATE assets SET expires_at = expires_at - interval '50 minutes'")  # as if so long had passed
    housekeeping.keep_house(open_store(studio.settings), studio.settings)
    assert len(unzip(download).namelist()) == 3


def test_what_has_expired_cannot_be_brought_back_by_a_download(studio):
    batch = studio.start(copies=1)
    studio.work()
    studio.change("UPDATE assets SET expires_at = now() - interval '1 s'")
    studio.page(f"/batches/{batch.id}/zip")
    housekeeping.keep_house(open_store(studio.settings), studio.settings)
    studio.page(f"/batches/{batch.id}/zip", 404)


def test_the_zip_of_a_batch_at_work_has_what_is_there(studio):
    batch = studio.start(copies=4, per_job=2)
    studio.work(slices=1)
    assert len(unzip(studio.page(f"/batches/{batch.id}/zip")).namelist()) == 3


# --- Nothing left behind -------------------------------------------------------------------------------------------


def test_a_worker_that_lost_its_lease_takes_its_file_away_again(studio, monkeypatch):
    batch = studio.start(copies=1)
    with transaction():
        paused = leases.claim("io", studio.settings)
        bench = Bench(session.get_one(jobs.Job, paused.job_id), paused, open_store(studio.settings), studio.settings)
    with bench:
        (promise,) = bench.promises
        path = echo._sound(studio.settings.scratch_folder / "late.wav", promise.n)
        studio.change("UPDATE jobs SET lease_until = now() - interval '1 s'")
        studio.work()
        monkeypatch.setattr(bench, "_delivered", lambda n: None)  # it had looked before it was paused
        with pytest.raises(leases.StaleLease):
            bench.keep(path, echo._made(path, promise), n=promise.n)
    path.unlink()
    assert things.stored(studio.settings) == [session.scalar(text("SELECT store_key FROM assets"))]
    assert studio.ask(f"/batches/{batch.id}")["done"] == 1


def test_the_card_of_a_job_shows_what_it_made(studio):
    batch = studio.start(copies=2)
    studio.work()
    made = [each.asset.id for each in jobs.outputs(batch_id=batch.id) if each.asset]
    page = studio.page("/jobs").text
    assert len(made) == 2 and all(f'href="/assets/{asset_id}"' in page for asset_id in made)


def test_a_batch_that_is_over_leads_back_to_its_form(studio):
    batch = studio.start(copies=2, per_job=2, lost=[0, 1])
    studio.work()
    assert f"/tools/echo?batch={batch.id}" in studio.page(f"/batches/{batch.id}").text
    form = studio.page(f"/tools/echo?batch={batch.id}").text
    assert 'name="copies"' in form and 'value="2"' in form


def test_another_batch_fills_nobodys_form(studio, client, bob, sign_in):
    batch = studio.start(copies=2)
    sign_in(client, bob)
    assert client.get(f"/tools/echo?batch={batch.id}").status_code == 404


def test_what_was_cancelled_is_called_so_and_can_be_made_after_all(studio):
    batch = studio.start(copies=3, per_job=3)
    studio.press(f"/batches/{batch.id}/cancellation")
    page = studio.page(f"/batches/{batch.id}?state=cancelled").text
    assert "3 cancelled" in page and "failed" not in page.split('id="main"')[-1].split("3 cancelled")[0]
    assert "Make the other 3" in page and page.count('data-state="cancelled"') == 3
    studio.press(f"/batches/{batch.id}/retry")
    studio.work()
    assert studio.ask(f"/batches/{batch.id}")["done"] == 3


def test_what_was_thrown_away_is_not_in_the_zip(studio):
    batch = studio.start(copies=3)
    studio.work()
    thrown = jobs.outputs(batch_id=batch.id)[1].asset.id
    studio.change(f"UPDATE assets SET trashed_at = now() WHERE id = {thrown}")
    archive = zipfile.ZipFile(io.BytesIO(studio.page(f"/batches/{batch.id}/zip").data))
    assert sorted(archive.namelist()) == ["echo 1.wav", "echo 3.wav", "manifest.csv"]
