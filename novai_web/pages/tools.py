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
from novai_web.library import presets
from novai_web.library.assets import Library
from novai_web.pages import answers, forms, picked
from novai_web.pages.errors import dress
from novai_web.tools import Tool
from novai_web.tools.likeness import takers
from novai_web.tools.sentences import PLAIN
from novai_web.web import who

bp = Blueprint("tools", __name__)

RECENT = 6


@bp.get("/tools/<slug>")
def show(slug: str) -> ResponseReturnValue:
    tool = tools.offered(slug, who.settings())
    account = who.account()
    given = picked.from_query(tool.input, account, request.args)
    if (batch_id := answers.number("batch")) is not None:
        given = jobs.find_batch(account.id, batch_id).input | given
    return _page(tool, account, given)


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
            made = jobs.submit(account, tool, raw, who.settings(), key=answers.form_key())
    except NovaiError as error:
        fields = error.fields if isinstance(error, InvalidInput) else {"form": str(error)}
        return dress(make_response(_page(tool, account, raw, fields), error.status), error)
    return redirect(_home(made), 303)


def _home(made: Submitted) -> str:
    if made.batch:
        return url_for("batches.show", batch_id=made.batch.id)
    return url_for("jobs.show", job_id=made.jobs[0].id)


def _page(tool: Tool, account: Account, given: Mapping[str, Any], errors: Mapping[str, str] | None = None) -> str:
    return render_template(
        [f"tools/{tool.slug}.html", "tools/tool.html"],
        tool=tool,
        form=forms.of(tool.input),
        given=forms.values(tool.input, given),
        errors=errors or {},
        form_key=secrets.token_urlsafe(16),
        quote=None,
        jobs=finding.recent(account.id, tool=tool.slug, limit=RECENT),
        picked=picked.things(tool.input, account, given),
        presets=presets.listed(Library(account.id), tool.slug),
        **_consents(tool, account),
    )


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
