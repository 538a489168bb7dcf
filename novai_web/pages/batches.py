"""Batches: the grid that fills, its outcome, its ZIP."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web import jobs
from novai_web.db import session, transaction
from novai_web.errors import InvalidInput
from novai_web.jobs import Batch, Delivered, Summary, batches, finding
from novai_web.library import trash, undoing
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from novai_web.pages import answers, cells, selection
from novai_web.pages.errors import asked_by_htmx
from novai_web.pages.wording import plural
from novai_web.web import limits, who, zipping

bp = Blueprint("batches", __name__, url_prefix="/batches")

GRID = 120
COVERS = 4
SINCE_MAX = 40  # as long as a moment is when it is written out
STATES = ("done", "failed", "cancelled", "pending", "expired")


@bp.get("", endpoint="list")
def listed() -> ResponseReturnValue:
    account = who.account()
    found = batches.recent(account.id, before=answers.number("cursor"), limit=batches.LISTED + 1)
    shown = found[: batches.LISTED]
    covers = finding.covers([each.batch.id for each in shown], COVERS)
    page = {
        "items": [(each.batch, each, covers.get(each.batch.id, [])) for each in shown],
        "next_cursor": str(shown[-1].batch.id) if len(found) > batches.LISTED else None,
        "total": len(shown),
    }
    return render_template("batches/list.html", page=page)


@bp.get("/cards")
@limits.polls
def cards() -> ResponseReturnValue:
    """All the batch cards of a page in one answer; 304 when none of them has changed since."""
    account = who.account()
    found = batches.of_ids(account.id, answers.numbers(request.args.get("ids", "")))
    active = jobs.active_count(account.id)
    version = _tag([active, *((each.batch.id, each.status, each.done, each.failed, each.percent) for each in found)])
    if request.headers.get("HX-PTag") == version:
        return Response(status=304)
    covers = finding.covers([each.batch.id for each in found], COVERS)
    answer = make_response(render_template("batches/_cards.html", tallies=found, covers=covers, queue_count=active))
    answer.headers["HX-PTag"] = version
    return answer


@bp.get("/<int:batch_id>")
def show(batch_id: int) -> ResponseReturnValue:
    account = who.account()
    batch = jobs.find_batch(account.id, batch_id)
    mark = finding.latest_change(batch.id)  # before the outputs are read: what changes meanwhile is told again
    asked, after = request.args.get("state", ""), answers.number("cursor")
    state = asked if asked in STATES else ""
    found = finding.page_of_outputs(batch.id, state=state, after=after, limit=GRID + 1)
    shown = found[:GRID]
    page = {
        "items": cells.of(account.id, shown, batch.tool),
        "next_cursor": str(shown[-1].output.n) if len(found) > GRID else None,
        "total": batch.promised,
    }
    return render_template(
        "batches/batch.html",
        batch=batch,
        tally=batches.summary(batch),
        jobs=finding.of_batch(batch.id),
        page=page,
        query={"state": state},
        mark=_mark(mark),
        form_key=secrets.token_urlsafe(16),
    )


@bp.get("/<int:batch_id>/live")
@limits.polls
def live(batch_id: int) -> ResponseReturnValue:
    """What changed since the page was drawn, and how the batch stands."""
    account = who.account()
    batch = jobs.find_batch(account.id, batch_id)
    tally, related = batches.summary(batch), finding.of_batch(batch.id)
    version = _version(tally, related)
    if request.headers.get("HX-PTag") == version:
        return Response(status=304)
    mark = finding.latest_change(batch.id)
    changed = finding.changed_outputs(batch.id, _since(request.args.get("since", "")))
    answer = make_response(_changed(batch, changed, _mark(mark)))
    answer.headers["HX-PTag"] = version
    return answer


@bp.get("/<int:batch_id>/zip")
def zip(batch_id: int) -> ResponseReturnValue:
    return zipping.batch(jobs.find_batch(who.account().id, batch_id))


@bp.post("/<int:batch_id>/keep")
def keep(batch_id: int) -> ResponseReturnValue:
    """All of it, or the outputs whose numbers are ticked."""
    library, numbers = Library(who.account().id), _numbers()
    batch = jobs.find_batch(library.account_id, batch_id)
    with transaction(), undoing.recorded(library, undoing.of(batches.assets(batch, numbers), Asset.expires_at)) as undo:
        kept = batches.keep(batch, numbers)
    answers.toast(f"{plural(kept, batch.tool.makes[0])} moved to your library for good.", undo=undo)
    return _approved(batch, numbers)


@bp.post("/<int:batch_id>/trash", endpoint="discard")
def discard(batch_id: int) -> ResponseReturnValue:
    """Into the trash: what is not good enough, so that neither the library nor the ZIP has it."""
    library, numbers = Library(who.account().id), _numbers()
    batch = jobs.find_batch(library.account_id, batch_id)
    if not numbers:
        raise InvalidInput({"n": "Nothing is selected."}, "Nothing is selected. Tick something first.")
    chosen = batches.assets(batch, numbers)
    with transaction(), undoing.recorded(library, undoing.of(chosen, Asset.trashed_at)) as undo:
        gone = trash.throw_away(library, chosen)
    answers.toast(f"{plural(gone, batch.tool.makes[0])} thrown away.", undo=undo)
    return _approved(batch, numbers)


@bp.post("/<int:batch_id>/restoration", endpoint="restore")
def restore(batch_id: int) -> ResponseReturnValue:
    library, numbers = Library(who.account().id), _numbers()
    batch = jobs.find_batch(library.account_id, batch_id)
    with transaction():
        trash.restore(library, list(session.scalars(batches.assets(batch, numbers or []).with_only_columns(Asset.id))))
    return _approved(batch, numbers)


@bp.post("/<int:batch_id>/retry")
def retry(batch_id: int) -> ResponseReturnValue:
    account = who.account()
    with transaction():
        jobs.retry_batch(account, jobs.find_batch(account.id, batch_id), who.settings())
    answers.toast("Trying again what failed.")
    return answers.back(url_for("batches.show", batch_id=batch_id))


@bp.post("/<int:batch_id>/rebuild")
def rebuild(batch_id: int) -> ResponseReturnValue:
    account = who.account()
    with transaction():
        batch = jobs.find_batch(account.id, batch_id)
        shown = answers.credits_shown()
        made = batches.rebuild(account, batch, who.settings(), key=answers.form_key(), credits_max=shown)
    assert made.batch is not None, "a rebuilt batch is a batch"
    answers.toast("Building it again, as a new batch.")
    return redirect(url_for("batches.show", batch_id=made.batch.id), 303)


@bp.post("/<int:batch_id>/cancellation")
def cancel(batch_id: int) -> ResponseReturnValue:
    account = who.account()
    with transaction():
        jobs.cancel_batch(jobs.find_batch(account.id, batch_id))
    answers.toast("Stopping. What is made already stays.")
    return answers.back(url_for("batches.show", batch_id=batch_id))


def _numbers() -> list[int] | None:
    """Those of one output's own button, else those that are ticked; None: no output in particular."""
    for name in ("only", "n"):
        if name in request.form:
            return selection.ids(request.form, name)
    return None


def _approved(batch: Batch, numbers: Sequence[int] | None) -> ResponseReturnValue:
    """Back to the page; a page that asked in the background is told what changed."""
    if not asked_by_htmx():
        return answers.back(url_for("batches.show", batch_id=batch.id))
    return _changed(batch, finding.outputs_of(batch.id, numbers or []), request.form.get("since", "")[:SINCE_MAX])


def _changed(batch: Batch, outputs: Sequence[Delivered], mark: str) -> str:
    session.expire_all()
    return render_template(
        "batches/_live.html",
        batch=batch,
        tally=batches.summary(batch),
        jobs=finding.of_batch(batch.id),
        outputs=cells.of(batch.account_id, outputs, batch.tool),
        mark=mark,
        queue_count=jobs.active_count(batch.account_id),
        form_key=secrets.token_urlsafe(16),
    )


def _version(tally: Summary, related: Sequence[jobs.Job]) -> str:
    outputs = (tally.done, tally.failed, tally.expired, tally.expires_at, tally.is_sandbox)
    return _tag([outputs, tally.status, tally.percent, *((job.id, job.status, job.percent) for job in related)])


def _tag(said: Sequence[object]) -> str:
    return hashlib.sha256(repr(said).encode()).hexdigest()[:24]


def _mark(at: datetime | None) -> str:
    return at.isoformat() if at else ""


def _since(mark: str) -> datetime | None:
    try:
        return datetime.fromisoformat(mark) if mark else None
    except ValueError:
        return None
