"""The pages of consents: write one down, revoke it, see what was made with it."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web import consents, tools
from novai_web.consents import Consent
from novai_web.db import transaction
from novai_web.errors import InvalidInput, NotFound
from novai_web.library.assets import Library
from novai_web.pages import answers, forms
from novai_web.tools import Tool
from novai_web.tools.likeness import takers
from novai_web.web import limits, spreadsheets, who

bp = Blueprint("consents", __name__)

HEAD = ("consent", "who", "state", "for", "how it was given", "written down", "until", "revoked")


@bp.get("/consents", endpoint="list")
def listed() -> ResponseReturnValue:
    return _page()


@bp.get("/consents.csv", endpoint="csv")
@limits.reads
def download() -> ResponseReturnValue:
    """All that the list shows, in its order; there are never very many."""
    query = _asked()
    found = consents.listed(_library(), size=consents.CONSENTS_MAX, sort=query["sort"], status=query["status"]).items
    return spreadsheets.table("consents.csv", HEAD, [_cells(consent) for consent in found])


def _asked() -> dict[str, str]:
    """The order, and what the list is narrowed to, from the address."""
    sort, status = request.args.get("sort", ""), request.args.get("status", "")
    known = sort.removeprefix("-") in consents.COLUMNS
    return {"sort": sort if known else "-given", "status": status if status in consents.STATUSES else ""}


def _cells(consent: Consent) -> Sequence[object]:
    revoked = consent.revoked_at.isoformat() if consent.revoked_at else ""
    when = (consent.created_at.isoformat(), consent.until or "", revoked)
    return (consent.id, consent.who, consent.status, " ".join(consent.purposes) or "everything", consent.how, *when)


@bp.post("/consents")
def give() -> ResponseReturnValue:
    try:
        made = _give(request.form.getlist("purposes"))
    except InvalidInput as wrong:
        return _page(request.form, wrong.fields), 422
    answers.toast(f"Written down: {made.who}.")
    return answers.back(url_for("consents.list"))


@bp.get("/consents/<int:consent_id>")
def show(consent_id: int) -> ResponseReturnValue:
    library = _library()
    consent = consents.find(library, consent_id)
    made = consents.made_with(library, consent, request.args.get("cursor"))
    return render_template("consents/consent.html", consent=consent, page=made, takers=_takers())


@bp.post("/consents/<int:consent_id>/revocation")
def revoke(consent_id: int) -> ResponseReturnValue:
    library = _library()
    with transaction():
        consent = consents.find(library, consent_id)
        consents.revoke(consent)
    answers.toast(f"Revoked. Nothing new is made with the consent of “{consent.who}”; below is what was made.")
    return redirect(url_for("consents.show", consent_id=consent_id), 303)


@bp.post("/tools/<slug>/consents")
def give_for(slug: str) -> ResponseReturnValue:
    """From the dialog on a tool's page: the choice again with the new one in it, or the form with what is wrong."""
    tool = tools.offered(slug, who.settings())
    if tool not in takers([tool]):
        raise NotFound
    try:
        made = _give(request.form.getlist("purposes"))
    except InvalidInput as wrong:
        return _form_again(tool, wrong.fields)
    field = next(each for each in forms.of(tool.input) if each.widget == "consent")
    usable = consents.usable(_library(), slug)
    return render_template("consents/_choice.html", f=field, consents=usable, chosen=made.id, is_new=True)


def _form_again(tool: Tool, errors: Mapping[str, str]) -> Response:
    answer = make_response(
        render_template("consents/_form.html", tool=tool, takers=_takers(), given=request.form, errors=errors), 422
    )
    answer.headers["HX-Retarget"] = "#consent-form"
    answer.headers["HX-Reswap"] = "outerHTML"
    return answer


def _give(purposes: Sequence[str]) -> Consent:
    form = request.form
    with transaction():
        return consents.give(
            _library(),
            who=form.get("who", ""),
            how=form.get("how", ""),
            purposes=purposes,
            until=_day(form.get("until", "")),
            is_synthetic=form.get("is_synthetic") == "1",
            known=[tool.slug for tool in _takers()],
        )


def _day(text: str) -> date | None:
    """Raises InvalidInput for what is no day."""
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput({"until": "Write a day as 2027-05-31, or leave it empty."}) from None


def _takers() -> list[Tool]:
    return takers(tools.TOOLS)


def _library() -> Library:
    return Library(who.account().id)


def _page(given: Mapping[str, Any] | None = None, errors: Mapping[str, str] | None = None) -> str:
    library, query = _library(), _asked()
    page = consents.listed(library, request.args.get("cursor"), sort=query["sort"], status=query["status"])
    return render_template(
        "consents/list.html",
        page=page,
        query=query,
        counts=consents.counts(library, page.items),
        takers=_takers(),
        given=given or {},
        errors=errors or {},
    )
