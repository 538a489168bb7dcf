"""The paid tools, whoever dies on the way: one request is one paid run, and a job that must end tells its vendor."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import text

from novai_web import failpoints, jobs
from novai_web.db import session, transaction
from novai_web.jobs import Job
from novai_web.jobs.reconciling import reconcile
from novai_web.tools import character_diagram, face_swap, lora_image
from tests.paying import ONE_SLICE, ROOT
from tests.studio import Studio
from tests.things import put
from tests.weights import weights

BEFORE_THE_ID = ("submit.after_intent", "submit.after_post")
KILLED_AT = (
    *BEFORE_THE_ID,
    "submit.after_save",
    "poll.after_terminal",
    "fetch.mid",
    "store.after_file",
    "store.after_blob",
    "store.before_commit",
    "store.after_commit",
)
OURS = text("""
    SELECT r.external_id, r.marker FROM runs r JOIN jobs j ON j.id = r.job_id
    WHERE r.booked_to_house OR (r.state = 'done' AND j.delivered > 0)""")
SETTLED_SECONDS = 7300  # longer than the longest run at fal, which is two hours unless a setting says otherwise


@pytest.fixture
def studio(studio: Studio) -> Iterator[Studio]:
    """Afterwards whatever is billed is somebody's."""
    before = {each["id"] for each in everything_billed(studio)}
    yield studio
    studio.all_well_again()
    age_runs(studio, SETTLED_SECONDS)
    reconcile(studio.settings)
    assert [each for each in everything_billed(studio) if each["id"] not in before | accounted_for(studio)] == []


def everything_billed(studio: Studio) -> list[dict[str, Any]]:
    return [*studio.billed("fal-queue"), *studio.billed("gemini")]


def accounted_for(studio: Studio) -> set[str]:
    """What the vendors call the runs that belong to a job that delivered, or to the house; by their marker too."""
    session.rollback()
    rows = session.execute(OURS).all()
    ids, markers = {str(row.external_id).rpartition("/")[2] for row in rows}, {row.marker for row in rows}
    return ids | {each["id"] for each in everything_billed(studio) if each["marker"] in markers}


def age_runs(studio: Studio, seconds: float) -> None:
    studio.change(
        "UPDATE runs SET created_at = created_at - s, ended_at = ended_at - s, posted_at = posted_at - s"
        " FROM (SELECT make_interval(secs => :seconds) AS s) AS age",
        seconds=seconds,
    )


def slice_elsewhere(studio: Studio, job: Job, folder: Path) -> int:
    """The next slice of this job in a process of its own, and how that ended."""
    studio.change("UPDATE jobs SET run_at = now() - interval '1 day' WHERE id = :id AND ended_at IS NULL", id=job.id)
    own = {
        "DATABASE_URL": studio.settings.database_url,
        "REDIS_URL": studio.settings.redis_url,
        "SECRET_KEY": studio.settings.secret,
        "NOVAI_DATA": str(studio.settings.data),
        "NOVAI_SANDBOX_URL": studio.settings.sandbox_url,
        "NOVAI_DISK_FREE_BYTES_MIN": "0",
        "NOVAI_FAILPOINTS": str(folder),
    }
    with subprocess.Popen([sys.executable, "-c", ONE_SLICE], cwd=ROOT, env={**os.environ, **own}) as worker:
        return worker.wait(120)


def killed_at(studio: Studio, job: Job, point: str, folder: Path) -> Job:
    """Slices in processes of their own, until one is killed there; then the next worker may have the job."""
    folder.mkdir()
    failpoints.arm(folder, point, "kill")
    end = time.monotonic() + 120
    while slice_elsewhere(studio, job, folder) >= 0:
        assert time.monotonic() < end and not studio.fresh(job).is_over, f"nobody came to {point}"
        time.sleep(0.2)
    studio.change("UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = :id", id=job.id)
    return studio.fresh(job)


def runs_started(studio: Studio, mount: str, job: Job) -> int:
    bill = requests.get(f"{studio.settings.sandbox_url}/{mount}/sandbox/bill", timeout=5).json()
    markers = {run.marker for run in studio.runs(job)}
    return sum(each["marker"] in markers for each in bill)


@pytest.fixture
def swap(studio: Studio) -> Callable[..., Job]:
    def one(name: str = "Clip") -> Job:
        given = {"videos": [studio.video(name).id], "face": studio.picture().id, "consent": studio.consent().id}
        return studio.submit(face_swap.tool, **given).jobs[0]

    return one


# Killed workers


@pytest.mark.slow
@pytest.mark.parametrize("point", KILLED_AT)
def test_a_swap_whose_worker_is_killed_anywhere_is_delivered_and_paid_for_once(studio, swap, point, tmp_path):
    job = killed_at(studio, swap(), point, tmp_path / "armed")
    if point == "submit.after_intent":
        age_runs(studio, SETTLED_SECONDS)  # nothing was sent, which nobody but the time can say
    job = studio.finish(job)
    assert (job.state, job.delivered, len(studio.made(job))) == ("succeeded", 1, 1)
    assert runs_started(studio, "fal-queue", job) == 1


@pytest.mark.slow
@pytest.mark.parametrize("point", ["submit.after_intent", "submit.after_post", "submit.after_save"])
def test_a_diagram_whose_worker_is_killed_is_delivered_once_and_a_lost_answer_is_the_houses(studio, point, tmp_path):
    picture = studio.picture()
    job = studio.submit(character_diagram.tool, picture=picture.id).jobs[0]
    job = killed_at(studio, job, point, tmp_path / "armed")
    age_runs(studio, 400)
    job = studio.finish(job)
    assert (job.state, len(studio.made(job))) == ("succeeded", 1)
    is_lost = point == "submit.after_post"  # the only one at which an answer was in no more than a worker's memory
    assert runs_started(studio, "gemini", job) == 1 + is_lost
    assert sum(run.booked_to_house for run in studio.runs(job)) == (point != "submit.after_save")


@pytest.mark.slow
def test_twenty_dead_workers_during_one_run_are_one_submit(studio, swap):
    job = studio.until_open(swap("Clip [sandbox:never]"))
    for _ in range(20):
        job = studio.slice(job)
    assert [run.state for run in studio.runs(job)] == ["running"] and runs_started(studio, "fal-queue", job) == 1
    studio.finish(cancel(job, studio))


# Cancelling


def cancel(job: Job, studio: Studio) -> Job:
    session.rollback()
    with transaction():
        jobs.cancel(session.get_one(Job, job.id))
    return studio.fresh(job)


def test_a_cancel_reaches_the_vendor_and_is_not_billed(studio, swap):
    job = studio.until_open(swap("Clip [sandbox:never]"))
    job = studio.finish(cancel(job, studio))
    (run,) = studio.runs(job)
    assert (job.state, job.charged, job.error, run.state, run.booked_to_house) == (
        "cancelled",
        0,
        None,
        "cancelled",
        False,
    )


def test_a_vendor_that_finishes_all_the_same_is_the_houses_cost_and_the_card_says_so(studio, swap):
    job = studio.until_open(swap("Clip [sandbox:stubborn]"))
    job = studio.finish(cancel(job, studio))
    assert job.state == "cancelled" and job.charged == 0 and "bills this installation" in job.error
    assert [run.booked_to_house for run in studio.runs(job)] == [True]


def test_a_vendor_that_does_not_hear_keeps_no_job_for_longer_than_a_minute_and_is_told_again_later(studio, swap):
    job = studio.until_open(swap("Clip [sandbox:never]"))
    studio.fault("fal-queue", fault="status", status=500, method="PUT", times=1000)
    job = studio.slice(cancel(job, studio))
    assert job.status == "cancelling"
    studio.change("UPDATE jobs SET cancel_requested_at = now() - interval '61 s' WHERE id = :id", id=job.id)
    job = studio.finish(job)
    assert job.state == "cancelled" and "did not confirm" in job.error
    assert [run.state for run in studio.runs(job)] == ["abandoned"]
    studio.well_again("fal-queue")
    reconcile(studio.settings)
    assert [(run.state, run.booked_to_house) for run in studio.runs(job)] == [("cancelled", False)]


def test_a_batch_of_pictures_that_is_cancelled_tells_the_vendor_of_each(studio):
    asset = outside_model(studio)
    made = studio.submit(lora_image.tool, model=asset.id, prompt="a cat [sandbox:never]", count=3, seed=1)
    for job in made.jobs:
        studio.until_open(job)
        studio.finish(cancel(job, studio))
    assert {run.state for job in made.jobs for run in studio.runs(job)} == {"cancelled"}


def outside_model(studio: Studio) -> Any:
    return put(studio.account, studio.settings, weights(1), kind="model", name="Anna", mime="application/octet-stream")
