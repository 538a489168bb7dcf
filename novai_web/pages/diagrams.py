"""The page of diagrams: the pictures of one type, and above them the jobs that draw some or have just failed to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from novai_web.jobs import Job, finding
from novai_web.library import collections, listing
from novai_web.library.assets import Library
from novai_web.library.listing import SORTS
from novai_web.library.paging import PAGE_SIZE
from novai_web.pages import answers, selection
from novai_web.pages.library import FIELDS, tools_that_take
from novai_web.tools import character_diagram
from novai_web.web import who

bp = Blueprint("diagrams", __name__)

RECENT_MAX = 12
FAILED_SHOWN = timedelta(days=1)


@bp.get("/diagrams", endpoint="list")
def listed() -> ResponseReturnValue:
    account, asked = who.account(), request.args
    library = Library(account.id)
    query = {name: asked.get(name, "") for name in FIELDS} | {"type": character_diagram.TYPE, "tool": ""}
    wanted = replace(selection.filter_of("image", asked), type=character_diagram.TYPE, tool="")
    sort = query["sort"] if query["sort"] in SORTS else "newest"
    tool = character_diagram.tool
    return render_template(
        "library/diagrams.html",
        kind="image",
        tool=tool,
        page=listing.listed(library, wanted, sort, asked.get("cursor"), answers.pages() * PAGE_SIZE),
        query=query,
        jobs=[job for job in finding.recent(account.id, tool=tool.slug, limit=RECENT_MAX) if _has_no_tile(job)],
        collections=collections.listed(library, "image"),
        tags=listing.tags_in_use(library, "image"),
        use_in=tools_that_take("image"),
    )


def _has_no_tile(job: Job) -> bool:
    """It is still at its diagram, or has just failed at it and can be tried again."""
    return not job.is_over or bool(job.can_retry and job.ended_at and job.ended_at > datetime.now(UTC) - FAILED_SHOWN)
