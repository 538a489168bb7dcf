"""LoRA Creator: pictures become a model at a vendor, each training paid once and only when both files are good."""

import io
import json
import zipfile
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from novai_web import consents, credits, prices
from novai_web.db import session, transaction
from novai_web.errors import InvalidInput
from novai_web.jobs import Job
from novai_web.library import editing, lineage, safetensors, trash
from novai_web.library.models import Asset
from novai_web.tools import lora_trainer
from tests.studio import Studio
from tests.things import png, put

TOOL = lora_trainer.tool
SLUG = TOOL.slug
UNBILLED = {"broken", "fail"}


@pytest.fixture
def pictures(studio: Studio):
    """`pictures(10)`: that many pictures in the library, each another one."""

    def some(count: int = 10, first: int = 1, **given: Any) -> list[Asset]:
        size = {"width": 256, "height": 256}
        return [
            put(
                studio.account,
                studio.settings,
                png(first + n, 256, 256),
                **{"kind": "image", "name": f"Anna {n + 1}", "mime": "image/png", **size, **given},
            )
            for n in range(count)
        ]

    return some


@pytest.fixture
def wanted(studio: Studio, pictures: Any):
    """`wanted(steps=200)`: a whole input."""

    def given(**changed: Any) -> dict[str, Any]:
        plain = {"name": "Anna", "trigger": "ohwx", "steps": 200, "learning_rate": 0.0007, "is_style": False}
        if "pictures" not in changed:
            plain["pictures"] = [each.id for each in pictures()]
        if "consent" not in changed:
            plain["consent"] = studio.consent().id
        return plain | changed

    return given


@pytest.fixture
def ordered(studio: Studio, wanted: Any):
    return lambda **changed: studio.submit(TOOL, **wanted(**changed)).jobs[0]


# --- What comes of it ----------------------------------------------------------------------------------------------


def test_pictures_become_a_model_of_two_files_and_a_config_in_the_library(studio, ordered):
    before = credits.balance(studio.account, studio.settings).available
    job = studio.finish(ordered(steps=200))
    assert (job.state, job.error) == ("succeeded", None)
    (model,) = studio.made(job)
    assert (model.kind, model.type, model.name, model.is_ready, model.is_sandbox) == (
        "model", "generated", "Anna", True, True,
    )  # fmt: skip
    assert model.media["trigger"] == "ohwx" and model.media["rank"] == model.media["high"]["rank"] == 4
    assert set(model.previews) >= {"high", "config"} and model.expires_at is None
    files = {part: studio.folder / part for part in ("low", "high", "config")}
    for part, path in files.items():
        studio.store.fetch(model.previews.get(part, model.store_key), path)
    assert safetensors.read(files["low"]).notes != safetensors.read(files["high"]).notes
    assert json.loads(files["config"].read_text())["steps"] == 200
    price = prices.credits("fal", studio.settings.fal_trainer_model, 200, studio.settings)
    assert before - credits.balance(studio.account, studio.settings).available == job.charged == price > 0


def test_the_price_comes_from_the_steps_of_which_a_hundred_are_always_billed(studio, wanted, client, make_app, bearer):
    there = make_app(sandbox_url=studio.settings.sandbox_url).test_client()
    given, headers = wanted(), bearer(studio.account)
    quotes = [
        there.post(f"/api/v1/tools/{SLUG}/quote", json=given | {"steps": steps}, headers=headers).json["credits"]
        for steps in (100, 1000, 2000)
    ]
    assert quotes == [68, 675, 1350]  # 0.0045 dollars a step, half as much again, begun cents whole


def test_a_model_knows_its_pictures_its_recipe_and_its_consent_and_they_know_it(studio, pictures, ordered):
    used, consent = pictures(), studio.consent()
    job = studio.finish(ordered(pictures=[each.id for each in used], consent=consent.id))
    (model,) = studio.made(job)
    sources = lineage.made_from(studio.library, model)
    assert [found.id for _, found in sources if found] == [each.id for each in used]
    assert [source.sha256 for source, _ in sources] == [each.sha256 for each in used]
    assert [each.id for each in lineage.made_into(studio.library, used[3])] == [model.id]
    assert [each.id for each in consents.made_with(studio.library, consent).items] == [model.id]
    vendor = model.recipe["vendor"]
    assert (vendor["name"], vendor["model"]) == ("fal", studio.settings.fal_trainer_model)
    assert vendor["run"] == studio.runs(job)[0].external_id and vendor["sandbox"]
    assert studio.runs(job)[0].cost_microusd == 900_000
    assert model.recipe["input"]["trigger"] == "ohwx" and len(model.recipe["sha256"]["pictures"]) == 10


def test_the_vendor_gets_our_own_clean_zip_with_the_captions_and_nothing_of_ours(studio, pictures, ordered):
    used = pictures(name="Private name")
    for number, picture in enumerate(used):
        with transaction():
            editing.recaption(session.merge(picture), f"ohwx woman, picture {number}")
    job = studio.until_open(ordered(pictures=[each.id for each in used]))
    (address,) = job.notes["uploads"].values()
    with zipfile.ZipFile(io.BytesIO(requests.get(address, timeout=10).content)) as archive:
        names = archive.namelist()
        assert sorted(names)[:4] == ["001.jpg", "001.txt", "002.jpg", "002.txt"] and len(names) == 20
        assert archive.read("002.txt") == b"ohwx woman, picture 1"
        assert all(archive.read(name).startswith(b"\xff\xd8\xff") for name in names if name.endswith(".jpg"))
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert not any("Private" in name for name in names)
    studio.finish(job)


def test_captions_can_be_left_out(studio, pictures, ordered):
    used = pictures()
    with transaction():
        editing.recaption(session.merge(used[0]), "only one has it")
    job = studio.until_open(ordered(pictures=[each.id for each in used], captions="leave-out"))
    (address,) = job.notes["uploads"].values()
    with zipfile.ZipFile(io.BytesIO(requests.get(address, timeout=10).content)) as archive:
        assert len(archive.namelist()) == 10
    studio.finish(job)


# --- Time passes ---------------------------------------------------------------------------------------------------


def test_a_training_holds_no_worker_and_is_paid_once_however_often_its_steps_are_repeated(studio, ordered):
    before = len(studio.billed("fal-queue"))
    job = studio.until_open(ordered())
    assert job.state == "waiting" and job.lease_until is None
    studio.fault("fal-queue", fault="status", method="GET", times=3)
    for step in (1, 0, 2):  # as after a worker that died before its checkpoint, and a new one that begins anew
        studio.change("UPDATE jobs SET step = :step WHERE id = :id", step=step, id=job.id)
        job = studio.slice(job)
    job = studio.finish(job)
    assert job.state == "succeeded" and len(studio.runs(job)) == 1 and len(studio.made(job)) == 1
    assert len(studio.billed("fal-queue")) == before + 1


def test_pictures_thrown_away_while_it_trains_take_nothing_that_is_paid_for_along(studio, pictures, ordered):
    used = pictures()
    job = studio.until_open(ordered(pictures=[each.id for each in used]))
    with transaction():
        trash.throw_away(studio.library, editing.chosen(studio.library, [used[0].id, used[1].id]))
        trash.empty(studio.library, ids=[used[1].id])
        editing.recaption(session.get_one(Asset, used[2].id), "the only caption there is")
    job = studio.finish(job)
    (model,) = studio.made(job)
    assert job.state == "succeeded" and len(lineage.made_from(studio.library, model)) == 9


def test_a_picture_thrown_away_before_it_begins_ends_it_before_anything_is_paid(studio, pictures, ordered):
    used = pictures()
    job = ordered(pictures=[each.id for each in used])
    with transaction():
        trash.throw_away(studio.library, editing.chosen(studio.library, [used[0].id]))
    job = studio.finish(job)
    assert (job.state, job.charged, studio.runs(job)) == ("failed", 0, [])


def test_the_list_of_models_shows_what_is_on_its_way_and_the_history_how_it_went(
    studio, ordered, make_app, sign_in, bearer
):
    there = make_app(sandbox_url=studio.settings.sandbox_url).test_client()
    sign_in(there, studio.account)
    headers = bearer(studio.account)
    job = studio.until_open(ordered())
    assert "On the way" in there.get("/models").text and f"job-{job.id}" in there.get("/models").text
    (seen,) = there.get("/api/v1/models/history", headers=headers).json["items"]
    assert (seen["status"], seen["name"], seen["model_id"]) == ("training", "Anna", None)
    (model,) = studio.made(studio.finish(job))
    page = there.get("/models").text
    assert "On the way" not in page and f"asset-{model.id}" in page and "Sandbox" in page
    (seen,) = there.get("/api/v1/models/history", headers=headers).json["items"]
    assert (seen["status"], seen["model_id"], seen["progress"]) == ("ready", model.id, 1.0)
    page = there.get(f"/assets/{model.id}").text
    assert "High-noise weights" in page and "Made from" in page and "<strong>ohwx</strong>" in page
    for part in ("original", "high", "config"):
        saved = there.get(f"/media/{model.id}/{part}")
        assert saved.status_code == 200 and saved.headers["Content-Disposition"].startswith("attachment")


# --- Before anything is paid ---------------------------------------------------------------------------------------


def refused(studio: Studio, given: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidInput) as wrong:
        studio.submit(TOOL, **given)
    return wrong.value.fields


def test_five_pictures_are_too_few(studio, wanted, pictures):
    five = [each.id for each in pictures(5)]
    assert refused(studio, wanted(pictures=five)) == {
        "pictures": "Pick at least 10 pictures; this is 5. More of them make a better model."
    }


def test_small_pictures_and_the_same_file_twice_are_named(studio, wanted, pictures):
    used = pictures(9)
    small = pictures(1, first=50, name="Tiny", width=120, height=300)
    said = refused(studio, wanted(pictures=[each.id for each in (*used, *small)]))["pictures"]
    assert said == "“Tiny” is smaller than 256 pixels. Take it out, or send larger ones."
    again = put(
        studio.account,
        studio.settings,
        png(1, 256, 256),
        kind="image",
        type="generated",
        name="Copy",
        width=256,
        height=256,
    )
    said = refused(studio, wanted(pictures=[each.id for each in (*used, again)]))["pictures"]
    assert said == "“Copy” and “Anna 1” are the same file. Take one of them out."


def test_captions_that_are_missing_are_named(studio, wanted, pictures):
    used = pictures()
    for picture in used[:8]:
        with transaction():
            editing.recaption(session.merge(picture), "a woman")
    said = refused(studio, wanted(pictures=[each.id for each in used]))["captions"]
    assert said.startswith("“Anna 9”, “Anna 10” have no caption, and others do.")


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("trigger", {"trigger": "two words"}),
        ("trigger", {"trigger": "1234"}),
        ("trigger", {"trigger": "x"}),
        ("steps", {"steps": 99}),
        ("steps", {"steps": 6001}),
        ("learning_rate", {"learning_rate": 0.5}),
        ("learning_rate", {"learning_rate": float("nan")}),
        ("name", {"name": " \u200b "}),
        ("captions", {"captions": "some"}),
        ("consent", {"consent": 999_999_999}),
        ("pictures", {"pictures": [999_999_999]}),
    ],
)
def test_what_is_wrong_is_said_field_by_field(studio, wanted, field, changed):
    said = refused(studio, wanted(**changed))
    assert set(said) == {field} and said[field].endswith(".")


def test_a_picture_that_cannot_be_read_is_named_before_anybody_is_paid(studio, pictures, ordered):
    used = pictures(9)
    broken = put(
        studio.account, studio.settings, b"\x89PNG\r\n\x1a\nno more", kind="image", name="Broken", width=300, height=300
    )
    job = studio.finish(ordered(pictures=[each.id for each in (*used, broken)]))
    assert (job.state, job.charged, studio.runs(job)) == ("failed", 0, [])
    assert "“Broken” cannot be used" in job.error and "not charged" in job.error


def test_the_same_picture_in_another_file_is_found(studio, pictures, ordered):
    used = pictures(9)
    (large,) = pictures(1, first=1, name="Large", sha256="f" * 64)  # as of another file that shows the same
    job = studio.finish(ordered(pictures=[each.id for each in (*used, large)]))
    assert (job.state, job.charged, studio.runs(job)) == ("failed", 0, [])
    assert "“Large” and “Anna 1” show the same." in job.error


# --- A consent that does not last ----------------------------------------------------------------------------------


def revoke(studio: Studio, job: Job) -> None:
    session.rollback()
    with transaction():
        consents.revoke(consents.find(studio.library, job.input["consent"]))


def test_a_consent_revoked_between_submit_and_run_ends_it_before_anything_is_sent(studio, ordered):
    job = ordered()
    revoke(studio, job)
    job = studio.finish(job)
    assert (job.state, job.charged, studio.runs(job)) == ("failed", 0, []) and "revoked" in job.error
    assert "uploads" not in job.notes


def test_a_consent_revoked_while_it_trains_keeps_the_model_back(studio, ordered):
    job = studio.until_open(ordered())
    revoke(studio, job)
    job = studio.finish(job)
    assert (job.state, job.charged, studio.made(job)) == ("failed", 0, [])


# --- Trouble at the vendor -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "code", "words"),
    [
        ("refuse", "vendor_refused", "content checker"),
        ("broken", "vendor_failed", "Internal server error"),
        ("fail", "vendor_failed", "machine had an error"),
        ("nothing", "vendor_failed", "nothing back"),
        ("pickle", "tool_failed", "pickle"),
        ("html", "tool_failed", "cannot be used"),
        ("moved", "vendor_failed", ""),
        ("elsewhere", "vendor_failed", ""),
        ("expired", "vendor_failed", ""),
    ],
)
def test_what_goes_wrong_there_is_a_plain_sentence_and_nobody_is_charged(studio, ordered, wish, code, words):
    job = studio.finish(ordered(trigger=f"sandbox-{wish}"))
    assert (job.state, job.error_code, job.charged) == ("failed", code, 0), job.error
    assert words in job.error and "not charged" in job.error
    # What the vendor does not bill is asked for again, what it bills never.
    assert studio.made(job) == [] and len(studio.runs(job)) == (3 if wish in UNBILLED else 1)


@pytest.mark.parametrize(("key", "code"), [("wrong:key", "vendor_key"), ("poor:key", "vendor_money")])
def test_our_key_and_our_money_are_not_the_persons_affair(studio, ordered, key, code):
    """fal itself, at the address of the sandbox, with a key of ours that is not accepted or has no money."""
    job = ordered()
    there = studio.settings.sandbox_url
    studio.settings = studio.settings.model_copy(
        update={"fal_key": SecretStr(key), "fal_queue_url": f"{there}/fal-queue", "fal_rest_url": f"{there}/fal-rest"}
    )
    job = studio.finish(job)
    assert (job.state, job.error_code, job.charged) == ("failed", code, 0)
    assert "administrator" in job.error and "not charged" in job.error and studio.runs(job) == []


def test_a_vendor_that_is_busy_is_asked_again_later_and_paid_once(studio, ordered):
    before = len(studio.billed("fal-queue"))
    studio.fault("fal-queue", fault="status", method="POST", status=429, body='{"detail": "too many"}', times=2)
    job = studio.finish(ordered())
    assert job.state == "succeeded" and len(studio.billed("fal-queue")) == before + 1


def test_a_training_that_never_ends_ends_at_its_deadline(studio, ordered):
    job = studio.until_open(ordered(trigger="sandbox-never"))
    studio.change("UPDATE jobs SET deadline_at = now() - interval '1 s' WHERE id = :id", id=job.id)
    job = studio.finish(job)
    assert (job.state, job.error_code, job.charged) == ("failed", "out_of_time", 0)


def test_without_a_key_and_without_a_sandbox_nothing_starts_and_the_setting_is_named(client, studio, wanted, bearer):
    answer = client.post(f"/api/v1/tools/{SLUG}/jobs", json=wanted(), headers=bearer(studio.account))
    assert answer.status_code == 503 and "FAL_KEY" in answer.json["detail"]


def test_the_page_has_a_way_in_for_a_zip_and_starts_a_training(studio, wanted, make_app, sign_in):
    there = make_app(sandbox_url=studio.settings.sandbox_url).test_client()
    sign_in(there, studio.account)
    page = there.get(f"/tools/{SLUG}").text
    assert 'action="/models/pictures"' in page and 'value="0.0007"' in page
    given = wanted()
    answer = there.post(f"/tools/{SLUG}/jobs", data=given)
    assert answer.status_code == 303 and "/jobs/" in answer.headers["Location"]
    job = session.get_one(Job, int(answer.headers["Location"].rpartition("/")[2]))
    assert studio.finish(job).state == "succeeded"
