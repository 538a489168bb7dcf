"""Adding sample media with one click, and taking it back."""

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web.jobs import samples as giving
from novai_web.jobs.samples import Given
from novai_web.library import samples
from novai_web.library.assets import Library
from novai_web.pages import answers
from novai_web.pages.errors import asked_by_htmx
from novai_web.pages.wording import plural
from novai_web.web import limits, who
from novai_web.web.paths import local_path

bp = Blueprint("samples", __name__)

HOME = "/"
WORDS = {"video": "clip", "audio": "piece of music", "image": "picture"}


@bp.post("/samples")
def add() -> ResponseReturnValue:
    """Back to where the button is, or to the page on which one waits until the files are made."""
    there = local_path(request.form.get("back"), HOME)
    given = giving.give(Library(who.account().id), who.store(), who.settings())
    if given is None:
        return _to(url_for("samples.wait", back=there))
    answers.toast(_said(given), "done" if given.fresh else "info", undo=given.undo if given.fresh else None)
    return _to(there)


@bp.get("/samples")
def wait() -> ResponseReturnValue:
    """For as long as the files are being made, which happens once in an installation."""
    return render_template("samples/page.html", **_state())


@bp.get("/samples/state")
@limits.polls
def state() -> ResponseReturnValue:
    return render_template("samples/_state.html", **_state())


def _state() -> dict[str, object]:
    job = giving.making(who.account().id)
    done = max(job.progress if job else 0.0, samples.share(who.settings()))
    return {
        "percent": int(100 * done),
        "is_made": samples.made(who.store()) is not None,
        "job": job,
        "back": local_path(request.args.get("back"), HOME),
    }


def _to(there: str) -> ResponseReturnValue:
    if asked_by_htmx():
        return Response(status=204, headers={"HX-Redirect": there})
    return redirect(there, 303)


def _said(given: Given) -> str:
    """Such as “4 clips, 2 pieces of music, 1 picture and 10 hooks are in your library now.”"""
    if not given.fresh:
        return "You have all sample media already."
    kinds = [asset.kind for asset in given.assets if asset.id in given.fresh_ids]
    parts = [_counted(kinds.count(kind), word) for kind, word in WORDS.items() if kind in kinds]
    if given.fresh_hook_ids:
        parts.append(_counted(len(given.fresh_hook_ids), "hook"))
    listed = " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
    return f"{listed} {'is' if given.fresh == 1 else 'are'} in your library now."


def _counted(count: int, word: str) -> str:
    """A “piece of music” has its plural in the middle."""
    first, _, rest = word.partition(" ")
    return f"{plural(count, first)} {rest}".strip()
