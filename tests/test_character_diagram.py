"""Character diagrams: one picture becomes a reference sheet, by a prompt that can be read and changed."""

import pytest

from novai_web import credits, prices
from novai_web.db import session
from novai_web.engines import ffmpeg
from novai_web.jobs import Job
from novai_web.library import lineage
from novai_web.tools import character_diagram

TOOL = character_diagram.tool
SLUG = TOOL.slug


def test_a_picture_becomes_a_sheet_in_the_library_with_where_it_came_from(studio):
    anna = studio.picture("Anna")
    before = credits.balance(studio.account, studio.settings).available
    job = studio.finish(studio.submit(TOOL, picture=anna.id, notes="A scar on the left hand").jobs[0])
    (made,) = studio.made(job)
    assert (job.state, made.kind, made.type, made.expires_at) == ("succeeded", "image", "diagram", None)
    assert made.width > made.height and made.has("thumb")
    assert [source.id for _, source in lineage.made_from(studio.library, made) if source] == [anna.id]
    assert [each.id for each in lineage.made_into(studio.library, anna)] == [made.id]
    vendor = made.recipe["vendor"]
    assert vendor["name"] == "gemini" and vendor["sandbox"] and vendor["run"] and "cost_microusd" not in vendor
    assert made.recipe["input"]["notes"] == "A scar on the left hand" and made.is_sandbox
    path = studio.folder / "made.png"
    studio.store.fetch(made.store_key, path)
    assert ffmpeg.probe(path, ffmpeg.Limits()).kind == "image"
    price = prices.credits("gemini", studio.settings.gemini_image_model, 1, studio.settings)
    assert before - credits.balance(studio.account, studio.settings).available == job.charged == price > 0


def test_what_is_asked_for_are_our_words_with_the_notes_or_a_persons_own(studio):
    anna = studio.picture()
    own = studio.finish(studio.submit(TOOL, picture=anna.id, prompt="Draw her as a pencil sketch").jobs[0])
    assert studio.made(own)[0].recipe["input"]["prompt"] == "Draw her as a pencil sketch"
    given = character_diagram.DiagramInput.model_construct(picture=anna, notes=" boots ", prompt="Draw it.")
    assert character_diagram.whole_prompt(given).splitlines()[0] == "Draw it."
    assert character_diagram.whole_prompt(given).endswith("boots")


def test_the_page_shows_the_prompt_to_be_edited_and_the_sheet_afterwards(make_app, alice, sign_in, studio):
    client = make_app(sandbox_url=studio.settings.sandbox_url).test_client()
    sign_in(client, alice)
    page = client.get(f"/tools/{SLUG}?images={studio.picture().id}").text
    assert "Turnaround" in page and "<textarea" in page and "Anna" in page
    assert "No diagrams yet" in client.get("/diagrams").text
    studio.finish(studio.submit(TOOL, picture=studio.picture("Berta").id).jobs[0])
    assert "Berta, diagram" in client.get("/diagrams").text


@pytest.mark.parametrize("wish", ["refuse", "block"])
def test_a_refusal_for_safety_is_final_said_plainly_and_not_charged(studio, wish):
    before = len(studio.billed("gemini"))
    job = studio.finish(studio.submit(TOOL, picture=studio.picture().id, notes=f"[sandbox:{wish}]").jobs[0])
    assert (job.state, job.error_code, job.charged) == ("failed", "vendor_refused", 0)
    assert "not charged" in job.error and len(studio.runs(job)) == 1
    assert len(studio.billed("gemini")) == before


@pytest.mark.parametrize("wish", ["nothing", "words"])
def test_an_answer_without_a_picture_is_asked_for_once_more_and_then_given_up(studio, wish):
    job = studio.finish(studio.submit(TOOL, picture=studio.picture().id, notes=f"[sandbox:{wish}]").jobs[0])
    assert (job.state, job.error_code, job.charged) == ("failed", "vendor_failed", 0)
    assert [run.state for run in studio.runs(job)] == ["failed", "failed"]
    assert all(run.booked_to_house for run in studio.runs(job))


def test_a_picture_that_is_none_is_not_charged_and_the_house_pays(studio):
    job = studio.finish(studio.submit(TOOL, picture=studio.picture().id, notes="[sandbox:garbage]").jobs[0])
    assert (job.state, job.charged, studio.made(job)) == ("failed", 0, [])
    assert "not charged" in job.error


@pytest.mark.parametrize("wish", ["draft", "jpeg"])
def test_drafts_are_left_out_and_a_picture_is_what_its_bytes_say(studio, wish):
    job = studio.finish(studio.submit(TOOL, picture=studio.picture().id, notes=f"[sandbox:{wish}]").jobs[0])
    (made,) = studio.made(job)
    assert made.mime == ("image/jpeg" if wish == "jpeg" else "image/png")


def test_a_picture_too_small_or_gone_is_said_before_anything_is_paid(client, alice, bearer, studio):
    small = studio.picture(side=64)
    said = client.post(f"/api/v1/tools/{SLUG}/jobs", json={"picture": small.id}, headers=bearer(alice)).json
    assert "smaller than 128 pixels" in said["errors"][0]["message"]
    said = client.post(f"/api/v1/tools/{SLUG}/jobs", json={"picture": [1, 2]}, headers=bearer(alice)).json
    assert said["errors"][0]["message"] == "Pick one."


def test_without_a_key_and_without_a_sandbox_nothing_starts_and_the_setting_is_named(client, alice, bearer, studio):
    answer = client.post("/api/v1/character-diagrams", json={"picture": studio.picture().id}, headers=bearer(alice))
    assert answer.status_code == 503 and "GEMINI_API_KEY" in answer.json["detail"]


def test_the_api_starts_lists_and_remembers_them(make_app, alice, bearer, studio):
    client = make_app(sandbox_url=studio.settings.sandbox_url).test_client()
    headers = bearer(alice)
    given = {"picture": studio.picture().id}
    sent = client.post("/api/v1/character-diagrams", json=given, headers=headers | {"Idempotency-Key": "k"})
    again = client.post("/api/v1/character-diagrams", json=given, headers=headers | {"Idempotency-Key": "k"})
    assert sent.status_code == 202 and sent.json == again.json
    (attempt,) = client.get("/api/v1/character-diagrams/history", headers=headers).json["items"]
    assert (attempt["status"], attempt["results"]) == ("pending", [])
    job = session.get_one(Job, sent.json["jobs"][0]["id"])
    studio.finish(job)
    (attempt,) = client.get("/api/v1/character-diagrams/history", headers=headers).json["items"]
    (listed,) = client.get("/api/v1/character-diagrams", headers=headers).json["items"]
    assert attempt["status"] == "ready" and attempt["results"][0]["id"] == listed["id"]
    shown = client.get(f"/api/v1/character-diagrams/{listed['id']}", headers=headers).json
    assert shown["type"] == "diagram" and shown["made_from"][0]["asset_id"] == given["picture"]
    assert client.get(f"/api/v1/character-diagrams/{given['picture']}", headers=headers).status_code == 404
