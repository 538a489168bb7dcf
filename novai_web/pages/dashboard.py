"""The first page: what runs, what was made, what to do next."""

from flask import Blueprint, render_template, url_for
from flask.typing import ResponseReturnValue

from novai_web.jobs import batches, finding
from novai_web.library import listing, samples, uploads
from novai_web.library.assets import Library
from novai_web.library.models import KINDS
from novai_web.web import who

bp = Blueprint("dashboard", __name__)

ACTIVE = 6
BATCHES = 6
RECENT = 12
# As the cards of the lists of jobs and batches have them.
RESULTS, COVERS = 6, 4


@bp.get("/")
def show() -> ResponseReturnValue:
    account = who.account()
    library = Library(account.id)
    kinds = listing.counts(library)
    made = batches.recent(account.id, limit=BATCHES)
    active = [job for job in finding.single(account.id, limit=ACTIVE) if not job.is_over]
    return render_template(
        "dashboard.html",
        counts={f"{kind}s": kinds.get(kind, 0) for kind in KINDS} | {"hooks": library.hook_count()},
        active=active,
        results=finding.results([job.id for job in active], RESULTS),
        covers_of=finding.covers([each.batch.id for each in made], COVERS),
        batches=[(each.batch, each) for each in made],
        recent=listing.listed(library, listing.Filter(), size=RECENT).items,
        numbers={
            "variants_made": finding.delivered_count(account.id),
            "storage_bytes": uploads.used_bytes(library),
            "storage_limit_bytes": who.settings().account_bytes_max,
        },
        samples_url=url_for("samples.add"),
        picks=None if made else samples.ready(library),
    )
