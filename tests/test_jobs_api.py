"""Tools, jobs and batches through the JSON API."""

import csv
import io
import zipfile

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from novai_web.db import session


def start(client: FlaskClient, who: dict[str, str], **given: object) -> dict:
    answer = client.post("/api/v1/tools/echo/jobs", json=given, headers=who)
    assert answer.status_code == 202, answer.text
    return answer.json


def test_a_quote_says_what_a_submit_would_cost_and_starts_nothing(client, as_alice):
    answer = client.post("/api/v1/tools/echo/quote", json={"copies": 30, "credits": 2}, headers=as_alice)
    assert answer.json["credits"] == 60 and answer.json["outputs"] == 30 and answer.json["jobs"] == 3
    assert session.scalar(text("SELECT count(*) FROM jobs")) == 0


def test_a_submit_answers_with_the_batch_and_its_jobs_and_where_to_ask(client, as_alice, work):
    made = start(client, as_alice, copies=12)
    assert client.get(made["batch"]["status_url"], headers=as_alice).json["status"] == "queued"
    work()
    batch = client.get(made["batch"]["status_url"], headers=as_alice).json
    assert (batch["status"], batch["total"], batch["done"], batch["failed"], batch["progress"]) == (
        "succeeded",
        12,
        12,
        0,
        1,
    )
    assert batch["expires_at"] and batch["zip_url"]
    job = client.get(made["jobs"][0]["status_url"], headers=as_alice).json
    assert (job["status"], job["progress"], job["tool"]) == ("succeeded", 1, "echo") and job["completed_at"]


def test_the_results_name_what_was_made_and_the_zip_holds_it_with_a_manifest(client, as_alice, work):
    made = start(client, as_alice, copies=3, lost=[1])
    work()
    base = f"/api/v1/batches/{made['batch']['id']}"
    items = client.get(f"{base}/results", headers=as_alice).json["items"]
    assert [item["name"] for item in items] == ["echo 1.wav", "echo 3.wav"]
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"{base}/zip", headers=as_alice).data))
    assert archive.testzip() is None
    assert sorted(archive.namelist()) == ["echo 1.wav", "echo 3.wav", "manifest.csv"]
    rows = list(csv.DictReader(io.StringIO(archive.read("manifest.csv").decode("utf-8-sig"))))
    assert [row["status"] for row in rows] == ["done", "failed", "done"] and rows[0]["sha256"] == items[0]["sha256"]


def test_what_is_kept_does_not_expire(client, as_alice, work):
    made = start(client, as_alice, copies=2)
    work()
    base = f"/api/v1/batches/{made['batch']['id']}"
    assert client.post(f"{base}/keep", headers=as_alice).json == {"kept": 2}
    assert client.get(base, headers=as_alice).json["expires_at"] is None
    assert client.post(f"{base}/keep", headers=as_alice).json == {"kept": 0}


def test_a_batch_can_be_built_again(client, as_alice, work):
    made = start(client, as_alice, copies=2)
    work()
    again = client.post(f"/api/v1/batches/{made['batch']['id']}/rebuild", headers=as_alice).json["batch"]
    assert (
        again["id"] != made["batch"]["id"] and again["rebuilt_from_id"] == made["batch"]["id"] and again["total"] == 2
    )


def test_what_failed_can_be_tried_again(client, as_alice, work):
    made = start(client, as_alice, copies=3, lost=[0])
    work()
    answer = client.post(f"/api/v1/batches/{made['batch']['id']}/retry", headers=as_alice)
    assert answer.status_code == 202 and answer.json["failed"] == 0
    again = client.post(f"/api/v1/batches/{made['batch']['id']}/retry", headers=as_alice)
    assert again.status_code == 409 and again.json["code"] == "conflict"


def test_cancelling_a_job_releases_what_it_held(client, as_alice):
    made = start(client, as_alice, copies=2, credits=4)
    url = made["jobs"][0]["status_url"]
    assert client.get(url, headers=as_alice).json["credits_held"] == 8
    answer = client.delete(url, headers=as_alice).json
    assert (answer["status"], answer["credits_held"], answer["credits_charged"]) == ("cancelled", 0, 0)


@pytest.mark.parametrize(
    ("given", "field"),
    [({"copies": 0}, "copies"), ({"copies": "many"}, "copies"), ({"nonsense": 1}, "nonsense"), ({"price": 0}, "price")],
)
def test_wrong_input_is_refused_by_the_field_and_nothing_starts(client, as_alice, given, field):
    for action in ("quote", "jobs"):
        answer = client.post(f"/api/v1/tools/echo/{action}", json=given, headers=as_alice)
        assert answer.status_code == 422 and answer.mimetype == "application/problem+json"
        assert [error["field"] for error in answer.json["errors"]] == [field]
    assert session.scalar(text("SELECT count(*) FROM jobs")) == 0


def test_too_few_credits_is_402_with_no_job(client, as_alice, app, make_app, bearer, alice):
    rich_day = make_app(account_daily_credits=10_000).test_client()
    answer = rich_day.post("/api/v1/tools/echo/jobs", json={"copies": 2, "credits": 900}, headers=as_alice)
    assert answer.status_code == 402 and answer.json["code"] == "not_enough_credits"
    assert session.scalar(text("SELECT count(*) FROM jobs")) == 0


def test_an_idempotency_key_replays_the_answer_and_refuses_another_body(client, as_alice):
    keyed = as_alice | {"Idempotency-Key": "one"}
    first = client.post("/api/v1/tools/echo/jobs", json={"copies": 2}, headers=keyed)
    second = client.post("/api/v1/tools/echo/jobs", json={"copies": 2}, headers=keyed)
    other = client.post("/api/v1/tools/echo/jobs", json={"copies": 3}, headers=keyed)
    assert first.json == second.json and other.status_code == 422 and other.json["code"] == "idempotency_mismatch"


def test_another_accounts_key_is_another_key(client, as_alice, as_bob):
    key = {"Idempotency-Key": "one"}
    first = client.post("/api/v1/tools/echo/jobs", json={"copies": 2}, headers=as_alice | key)
    second = client.post("/api/v1/tools/echo/jobs", json={"copies": 2}, headers=as_bob | key)
    assert first.json["batch"]["id"] != second.json["batch"]["id"]


def test_a_strangers_jobs_and_batches_are_not_there(client, as_alice, as_bob, work):
    made = start(client, as_alice, copies=2, lost=[0])
    work()
    job, batch = f"/api/v1/jobs/{made['jobs'][0]['id']}", f"/api/v1/batches/{made['batch']['id']}"
    tries = [
        ("GET", job), ("DELETE", job), ("POST", f"{job}/retry"), ("POST", f"{job}/front"),
        ("GET", batch), ("GET", f"{batch}/results"), ("GET", f"{batch}/zip"), ("DELETE", batch),
        ("POST", f"{batch}/keep"), ("POST", f"{batch}/rebuild"), ("POST", f"{batch}/retry"),
    ]  # fmt: skip
    for method, url in tries:
        assert client.open(url, method=method, headers=as_bob).status_code == 404, (method, url)
        assert client.open(url, method=method).status_code == 401, (method, url)
    assert client.get("/api/v1/jobs", headers=as_bob).json["items"] == []
    assert client.get("/api/v1/batches", headers=as_bob).json["items"] == []


def test_the_list_of_jobs_goes_on_where_a_page_ends(client, as_alice):
    start(client, as_alice, copies=5, per_job=1)
    first = client.get("/api/v1/jobs?limit=3", headers=as_alice).json
    second = client.get(f"/api/v1/jobs?limit=3&cursor={first['next_cursor']}", headers=as_alice).json
    ids = [item["id"] for item in (*first["items"], *second["items"])]
    assert len(set(ids)) == 5 and ids == sorted(ids, reverse=True) and second["next_cursor"] is None


def test_an_unknown_tool_and_one_that_is_not_offered_are_404(client, as_alice, make_app):
    assert client.post("/api/v1/tools/nothing/jobs", json={}, headers=as_alice).status_code == 404
    assert client.post("/api/v1/tools/prepare/jobs", json={"asset_id": 1}, headers=as_alice).status_code == 404
    assert make_app(echo=False).test_client().get("/api/v1/tools/echo", headers=as_alice).status_code == 404


def test_a_disk_without_room_refuses_before_anything_starts(client, as_alice, make_app):
    full = make_app(disk_free_bytes_min=2**62).test_client()
    answer = full.post("/api/v1/tools/echo/jobs", json={"copies": 2}, headers=as_alice)
    assert answer.status_code == 507 and answer.json["code"] == "disk_full"
    assert session.scalar(text("SELECT count(*) FROM jobs")) == 0
