"""Everybody's credits, for administrators: who has what, and giving, correcting, limiting and paying back."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web import credits, jobs
from novai_web.accounts import Account
from novai_web.credits import CREDITS_MAX, REASON_CHARACTERS_MAX, exporting, people, reports
from novai_web.db import transaction
from novai_web.errors import IdempotencyMismatch, InvalidInput, NotFound
from novai_web.jobs import finding
from novai_web.pages import answers, charts
from novai_web.pages.credits import entries, shown, warning
from novai_web.pages.wording import number, plural
from novai_web.web import limits, spreadsheets, who

bp = Blueprint("admin", __name__, url_prefix="/admin")

FORMS = ("grant", "adjust", "limit", "refund")
JOBS_SHOWN = 8
FIELDS = ("amount", "limit", "job", "reason")
SENT = "This form was sent before with something else in it. Look at the balance; send it again if it is still needed."


@dataclass(frozen=True)
class Said:
    """What is told once a change is made, and the change that would take it back, if there is one."""

    text: str
    tone: str = "done"
    undo: str | None = None
    fields: Mapping[str, Any] | None = None


@bp.before_request
def only_for_administrators() -> None:
    """Nobody else learns that there is anything here."""
    if not who.account().is_admin:
        raise NotFound


@bp.get("/credits", endpoint="credits")
def listed() -> ResponseReturnValue:
    settings, asked, query = who.settings(), request.args, _asked_people()
    totals = people.totals(settings)
    return render_template(
        "admin/credits.html",
        page=people.listed(settings, query["q"], query["sort"], asked.get("cursor")),
        query=query,
        totals=totals,
        warning=warning(totals.spent_today, totals.daily_limit),
        day_ends_at=reports.day_ends_at(),
        chart=charts.by_day(reports.everybody_by_day()),
    )


@bp.get("/credits.csv", endpoint="csv")
@limits.reads
def download() -> ResponseReturnValue:
    """The entries of everybody between two days."""
    return spreadsheets.answer("credits.csv", exporting.of_everybody(_day("since"), _day("until")))


@bp.get("/people.csv", endpoint="people_csv")
@limits.reads
def download_people() -> ResponseReturnValue:
    """The people that the list shows, in its order, with what they have."""
    query = _asked_people()
    return spreadsheets.answer("people.csv", exporting.of_people(who.settings(), query["q"], query["sort"]))


def _asked_people() -> dict[str, str]:
    """Who is listed and in which order, from the address."""
    sort = request.args.get("sort", "")
    known = sort.removeprefix("-") in people.COLUMNS
    return {"q": request.args.get("q", ""), "sort": sort if known else "name"}


@bp.get("/credits/<int:account_id>", endpoint="account")
def show(account_id: int) -> ResponseReturnValue:
    """One person. With the number of a job it is the job that is spoken of; with ?change=refund it can be paid back."""
    job, change = answers.number("job"), request.args.get("change", "")
    return _page(people.find(account_id), change if change in FORMS else "grant", {"job": job} if job else {})


@bp.post("/credits/<int:account_id>/grants")
def grant(account_id: int) -> ResponseReturnValue:
    def give(person: Account, form: Mapping[str, str]) -> Said:
        amount, reason = whole(form, "amount"), form.get("reason", "")
        credits.grant(person, amount, by=who.account(), reason=reason, key=answers.form_key())
        return Said(f"{person.name} has {plural(amount, 'credit')} more.", **_taking_back(person, amount, reason))

    return _change(account_id, "grant", give)


@bp.post("/credits/<int:account_id>/adjustments")
def adjust(account_id: int) -> ResponseReturnValue:
    def correct(person: Account, form: Mapping[str, str]) -> Said:
        delta, reason = whole(form, "amount"), form.get("reason", "")
        credits.adjust(person, delta, by=who.account(), reason=reason, key=answers.form_key())
        said = f"{person.name} has {plural(abs(delta), 'credit')} {'more' if delta > 0 else 'less'}."
        return Said(said, **_taking_back(person, delta, reason))

    return _change(account_id, "adjust", correct)


@bp.post("/credits/<int:account_id>/limit")
def limit(account_id: int) -> ResponseReturnValue:
    def set_limit(person: Account, form: Mapping[str, str]) -> Said:
        wanted = whole(form, "limit") if form.get("limit", "").strip() else None
        before, reason = person.daily_credits, form.get("reason", "")
        credits.set_daily_limit(person, wanted, by=who.account(), reason=reason)
        back = {"limit": "" if before is None else before, "reason": _taken_back(reason)}
        undo = url_for("admin.limit", account_id=person.id)
        return Said(f"{person.name} may spend {number(_limit_of(person))} credits a day.", undo=undo, fields=back)

    return _change(account_id, "limit", set_limit)


@bp.post("/credits/<int:account_id>/refunds")
def refund(account_id: int) -> ResponseReturnValue:
    def pay_back(person: Account, form: Mapping[str, str]) -> Said:
        job = _job(person, form)
        amount = credits.refund(job, by=who.account(), reason=form.get("reason", ""))
        if not amount:
            return Said(f"Nothing was moved: job {job.id} cost nothing, or was paid back before.", "info")
        return Said(f"{plural(amount, 'credit')} of “{job.title}” paid back to {person.name}.")

    return _change(account_id, "refund", pay_back)


def _change(account_id: int, form: str, make: Callable[[Account, Mapping[str, str]], Said]) -> ResponseReturnValue:
    """Make one change and tell of it; or show the form again with what is wrong."""
    person = people.find(account_id)
    try:
        with transaction():
            said = make(person, request.form)
    except (InvalidInput, IdempotencyMismatch) as wrong:
        given = {name: request.form.get(name, "") for name in FIELDS}
        return _page(person, form, given, wrong.fields if isinstance(wrong, InvalidInput) else {"form": SENT}), 422
    answers.toast(said.text, said.tone, undo=said.undo, fields=said.fields)
    return redirect(url_for("admin.account", account_id=account_id), 303)


def _page(
    person: Account, form: str, given: Mapping[str, object] | None = None, errors: Mapping[str, str] | None = None
) -> str:
    balance = credits.balance(person, who.settings())
    return render_template(
        "admin/account.html",
        person=person,
        jobs=_jobs(person),
        balance=balance,
        default_limit=who.settings().account_daily_credits,
        warning=warning(balance.spent_today, balance.daily_limit),
        day_ends_at=reports.day_ends_at(),
        page=entries(person.id, shown()),
        query={"show": shown()},
        form=form,
        given=given or {},
        errors=errors or {},
        form_key=secrets.token_urlsafe(16),
        amount_max=CREDITS_MAX,
        reason_max=REASON_CHARACTERS_MAX,
    )


def whole(form: Mapping[str, str], name: str) -> int:
    """A whole number from a form, with either minus. Raises InvalidInput."""
    text = form.get(name, "").strip().replace("−", "-")
    digits = text.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise InvalidInput({name: "Enter a whole number, such as 100."})
    return int(text)


def _taking_back(person: Account, delta: int, reason: str) -> dict[str, Any]:
    """What Undo sends: the opposite correction, once."""
    fields = {
        "amount": -delta,
        "reason": _taken_back(reason),
        "form_key": secrets.token_urlsafe(16),
    }
    return {"undo": url_for("admin.adjust", account_id=person.id), "fields": fields}


def _taken_back(reason: str) -> str:
    return f"Taken back: {reason}"[:REASON_CHARACTERS_MAX]


def _limit_of(person: Account) -> int:
    return credits.balance(person, who.settings()).daily_limit


def _job(person: Account, form: Mapping[str, str]) -> jobs.Job:
    """The job that the form names, if it is this person's. Raises InvalidInput."""
    try:
        return jobs.find(person.id, whole(form, "job"))
    except NotFound:
        raise InvalidInput({"job": f"{person.name} has no job of this number. The list of entries names it."}) from None


def _jobs(person: Account) -> list[jobs.Job]:
    """The newest of this person's jobs; the one that the address names goes first."""
    newest, asked = finding.recent(person.id, limit=JOBS_SHOWN), answers.number("job")
    named = jobs.find_many(person.id, [asked]) if asked else []
    return [*named, *(job for job in newest if job.id != asked)]


def _day(name: str) -> date | None:
    """A day from the address. Raises InvalidInput."""
    asked = request.args.get(name, "")
    try:
        return date.fromisoformat(asked) if asked else None
    except ValueError:
        said = "Write the day as 2026-11-21."
        raise InvalidInput({name: said}, said) from None
