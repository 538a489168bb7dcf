"""What is paid for is not lost, whatever a vendor says, a disk does, an administrator changes, or a night takes."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from pydantic import SecretStr
from sqlalchemy import text

from novai_web import choices, consents, failpoints, jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.jobs import Job, breaker, complaints
from novai_web.jobs.reconciling import reconcile
from novai_web.library.models import Asset
from novai_web.tools import face_swap, lora_image, lora_trainer
from tests import small_disk
from tests.studio import Studio
from tests.test_paid_tools_survive import slice_elsewhere
from tests.things import png, put
from tests.weights import weights

HOUR = 3600
HTML = "<html><body>nginx</body></html>"


@pytest.fixture
def at(charlie: Account) -> Callable[[str], None]:
    """`at("wavespeed")`: an administrator chooses who swaps faces."""

    def choose(vendor: str) -> None:
        session.rollback()
        with transaction():
            choices.choose(face_swap.ENGINE, vendor, by=charlie)

    return choose


@pytest.fixture
def swap(studio: Studio) -> Callable[..., Job]:
    """One swap of one video, as it is submitted."""

    def order(name: str = "Clip", **given: Any) -> Job:
        wanted = {"videos": [studio.video(name).id], "face": studio.picture().id, "consent": studio.consent().id}
        return studio.submit(face_swap.tool, **{**wanted, **given}).jobs[0]

    return order


@pytest.fixture
def training(studio: Studio) -> Callable[[], Job]:
    def order() -> Job:
        size = {"kind": "image", "mime": "image/png", "width": 256, "height": 256}
        pictures = [put(studio.account, studio.settings, png(n, 256, 256), name=f"{n}", **size) for n in range(10)]
        given = {"name": "Anna", "trigger": "ohwx", "steps": 100, "captions": "leave-out"}
        ids = [each.id for each in pictures]
        return studio.submit(lora_trainer.tool, pictures=ids, consent=studio.consent().id, **given).jobs[0]

    return order


def delivered_once(studio: Studio, job: Job) -> None:
    job = studio.finish(job)
    assert (job.state, job.error, job.charged) == ("succeeded", None, job.price)
    assert len(studio.made(job)) == 1 and [run.state for run in studio.runs(job)] == ["done"]


def age_runs(studio: Studio, seconds: float) -> None:
    studio.change(
        "UPDATE runs SET created_at = created_at - s, ended_at = ended_at - s, posted_at = posted_at - s"
        " FROM (SELECT make_interval(secs => :seconds) AS s) AS age",
        seconds=seconds,
    )


def ask_fal(studio: Studio, job: Job) -> dict[str, Any]:
    """What fal gives for a run of this job that is over."""
    (run,) = studio.runs(job)
    url = f"{studio.settings.sandbox_url}/fal-queue/{run.external_id}"
    until = time.monotonic() + 20
    while (answer := requests.get(url, headers={"Authorization": "Key sandbox"}, timeout=5)).status_code != 200:
        assert time.monotonic() < until, answer.text
        time.sleep(0.1)
    return dict(answer.json())


def filled(disk: Path) -> Path:
    """A file that leaves no room for another."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(64 * 1024))
    return filler


def completed(studio: Studio, job: Job) -> str:
    (run,) = studio.runs(job)
    return f'{{"status": "COMPLETED", "request_id": "{run.external_id}"}}'


# --- What a vendor says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", ["fal", "wavespeed", "picsi"])
def test_a_404_of_something_between_us_and_the_vendor_loses_no_run(studio, at, swap, vendor):
    at(vendor)
    job = studio.until_open(swap())
    age_runs(studio, HOUR)
    place = "fal-queue" if vendor == "fal" else vendor
    studio.fault(place, fault="status", status=404, body=HTML, method="GET", times=12)
    for _ in range(12):
        job = studio.slice(job)
        studio.change("DELETE FROM vendors")  # the breaker leaves it in peace after five
    delivered_once(studio, job)


def test_a_vendor_that_forgets_a_run_for_a_moment_is_asked_again(studio, at, swap):
    at("fal")
    job = studio.until_open(swap())
    age_runs(studio, HOUR)
    studio.fault("fal-queue", fault="status", status=404, body='{"detail": "not found"}', method="GET", times=5)
    delivered_once(studio, job)


def test_a_vendor_that_has_forgotten_a_run_for_good_is_believed_in_the_end(studio, at, swap):
    at("fal")
    job = studio.until_open(swap())
    age_runs(studio, HOUR)
    studio.fault("fal-queue", fault="status", status=404, body='{"detail": "not found"}', method="GET", times=100)
    job = studio.finish(job)
    assert (job.state, job.charged) == ("failed", 0) and "no longer knows" in job.error
    assert [run.booked_to_house for run in studio.runs(job)] == [True]


def test_words_that_no_database_keeps_are_no_reason_to_lose_a_result(studio, at, swap):
    at("fal")
    job = studio.until_open(swap())
    said = ask_fal(studio, job)
    odd = {**said["video"], "file_name": "a\0\ud800.mp4", "content_type": "video\0/mp4"}
    studio.fault("fal-queue", fault="garbled", method="GET", body=completed(studio, job))
    studio.fault("fal-queue", fault="garbled", method="GET", body=json.dumps({"video\0": odd, **said}))
    delivered_once(studio, job)


def test_a_refusal_in_words_that_no_database_keeps_is_still_a_refusal(studio, at, swap):
    at("fal")
    job = studio.until_open(swap())
    ask_fal(studio, job)
    no = '{"detail": [{"msg": "no \\u0000 face", "type": "face_detection_error"}]}'
    studio.fault("fal-queue", fault="garbled", method="GET", body=completed(studio, job))
    studio.fault("fal-queue", fault="status", status=422, method="GET", body=no)
    job = studio.finish(job)
    assert (job.state, job.error_code, job.charged) == ("failed", "vendor_refused", 0)
    assert "no face" in job.error and [run.state for run in studio.runs(job)] == ["failed"]


def test_an_id_that_another_run_has_is_believed_of_neither_and_nobody_is_handed_a_strangers_result(studio, at, swap):
    at("wavespeed")
    hers = studio.until_open(swap("Hers [sandbox:never]"))
    (known,) = studio.runs(hers)
    mine = swap("Mine")
    said = f'{{"code": 200, "message": "success", "data": {{"id": "{known.external_id}", "status": "created"}}}}'
    studio.fault("wavespeed", fault="garbled", method="POST", path="/video-face-swap", body=said)
    while not studio.runs(mine):
        mine = studio.slice(mine)
    assert [(run.state, run.external_id) for run in studio.runs(mine)] == [("submitting", None)]
    assert not mine.is_over and complaints.newest("wavespeed")[0].code == "vendor_doubt"
    age_runs(studio, 60)
    mine = studio.finish(mine)
    assert (mine.state, [run.booked_to_house for run in studio.runs(mine)]) == ("succeeded", [True, False])
    hers = studio.fresh(hers)
    with transaction():
        jobs.cancel(hers)
    studio.finish(hers)


@pytest.mark.parametrize(
    "where", ["store:jobs/{job}/run-x/../../1", "store:jobs/{other}/run-1-0.bin", "store:../x", "::"]
)
def test_a_vendor_that_names_a_file_of_ours_as_its_result_is_given_none(studio, at, swap, where):
    at("fal")
    job = studio.until_open(swap())
    ask_fal(studio, job)
    said = f'{{"video": {{"url": "{where.format(job=job.id, other=job.id + 1)}"}}}}'
    studio.fault("fal-queue", fault="garbled", method="GET", body=completed(studio, job))
    studio.fault("fal-queue", fault="garbled", method="GET", body=said)
    job = studio.finish(job)
    assert (job.state, job.error_code, job.charged, studio.made(job)) == ("failed", "vendor_failed", 0, [])


def test_a_vendor_that_never_says_whether_it_began_is_paid_three_times_at_most_and_only_by_the_house(studio, at, swap):
    at("wavespeed")
    job = swap()
    studio.fault("wavespeed", fault="status", status=500, body=HTML, method="POST", path="/video-face-swap", times=99)
    for _ in range(60):
        if (job := studio.fresh(job)).is_over:
            break
        studio.change("DELETE FROM vendors")
        age_runs(studio, 2 * HOUR)
        job = studio.slice(job)
    assert (job.state, job.error_code, job.charged) == ("failed", "vendor_failed", 0)
    assert [run.booked_to_house for run in studio.runs(job)] == [True] * 3


@pytest.mark.parametrize(
    ("vendor", "place", "path", "body"),
    [
        ("fal", "fal-rest", "/initiate", '{"detail": "content_type is not allowed"}'),
        ("wavespeed", "wavespeed", "/media/uploads", '{"code": 400, "message": "content_type is not allowed"}'),
        ("picsi", "picsi", "/uploads", '{"error_message": "content_type is not allowed"}'),
    ],
)
def test_a_file_that_a_vendor_will_never_take_is_refused_at_once_and_keeps_nobody_else_waiting(
    studio, at, swap, vendor, place, path, body
):
    at(vendor)
    studio.fault(place, fault="status", status=400, body=body, method="POST", path=path, times=99)
    job = studio.finish(swap(), seconds=5)
    assert (job.state, job.error_code, job.charged) == ("failed", "vendor_refused", 0)
    assert "not allowed" in job.error
    with transaction():
        assert breaker.standing() == {}


# --- What happens here ---------------------------------------------------------------------------------------------


def test_a_store_that_is_away_for_long_loses_nothing_that_is_paid_for(studio, at, swap):
    at("wavespeed")
    job = studio.until_open(swap())
    blocked = studio.settings.files_folder / "jobs"
    blocked.write_bytes(b"in the way of every folder that is to be made here")
    try:
        while job.error_attempts < 6:
            time.sleep(0.1)
            job = studio.slice(job)
            assert not job.is_over, job.error
    finally:
        blocked.unlink()
    delivered_once(studio, job)


def test_a_disk_that_is_full_when_the_result_comes_loses_nothing_that_is_paid_for(studio, at, tmp_path):
    at("wavespeed")
    with small_disk.mounted(tmp_path / "disk") as data:
        studio = Studio(studio.app, studio.account, studio.settings.model_copy(update={"data": data}), tmp_path)
        given = {"videos": [studio.video().id], "face": studio.picture().id, "consent": studio.consent().id}
        job = studio.until_open(studio.submit(face_swap.tool, **given).jobs[0])
        filler = filled(data)
        for _ in range(8):
            job = studio.slice(job)
            assert not job.is_over, job.error
        filler.unlink()
        delivered_once(studio, job)


def test_a_night_in_which_the_machine_was_off_is_no_reason_to_throw_away_what_was_made_meanwhile(studio, at, swap):
    at("wavespeed")
    job = studio.until_open(swap())
    studio.change(
        "UPDATE jobs SET run_at = run_at - s, heard_at = heard_at - s, started_at = started_at - s,"
        " deadline_at = deadline_at - s FROM (SELECT interval '9 hours' AS s) AS night WHERE id = :id",
        id=job.id,
    )
    age_runs(studio, 9 * HOUR)
    delivered_once(studio, job)


def test_what_a_vendor_works_with_does_not_expire_meanwhile(studio, at, swap):
    at("wavespeed")
    job = swap()
    (video_id,) = job.input["videos"]
    studio.change("UPDATE assets SET expires_at = now() + interval '10 minutes' WHERE id = :id", id=video_id)
    job = studio.until_open(job)
    left = text("SELECT extract(epoch FROM expires_at - now()) FROM assets WHERE id = :id")
    session.rollback()
    assert session.scalars(left, {"id": video_id}).one() > HOUR
    delivered_once(studio, job)
    session.rollback()
    assert session.get_one(Asset, video_id).expires_at, "it is not kept for good"


@pytest.mark.slow
def test_a_consent_revoked_while_the_result_is_being_stored_keeps_it_back(studio, at, swap, tmp_path):
    at("wavespeed")
    job, armed = studio.until_open(swap()), tmp_path / "armed"
    armed.mkdir()
    failpoints.arm(armed, "store.after_blob", "pause 5")

    def slice_of_another_worker() -> None:
        with studio.app.app_context():
            slice_elsewhere(studio, job, armed)

    while (armed / "store.after_blob").exists():
        worker = threading.Thread(target=slice_of_another_worker)
        worker.start()
        while worker.is_alive() and (armed / "store.after_blob").exists():
            time.sleep(0.05)
        if (armed / "store.after_blob").exists():
            worker.join()
    session.rollback()
    with transaction():
        consents.revoke(consents.find(studio.library, job.input["consent"]))
    worker.join()
    job = studio.finish(job)
    assert (job.state, job.charged, studio.made(job)) == ("failed", 0, []) and "revoked" in job.error
    assert [run.booked_to_house for run in studio.runs(job)] == [True]


# --- What an administrator changes -----------------------------------------------------------------------------------


def with_key(settings: Settings) -> Settings:
    """As after a key was set: the address is still the sandbox's, so that what is asked there is seen."""
    ours = {"wavespeed_key": SecretStr("a-key-of-ours"), "wavespeed_url": f"{settings.sandbox_url}/wavespeed"}
    return settings.model_copy(update=ours)


def test_a_key_that_is_missing_for_a_while_loses_no_run_at_the_vendor(studio, at, swap):
    at("wavespeed")
    job = studio.until_open(swap())
    asked = len(requests_of(studio, "wavespeed"))
    # As if it had been begun with a key, which was then left out of the environment.
    studio.change("UPDATE runs SET is_sandbox = false")
    studio.change("UPDATE jobs SET notes = notes || '{\"sandbox\": false}' WHERE id = :id", id=job.id)
    for sandbox_url in (studio.settings.sandbox_url, ""):
        before, studio.settings = studio.settings, studio.settings.model_copy(update={"sandbox_url": sandbox_url})
        for _ in range(6):
            job = studio.slice(job)
            assert not job.is_over, job.error
        studio.settings = before
    assert len(requests_of(studio, "wavespeed")) == asked, "the sandbox is not asked for what it never had"
    studio.change("UPDATE runs SET is_sandbox = true")
    studio.change("UPDATE jobs SET notes = notes || '{\"sandbox\": true}' WHERE id = :id", id=job.id)
    delivered_once(studio, job)


def test_what_was_given_up_at_a_vendor_whose_key_is_gone_is_the_houses_cost(studio, at, swap):
    at("wavespeed")
    job = studio.until_open(swap("Clip [sandbox:never]"))
    studio.change("UPDATE runs SET is_sandbox = false")
    job = studio.fresh(job)
    with transaction():
        jobs.cancel(job)
    job = studio.finish(job)
    assert job.state == "cancelled" and "may still bill" in job.error
    reconcile(studio.settings)
    assert [(run.state, run.booked_to_house) for run in studio.runs(job)] == [("abandoned", False)]
    age_runs(studio, 400)
    reconcile(studio.settings)
    assert [(run.state, run.booked_to_house) for run in studio.runs(job)] == [("abandoned", True)]


def test_what_was_begun_as_a_trial_is_not_paid_for_when_a_key_is_set_meanwhile(studio, at, swap):
    at("wavespeed")
    job = studio.until_open(swap("Clip [sandbox:never]"))
    asked, trying = len(requests_of(studio, "wavespeed")), studio.settings
    studio.settings = with_key(trying)
    job = studio.finish(job)
    assert (job.state, job.error_code, job.charged) == ("failed", "begun_in_sandbox", 0)
    reconcile(studio.settings)
    after = [each["path"] for each in requests_of(studio, "wavespeed")[asked:]]
    assert not [path for path in after if job_run(studio, job) in path or "face-swap" in path]
    studio.settings = trying
    reconcile(trying)
    assert all(run.state != "abandoned" for run in studio.runs(job)), "the sandbox was told"


def test_a_trial_that_is_cancelled_after_a_key_was_set_bills_nobody_and_says_nothing_of_bills(studio, at, swap):
    at("wavespeed")
    job = studio.until_open(swap("Clip [sandbox:never]"))
    studio.settings = with_key(studio.settings)
    job = studio.fresh(job)
    with transaction():
        jobs.cancel(job)
    job = studio.finish(job)
    assert (job.state, job.error) == ("cancelled", None)


def test_another_model_in_the_settings_is_not_asked_for_what_is_being_trained(studio, training):
    job = studio.until_open(training())
    studio.settings = studio.settings.model_copy(update={"fal_trainer_model": "fal-ai/another-trainer"})
    delivered_once(studio, job)
    assert studio.made(job)[0].recipe["vendor"]["model"] == "fal-ai/wan-22-image-trainer"


def test_another_model_in_the_settings_is_not_asked_for_a_picture_that_is_being_made(studio):
    binary = "application/octet-stream"
    anna = put(studio.account, studio.settings, weights(1), kind="model", name="Anna", mime=binary)
    job = studio.until_open(studio.submit(lora_image.tool, model=anna.id, prompt="a cat", seed=1).jobs[0])
    studio.settings = studio.settings.model_copy(update={"fal_picture_model": "fal-ai/another"})
    delivered_once(studio, job)


def test_a_vendor_chosen_after_the_submit_puts_the_face_on_nobody_else(studio, at, swap):
    at("wavespeed")
    job = swap(which=2)
    at("fal")
    job = studio.finish(job)
    assert (job.state, job.charged, studio.runs(job)) == ("failed", 0, [])
    assert "main face" in job.error


def requests_of(studio: Studio, mount: str) -> list[dict[str, Any]]:
    url = f"{studio.settings.sandbox_url}/{mount}/sandbox/requests"
    return list(requests.get(url, timeout=5).json())


def job_run(studio: Studio, job: Job) -> str:
    return str(studio.runs(job)[0].external_id)
