"""Prices, for administrators: what each vendor takes, since when, and where that is written."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web import prices
from novai_web.db import transaction
from novai_web.errors import InvalidInput, NotFound
from novai_web.pages import admin, answers
from novai_web.prices import Change, Price
from novai_web.vendors import menu
from novai_web.web import limits, spreadsheets, who

bp = Blueprint("prices", __name__, url_prefix="/admin/prices")
bp.before_request(admin.only_for_administrators)

FIELDS = ("model", "unit", "dollars", "per", "minimum", "as_of", "source", "note")


@bp.get("", endpoint="list")
def listed() -> ResponseReturnValue:
    return _page()


@bp.post("/<vendor>")
def save(vendor: str) -> ResponseReturnValue:
    """Set the price of one of this vendor's models, whether it had one or not."""
    if vendor not in menu.TITLES:
        raise NotFound
    form = request.form
    model = form.get("model", "").strip()
    try:
        with transaction():
            back = _way_back(vendor, model)
            price = prices.put(vendor, model, _change(form), by=who.account())
    except InvalidInput as wrong:
        given = {name: form.get(name, "") for name in FIELDS} | {"vendor": vendor}
        return _page(given, wrong.fields), 422
    said = f"{price.model}: ${price.dollars:f} per {price.unit_words}, for what is asked for from now on."
    answers.toast(said, undo=back[0], fields=back[1])
    return redirect(url_for("prices.list"), 303)


@bp.post("/<vendor>/removal")
def remove(vendor: str) -> ResponseReturnValue:
    with transaction():
        price = prices.find_one(vendor, request.form.get("model", ""))
        fields = _written(price)
        prices.remove(price)
    undo = url_for("prices.save", vendor=vendor)
    answers.toast(f"{price.model} has no price any more, so nothing can be made with it.", undo=undo, fields=fields)
    return redirect(url_for("prices.list"), 303)


@bp.get("/prices.csv", endpoint="csv")
@limits.reads
def download() -> ResponseReturnValue:
    rows = [(price.vendor, *_written(price).values()) for price in prices.listed()]
    return spreadsheets.table("prices.csv", ("vendor", *FIELDS), rows)


def _way_back(vendor: str, model: str) -> tuple[str, dict[str, str]]:
    """What Undo sends: the price as it is now, or its removal when there is none yet."""
    try:
        return url_for("prices.save", vendor=vendor), _written(prices.find_one(vendor, model))
    except NotFound:
        return url_for("prices.remove", vendor=vendor), {"model": model}


def _page(given: Mapping[str, str] | None = None, errors: Mapping[str, str] | None = None) -> str:
    """`given` is what was just sent and not taken; its row is open."""
    asked = request.args.get("vendor", "")
    shown = asked if asked in menu.TITLES else ""
    found = [price for price in prices.listed() if not shown or price.vendor == shown]
    rows = [(price, _written(price), prices.charged(price.microusd, who.settings())) for price in found]
    sent = (given["vendor"], given["model"]) if given else None
    return render_template(
        "admin/prices.html",
        rows=rows,
        given=given or {},
        errors=errors or {},
        open_row=sent if sent in [(price.vendor, price.model) for price in found] else None,
        titles=menu.TITLES,
        shown=shown,
        today=datetime.now(UTC).date(),
        markup=who.settings().price_markup,
    )


def _written(price: Price) -> dict[str, str]:
    """A price as the fields of its form."""
    return {
        "model": price.model,
        "unit": price.unit,
        "dollars": f"{price.dollars:f}",
        "per": str(price.per),
        "minimum": str(price.minimum),
        "as_of": price.as_of.isoformat(),
        "source": price.source,
        "note": price.note,
    }


def _change(form: Mapping[str, str]) -> Change:
    """Raises InvalidInput for what is no number or no day; the rest is for `prices` to judge."""
    wrong: dict[str, str] = {}
    try:
        dollars = Decimal(form.get("dollars", "").strip().replace(",", ".").removeprefix("$"))
    except InvalidOperation:
        dollars, wrong["dollars"] = Decimal(0), "Enter US dollars, such as 0.0045."
    try:
        as_of = date.fromisoformat(form.get("as_of", ""))
    except ValueError:
        as_of, wrong["as_of"] = date.min, "Enter the day on which you read this price."
    counts = {}
    for name in ("per", "minimum"):
        try:
            counts[name] = admin.whole(form, name)
        except InvalidInput as problem:
            wrong |= problem.fields
    if wrong:
        raise InvalidInput(wrong)
    words = {name: form.get(name, "").strip() for name in ("unit", "source", "note")}
    return Change(dollars=dollars, as_of=as_of, per=counts["per"], minimum=counts["minimum"], **words)
