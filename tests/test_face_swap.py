"""Face swap: videos get another face at a vendor, with a consent, each paid once and only for what was delivered."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from novai_web import choices, consents, credits, jobs, prices
from novai_web.accounts import Account
from novai_web.db import session, transaction
from novai_web.errors import InvalidInput
from novai_web.jobs import Job
from novai_web.jobs.reconciling import reconcile
from novai_web.library import lineage
from novai_web.tools import face_swap, variants
from tests.studio import Studio
from tests.things import put

TOOL = face_swap.tool
SLUG = TOOL.slug
VENDORS = ["fal", "wavespeed", "picsi"]


@pytest.fixture
def at(charlie: Account):
    """`at("wavespeed")`: an administrator chooses who swaps faces."""

    def choose(vendor: str) -> None:
        with transaction():
            choices.choose(face_swap.ENGINE, vendor, by=charlie)

    return choose


@pytest.fixture
def ordered(studio: Studio):
    """One swap of one video, as it is submitted."""

    def order(name: str = "Clip", **given: object) -> Job:
        wanted = {"videos": [studio.video(name).id], "face": studio.picture().id, "consent": studio.consent().id}
        return studio.submit(TOOL, **{**wanted, **given}).jobs[0]

    return order


# --- What comes of it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_video_gets_the_face_at_whichever_vendor_was_chosen(studio, at, ordered, vendor):
    at(vendor)
    before = credits.balance(studio.account, studio.settings).available
    job = studio.finish(ordered())
    assert (job.state, job.error) == ("succeeded", None)
    (made,) = studio.made(job)
    assert (made.kind, made.type, made.expires_at, made.is_sandbox) == ("video", "swapped", None, True)
    assert made.recipe["vendor"]["name"] == vendor and made.recipe["vendor"]["run"] == studio.runs(job)[0].external_id
    assert made.duration_seconds == pytest.approx(1.5, abs=0.2) and made.has("poster")
    (line,) = studio.runs(job)
    assert line.state == "done"
    seconds = job.input["videos"] and 1.5
    price = prices.credits(vendor, face_swap.model_of(vendor, studio.settings), seconds, studio.settings)
    assert before - credits.balance(studio.account, studio.settings).available == job.charged == price > 0


def test_it_is_made_from_the_video_and_the_face_and_explained_by_the_consent(studio, at):
    at("wavespeed")
    video, face, consent = studio.video(), studio.picture(), studio.consent()
    job = studio.finish(studio.submit(TOOL, videos=[video.id], face=face.id, consent=consent.id).jobs[0])
    (made,) = studio.made(job)
    sources = {source.role: found for source, found in lineage.made_from(studio.library, made)}
    assert {role: found.id for role, found in sources.items() if found} == {"video": video.id, "face": face.id}
    assert [asset.id for asset in consents.made_with(studio.library, consent).items] == [made.id]


def test_what_was_swapped_can_be_used_in_variants_at_once(studio, at, ordered):
    at("wavespeed")
    (made,) = studio.made(studio.finish(ordered()))
    job = studio.finish(studio.submit(variants.tool, videos=[made.id]).jobs[0])
    assert job.state == "succeeded" and job.delivered == 1
    assert made.id in [found.id for found in lineage.made_into(studio.library, made)] or studio.made(job)


def test_many_videos_are_a_batch_in_which_each_costs_what_its_length_costs(studio, at):
    at("wavespeed")
    clips = [studio.video("Short"), studio.video("Long", frames=200)]
    given = {"videos": [clip.id for clip in clips], "face": studio.picture().id, "consent": studio.consent().id}
    made = studio.submit(TOOL, **given)
    assert made.batch and len(made.jobs) == 2
    short, long = made.jobs
    assert long.price > short.price > 0
    quote = jobs.quote(studio.account, TOOL, given, studio.settings)
    assert quote.credits == short.price + long.price and quote.jobs == 2
    assert [studio.finish(job).charged for job in made.jobs] == [short.price, long.price]


def test_one_of_many_that_fails_takes_no_other_with_it_and_can_be_tried_again(studio, at):
    at("wavespeed")
    clips = [studio.video("Good"), studio.video("Bad [sandbox:fail]")]
    given = {"videos": [clip.id for clip in clips], "face": studio.picture().id, "consent": studio.consent().id}
    good, bad = (studio.finish(job) for job in studio.submit(TOOL, **given).jobs)
    assert (good.state, bad.state, bad.charged) == ("succeeded", "failed", 0)
    with transaction():
        again = jobs.retry(studio.account, bad, studio.settings)
    assert (again.price, again.batch_id) == (bad.price, good.batch_id)


def test_the_same_key_makes_one_batch_and_pays_once(client, make_app, alice, bearer, studio, at):
    at("wavespeed")
    client = make_app(sandbox_url=studio.settings.sandbox_url).test_client()
    given = {"videos": [studio.video().id], "face": studio.picture().id, "consent": studio.consent().id}
    headers = bearer(alice) | {"Idempotency-Key": "once"}
    first = client.post("/api/v1/swaps", json=given, headers=headers)
    assert first.status_code == 202 and client.post("/api/v1/swaps", json=given, headers=headers).json == first.json
    job = session.get_one(Job, first.json["jobs"][0]["id"])
    studio.finish(job)
    (attempt,) = client.get("/api/v1/swaps/history", headers=headers).json["items"]
    (listed,) = client.get("/api/v1/swaps", headers=headers).json["items"]
    assert attempt["status"] == "ready" and attempt["results"][0]["id"] == listed["id"]
    assert client.get(f"/api/v1/swaps/{listed['id']}", headers=headers).json["type"] == "swapped"
    assert client.get(f"/api/v1/swaps/{given['videos'][0]}", headers=headers).status_code == 404


# --- Before anything is paid ---------------------------------------------------------------------------------------


def refused(studio: Studio, **changed: object) -> dict[str, str]:
    wanted = {"videos": [studio.video().id], "face": studio.picture().id, "consent": studio.consent().id}
    with pytest.raises(InvalidInput) as wrong:
        studio.submit(TOOL, **{**wanted, **changed})
    return wrong.value.fields


def test_a_video_of_two_hours_is_refused_by_its_name_and_length(studio):
    video = put(studio.account, studio.settings, name="Epic", duration_seconds=7200.0, width=640, height=360)
    assert "“Epic” is 120 minutes long" in refused(studio, videos=[video.id])["videos"]


def test_a_video_too_large_or_of_another_kind_is_refused(studio):
    large = put(studio.account, studio.settings, name="Large", duration_seconds=5.0, size_bytes=201 * 1024**2)
    assert "has 201 MB" in refused(studio, videos=[large.id])["videos"]
    odd = put(studio.account, studio.settings, name="Odd", duration_seconds=5.0)
    with transaction():
        odd.media = {"extension": ".mkv", "container": "mkv"}
    assert "Export it as MP4" in refused(studio, videos=[odd.id])["videos"]
    assert refused(studio, videos=[])["videos"] == "Pick at least one video."


def test_no_consent_no_job(studio):
    assert "consent" in refused(studio, consent=999_999_999)
    with pytest.raises(InvalidInput) as wrong:
        studio.submit(TOOL, videos=[studio.video().id], face=studio.picture().id)
    assert wrong.value.fields == {"consent": "This is missing. Fill it in."}


def test_a_vendor_that_cannot_choose_a_face_is_not_asked_to(studio, at):
    at("fal")
    assert "main face" in refused(studio, which=2)["which"]
    at("wavespeed")
    studio.submit(TOOL, videos=[studio.video().id], face=studio.picture().id, consent=studio.consent().id, which=2)


# --- A consent that does not last ----------------------------------------------------------------------------------


def revoke(studio: Studio, job: Job) -> None:
    session.rollback()
    with transaction():
        consents.revoke(consents.find(studio.library, job.input["consent"]))


def test_a_consent_revoked_between_submit_and_run_ends_the_job_before_anything_is_paid(studio, at, ordered):
    at("wavespeed")
    before, job = len(studio.billed("wavespeed")), ordered()
    revoke(studio, job)
    job = studio.finish(job)
    assert (job.state, job.charged, studio.runs(job)) == ("failed", 0, [])
    assert "revoked" in job.error and len(studio.billed("wavespeed")) == before


def test_a_consent_revoked_while_the_vendor_works_keeps_the_result_back_and_the_house_pays(studio, at, ordered):
    at("wavespeed")
    job = studio.until_open(ordered())
    revoke(studio, job)
    job = studio.finish(job)
    assert (job.state, job.charged, studio.made(job)) == ("failed", 0, [])
    (run,) = studio.runs(job)
    assert run.state == "abandoned"
    reconcile(studio.settings)
    session.rollback()


def test_a_consent_that_runs_out_while_the_job_waits_ends_it(studio, at, ordered):
    at("wavespeed")
    job = ordered()
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    studio.change("UPDATE consents SET until = :day WHERE id = :id", day=yesterday, id=job.input["consent"])
    job = studio.finish(job)
    assert job.state == "failed" and "run out" in job.error


# --- Trouble at the vendor -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "code", "words"),
    [
        ("refuse", "vendor_refused", "Its rules forbid"),
        ("fail", "vendor_failed", "task failed"),
        ("lost", "vendor_failed", "could not fetch a file"),
        ("nothing", "vendor_failed", "nothing back"),
        ("elsewhere", "vendor_failed", ""),
        ("moved", "vendor_failed", ""),
        ("gone", "vendor_failed", ""),
        ("picture", "tool_failed", "not a video"),
        ("html", "tool_failed", "not a video"),
    ],
)
def test_what_goes_wrong_there_is_a_plain_sentence_and_nobody_is_charged(studio, at, ordered, wish, code, words):
    at("wavespeed")
    job = studio.finish(ordered(f"Clip [sandbox:{wish}]"))
    assert (job.state, job.error_code, job.charged) == ("failed", code, 0), job.error
    assert words in job.error and "not charged" in job.error
    assert all(run.state == "failed" or run.booked_to_house for run in studio.runs(job))


def test_a_result_that_is_half_of_the_clip_is_none(studio, at, ordered):
    at("wavespeed")
    job = studio.until_open(ordered())
    studio.change("UPDATE assets SET duration_seconds = 60 WHERE id = :id", id=job.input["videos"][0])
    job = studio.finish(job)
    assert (job.state, job.charged) == ("failed", 0) and "of 60.0 seconds" in job.error


def test_a_vendor_that_never_ends_ends_at_the_deadline_and_is_told(studio, at, ordered):
    at("wavespeed")
    job = studio.until_open(ordered("Clip [sandbox:never]"))
    studio.change("UPDATE jobs SET deadline_at = now() - interval '1 s' WHERE id = :id", id=job.id)
    job = studio.finish(job)
    assert (job.state, job.error_code, job.charged) == ("failed", "out_of_time", 0)
    (run,) = studio.runs(job)
    assert run.state == "cancelled" or run.booked_to_house


@pytest.mark.parametrize("key", ["wrong", "poor"])
def test_our_key_and_our_money_are_not_the_persons_affair(studio, at, ordered, key):
    """The client at the sandbox with a key of ours that is not accepted, or whose account is empty."""
    at("wavespeed")
    job = ordered()
    studio.settings = studio.settings.model_copy(
        update={"wavespeed_key": type(studio.settings.wavespeed_key)(f"{key} key".replace(" ", "-")),
                "wavespeed_url": f"{studio.settings.sandbox_url}/wavespeed"}
    )  # fmt: skip
    job = studio.finish(job)
    assert (job.state, job.charged) == ("failed", 0)
    assert job.error_code in ("vendor_key", "vendor_money") and "administrator" in job.error


def test_a_lost_answer_is_one_paid_run_in_the_end_or_one_that_the_house_pays(studio, at, ordered):
    at("fal")
    job = ordered()
    studio.fault("fal-queue", fault="lost", method="POST")
    job = studio.finish(job)
    assert job.state == "succeeded"
    unknown = session.scalars(
        select(text("count(*)")).select_from(text("runs")).where(text("state = 'submitting'"))
    ).one()
    assert unknown == 0


@pytest.mark.parametrize(
    ("wish", "code"),
    [("face", "vendor_refused"), ("refuse", "vendor_refused"), ("moved", "vendor_failed"), ("html", "tool_failed")],
)
def test_a_picture_without_a_face_and_other_trouble_at_fal_is_said_and_not_charged(studio, at, ordered, wish, code):
    at("fal")
    job = studio.finish(ordered(f"Clip [sandbox:{wish}]"))
    assert (job.state, job.error_code, job.charged) == ("failed", code, 0), job.error
    assert "not charged" in job.error
