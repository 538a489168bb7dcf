"""Errors as people read them: a page, or a message inside the page they are on."""

from flask import Response, g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web.errors import NovaiError, SignInNeeded
from novai_web.web.paths import local_path


def asked_by_htmx() -> bool:
    return request.headers.get("HX-Request") == "true"


def say(error: NovaiError) -> ResponseReturnValue:
    """A fragment for HTMX, the way to the sign-in page for a stranger, a page for everybody else."""
    if isinstance(error, SignInNeeded):
        return _ask_to_sign_in()
    reference = g.get("request_id") if error.status >= 500 else None
    if not asked_by_htmx():
        page = render_template("errors/page.html", error=error, reference=reference, back=_back())
        return dress(make_response(page, error.status), error)
    answer = make_response(render_template("errors/_message.html", error=error, reference=reference), error.status)
    answer.headers["HX-Retarget"] = "#messages"
    answer.headers["HX-Reswap"] = "innerHTML"
    return dress(answer, error)


def _back() -> str | None:
    """The page of ours that led here, if it was another one."""
    came_from = request.referrer or ""
    if not came_from.startswith(request.host_url):
        return None
    path = local_path(f"/{came_from.removeprefix(request.host_url)}", "")
    return path if path and path != request.full_path.rstrip("?") else None


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
