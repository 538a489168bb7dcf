"""A tool's page: its form, its price, and starting it."""

import secrets
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web import consents, credits, jobs, tools
from novai_web.accounts import Account
from novai_web.db import transaction
from novai_web.errors import InvalidInput, NovaiError
from novai_web.jobs import Submitted, finding
from novai_web.library import listing, presets, samples
from novai_web.library.assets import Library
from novai_web.pages import answers, forms, picked
from novai_web.pages.errors import dress
from novai_web.tools import Tool
from novai_web.tools.likeness import takers
from novai_web.tools.sentences import PLAIN
from novai_web.web import who

bp = Blueprint("tools", __name__)

RECENT = 6
RESULTS = 6


@bp.get("/tools/<slug>")
def show(slug: str) -> ResponseReturnValue:
    tool = tools.offered(slug, who.settings())
    account = who.account()
    given = picked.from_query(tool.input, account, request.args)
    but = request.args.get("but", "")
    again = {name: value for name, value in _earlier(account).items() if name not in (but, "without" if but else but)}
    return _page(tool, account, again | given, but=but)


def _earlier(account: Account) -> dict[str, Any]:
    """What an earlier batch or job was given, if the address names one."""
    if (batch_id := answers.number("batch")) is not None:
        return jobs.find_batch(account.id, batch_id).input
    if (job_id := answers.number("job")) is not None:
        return jobs.find(account.id, job_id).input
    return {}


@bp.post("/tools/<slug>/quote")
def quote(slug: str) -> ResponseReturnValue:
    """The live price. Wrong input is no error here: the line under the form says what is missing."""
    tool, account = tools.offered(slug, who.settings()), who.account()
    try:
        found = jobs.quote(account, tool, forms.read(tool.input, request.form), who.settings())
    except InvalidInput as error:
        return render_template("tools/_quote.html", tool=tool, quote=None, errors=_named(tool, error.fields))
    counts = picked.counts(tool.input, request.form)
    affordable = found.credits <= credits.balance(account, who.settings()).available
    shown = asdict(found) | counts | {"is_affordable": affordable}
    shown["kept_hours"] = who.settings().batch_hours if tool.split and not tool.is_kept else None
    return render_template("tools/_quote.html", tool=tool, quote=shown, errors={})


@bp.post("/tools/<slug>/jobs")
def run(slug: str) -> ResponseReturnValue:
    tool, account = tools.offered(slug, who.settings()), who.account()
    raw = forms.read(tool.input, request.form)
    try:
        with transaction():
            made = jobs.submit(
                account, tool, raw, who.settings(), key=answers.form_key(), credits_max=answers.credits_shown()
            )
    except NovaiError as error:
        fields = error.fields if isinstance(error, InvalidInput) else {"form": str(error)}
        return dress(make_response(_page(tool, account, raw, fields), error.status), error)
    return redirect(_home(made), 303)


def _home(made: Submitted) -> str:
    if made.batch:
        return url_for("batches.show", batch_id=made.batch.id)
    return url_for("jobs.show", job_id=made.jobs[0].id)


def _page(
    tool: Tool,
    account: Account,
    given: Mapping[str, Any],
    errors: Mapping[str, str] | None = None,
    *,
    but: str = "",
) -> str:
    """`but`: the field that is left to be picked, whose picker opens by itself."""
    recent = finding.recent(account.id, tool=tool.slug, limit=RECENT)
    found = picked.things(tool.input, account, given)
    return render_template(
        [f"tools/{tool.slug}.html", "tools/tool.html"],
        tool=tool,
        form=forms.of(tool.input),
        given=forms.values(tool.input, given),
        errors=errors or {},
        form_key=secrets.token_urlsafe(16),
        quote=None,
        jobs=recent,
        results=finding.results([job.id for job in recent], RESULTS),
        picked=found,
        presets=presets.listed(Library(account.id), tool.slug),
        last=last_settings(tool, account),
        but=but,
        **_consents(tool, account),
        **({} if recent or any(found.values()) else _beginning(tool, account)),
    )


def _beginning(tool: Tool, account: Account) -> dict[str, Any]:
    """What is missing before this tool can be used at all, and the samples that its fields could take."""
    library = Library(account.id)
    there = listing.counts(library)
    needed = [field.options for field in forms.of(tool.input) if field.required and field.widget in picked.WIDGETS]
    missing = next((kinds[0] for kinds in needed if not any(there.get(kind) for kind in kinds)), None)
    ready = samples.ready(library) if not missing and "videos" in tool.input.model_fields else None
    return {"missing": missing, "samples": ready if tool.engine is None else None}


def last_settings(tool: Tool, account: Account) -> dict[str, Any]:
    """How the form was set for the newest job, without what was picked; nothing before the first."""
    newest = finding.recent(account.id, tool=tool.slug, limit=1)
    names = set(forms.settings_of(tool.input))
    return {name: value for job in newest for name, value in job.input.items() if name in names}


def _consents(tool: Tool, account: Account) -> dict[str, Any]:
    """What the choice of a consent needs, where a tool asks for one."""
    if not takers([tool]):
        return {"consents": None}
    return {"consents": consents.usable(Library(account.id), tool.slug), "takers": takers(tools.TOOLS)}


def _named(tool: Tool, errors: Mapping[str, str]) -> dict[str, str]:
    """Sentences that stand far from their fields, so that one which only says “missing” says what."""
    titles = {field.name: field.title for field in forms.of(tool.input)}
    missing = {name: f"“{titles.get(name, name)}” is missing." for name in errors if errors[name] == PLAIN["missing"]}
    return {name: missing.get(name, said) for name, said in errors.items()}
