"""Errors as people read them: a page, or a message inside the page they are on."""

from flask import Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web.errors import NovaiError, SignInNeeded


def asked_by_htmx() -> bool:
    return request.headers.get("HX-Request") == "true"


def say(error: NovaiError) -> ResponseReturnValue:
    """A fragment for HTMX, the way to the sign-in page for a stranger, a page for everybody else."""
    if isinstance(error, SignInNeeded):
        return _ask_to_sign_in()
    if not asked_by_htmx():
        return dress(make_response(render_template("errors/page.html", error=error), error.status), error)
    answer = make_response(render_template("errors/_message.html", error=error), error.status)
    answer.headers["HX-Retarget"] = "#messages"
    answer.headers["HX-Reswap"] = "innerHTML"
    return dress(answer, error)


def _ask_to_sign_in() -> ResponseReturnValue:
    here = request.full_path.rstrip("?") if request.method == "GET" and not asked_by_htmx() else None
    there = url_for("accounts.sign_in", next=here)
    if asked_by_htmx():
        return Response(status=401, headers={"HX-Redirect": there})
    return redirect(there, 303)


def dress(answer: Response, error: NovaiError) -> Response:
    """Say in a header, too, when it is worth trying again."""
    if error.retry_after_seconds is not None:
        answer.headers["Retry-After"] = str(error.retry_after_seconds)
    return answer
