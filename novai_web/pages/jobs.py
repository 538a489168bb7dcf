"""Jobs as people watch them: cards, the list, the queue drawer."""

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web import jobs
from novai_web.credits import reports
from novai_web.db import transaction
from novai_web.jobs import OPEN, Job, batches, finding
from novai_web.pages import answers, cells
from novai_web.pages.errors import asked_by_htmx
from novai_web.web import limits, who

bp = Blueprint("jobs", __name__, url_prefix="/jobs")

DRAWER = 12
RESULTS = 6
STATES = {"open": OPEN, "succeeded": ("succeeded",), "failed": ("failed",), "cancelled": ("cancelled",)}


@bp.get("", endpoint="list")
def listed() -> ResponseReturnValue:
    account = who.account()
    status = request.args.get("status", "")
    before = answers.number("cursor")
    found = finding.recent(account.id, states=STATES.get(status, ()), before=before, limit=finding.PAGE + 1)
    items = found[: finding.PAGE]
    page = {
        "items": items,
        "next_cursor": str(items[-1].id) if len(found) > finding.PAGE else None,
        "total": len(items),
    }
    results = finding.results([job.id for job in items], RESULTS)
    return render_template(
        "jobs/list.html", page=page, results=results, query={"status": status if status in STATES else ""}
    )


@bp.get("/<int:job_id>")
def show(job_id: int) -> ResponseReturnValue:
    account = who.account()
    job = jobs.find(account.id, job_id)
    given = [
        (name.replace("_", " ").capitalize(), value) for name, value in job.input.items() if value not in (None, [])
    ]
    return render_template(
        "jobs/job.html",
        job=job,
        outputs=cells.of(account.id, jobs.outputs(job_id=job.id), job.tool),
        given=given,
        lines=reports.of_job(job.id),
    )


@bp.get("/cards")
@limits.polls
def cards() -> ResponseReturnValue:
    """All the cards of a page in one answer; 304 when none of them has changed since."""
    account = who.account()
    ids = answers.numbers(request.args.get("ids", ""))
    version = finding.cards_version(account.id, ids)  # before they are read: what changes meanwhile is told again
    if request.headers.get("HX-PTag") == version:
        return Response(status=304)
    found = jobs.find_many(account.id, ids)
    answer = make_response(
        render_template(
            "jobs/_cards.html",
            jobs=found,
            results=finding.results([job.id for job in found], RESULTS),
            queue_count=jobs.active_count(account.id),
        )
    )
    answer.headers["HX-PTag"] = version
    return answer


@bp.get("/queue")
def queue() -> ResponseReturnValue:
    account = who.account()
    mine = finding.single(account.id, limit=DRAWER)
    return render_template(
        "jobs/_queue.html",
        jobs=sorted(mine, key=lambda job: job.is_over),
        batches=batches.recent(account.id, limit=DRAWER),
        everybody=finding.everybody(account.id) if account.is_admin else None,
    )


@bp.post("/<int:job_id>/cancellation")
def cancel(job_id: int) -> ResponseReturnValue:
    account = who.account()
    with transaction():
        jobs.cancel(jobs.find(account.id, job_id))
    job = jobs.find(account.id, job_id)
    if asked_by_htmx():
        return _card(job)
    return answers.back(_home(job))


@bp.post("/<int:job_id>/retry")
def retry(job_id: int) -> ResponseReturnValue:
    account = who.account()
    with transaction():
        fresh = jobs.retry(account, jobs.find(account.id, job_id), who.settings())
    answers.toast(f"Trying again what “{fresh.title}” did not deliver.")
    if asked_by_htmx():
        return Response(status=204, headers={"HX-Redirect": _home(fresh)})
    return redirect(_home(fresh), 303)


@bp.post("/<int:job_id>/front")
def to_front(job_id: int) -> ResponseReturnValue:
    account = who.account()
    with transaction():
        job = jobs.find(account.id, job_id)
        jobs.move_to_front(job)
    answers.toast(f"“{job.title}” is next of yours.")
    return answers.back(_home(job))


def _card(job: Job) -> str:
    """Where it was pressed: in the list, or in the drawer."""
    prefix = "queued" if request.form.get("prefix") == "queued" else "job"
    return render_template("jobs/_card.html", job=job, prefix=prefix, results=finding.results([job.id], RESULTS))


def _home(job: Job) -> str:
    if job.batch_id:
        return url_for("batches.show", batch_id=job.batch_id)
    return url_for("jobs.show", job_id=job.id)
