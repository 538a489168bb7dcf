"""Vendors, for administrators: whose key is set, whether it works, who serves what, and what went wrong there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Flask, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web import choices
from novai_web.choices import Place, State
from novai_web.db import transaction
from novai_web.errors import NotFound, NovaiError
from novai_web.jobs import bills, breaker, complaints
from novai_web.jobs.bills import Bill
from novai_web.jobs.breaker import Circuit
from novai_web.jobs.complaints import VendorError
from novai_web.pages import admin, answers
from novai_web.tools import Tool
from novai_web.vendors import menu
from novai_web.web import limits, spreadsheets, who

bp = Blueprint("vendors", __name__, url_prefix="/admin/vendors")
bp.before_request(admin.only_for_administrators)

ERRORS_SHOWN = 10
PERIODS = (7, 30, 90, 365)
# What each engine makes, in the words of the menu.
ENGINES = {
    "training": "Training models",
    "pictures": "Pictures with a model",
    "diagram": "Character diagrams",
    "faces": "Swapping faces",
}
BILLS_SORTS: dict[str, Callable[[Bill], Any]] = {
    "vendor": lambda bill: (bill.vendor, bill.model),
    "runs": lambda bill: bill.runs,
    "billed": lambda bill: bill.microusd,
    "charged": lambda bill: bill.charged,
    "left": lambda bill: bill.margin_credits,
    "house": lambda bill: bill.house_microusd,
}
BILLS_HEAD = (
    "vendor",
    "model",
    "sandbox",
    "runs",
    "of unknown cost",
    "billed, US$",
    "charged, credits",
    "left over, credits",
    "runs paid by the house",
    "paid by the house, US$",
)
NOTES = {
    "picsi": "Picsi’s contract is not public: its address, its paths and what its words mean are settings "
    "(NOVAI_PICSI_…), which Picsi has to say. Until then only the sandbox has been asked.",
}


@dataclass(frozen=True)
class Standing:
    """How one vendor stands here."""

    name: str
    title: str
    state: State
    key_name: str
    engines: Sequence[str]
    circuit: Circuit
    errors: Sequence[VendorError]
    note: str = ""


@dataclass(frozen=True)
class Choice:
    """What may serve one engine, and what does. `chosen` is empty when nobody chose."""

    engine: str
    words: str
    chosen: str
    serving: str
    vendors: Sequence[Standing]


def register(app: Flask) -> None:
    app.jinja_env.globals["place_of"] = place_of


def place_of(tool: Tool) -> Place | None:
    """Where this tool spends its money; None: it works on this machine."""
    return choices.place(tool.engine, who.settings()) if tool.engine else None


@bp.get("", endpoint="list")
def listed() -> ResponseReturnValue:
    standings = _standings()
    return render_template(
        "admin/vendors.html",
        vendors=standings,
        choices=_choices(standings),
        sandbox_url=who.settings().sandbox_url,
        markup=who.settings().price_markup,
    )


@bp.post("/<vendor>/checks")
@limits.changes
def check(vendor: str) -> ResponseReturnValue:
    """Ask the vendor something that costs nothing, with the key that is set."""
    if vendor not in menu.TITLES:
        raise NotFound
    found, title = menu.named(vendor, who.settings()), menu.TITLES[vendor]
    try:
        if found is None:
            answers.toast(f"{title} has no key here: set {menu.KEY_NAMES[vendor]}, then start NOVAI again.", "failed")
        else:
            said = _of(title, found.check())
            answers.toast(f"In the sandbox: {said}" if found.is_sandbox else said)
    except NovaiError as wrong:
        answers.toast(_of(title, str(wrong)), "failed")
    return redirect(url_for("vendors.list"), 303)


def _of(title: str, said: str) -> str:
    """A sentence that names whom it is about."""
    return said if title in said else f"{title}: {said}"


@bp.post("/engines/<engine>")
def choose(engine: str) -> ResponseReturnValue:
    """Who serves this engine from now on; empty: the first that is there."""
    if engine not in menu.ENGINES:
        raise NotFound
    vendor = request.form.get("vendor", "")
    before = choices.made().get(engine, "")
    with transaction():
        if vendor:
            choices.choose(engine, vendor, by=who.account())
        else:
            choices.forget(engine)
    serving = menu.TITLES[choices.chosen(engine, who.settings())]
    said = f"{ENGINES.get(engine, engine)}: {serving} from now on. What is under way stays where it is."
    undo = url_for("vendors.choose", engine=engine) if before != vendor else None
    answers.toast(said, undo=undo, fields={"vendor": before})
    return redirect(url_for("vendors.list"), 303)


@bp.get("/bills", endpoint="bills")
def billed() -> ResponseReturnValue:
    """What the vendors billed against what people were charged."""
    query = _asked_bills()
    found = bills.of_last_days(query["days"])
    return render_template(
        "admin/bills.html",
        bills=_sorted_bills(found, query["sort"]),
        total=bills.total(found),
        sandbox=bills.total(found, is_sandbox=True),
        query=query,
        periods=PERIODS,
        titles=menu.TITLES,
        markup=who.settings().price_markup,
    )


@bp.get("/bills.csv", endpoint="bills_csv")
@limits.reads
def download_bills() -> ResponseReturnValue:
    query = _asked_bills()
    found = _sorted_bills(bills.of_last_days(query["days"]), query["sort"])
    rows = [_cells(bill) for bill in found]
    return spreadsheets.table(f"bills-{query['days']}-days.csv", BILLS_HEAD, rows)


def _cells(bill: Bill) -> Sequence[object]:
    house = (bill.house_runs, bill.house_microusd / 1e6)
    credits = (round(bill.charged, 2), round(bill.margin_credits, 2))
    sandbox = "yes" if bill.is_sandbox else "no"
    return (bill.vendor, bill.model, sandbox, bill.runs, bill.unknown, bill.microusd / 1e6, *credits, *house)


def _asked_bills() -> dict[str, Any]:
    """The period and the order, from the address."""
    asked, sort = answers.number("days"), request.args.get("sort", "")
    days = asked if asked in PERIODS else bills.DAYS
    return {"days": days, "sort": sort if sort.removeprefix("-") in BILLS_SORTS else "vendor"}


def _sorted_bills(found: Sequence[Bill], sort: str) -> list[Bill]:
    """What the sandbox billed was paid to nobody, and stays at the end."""
    key, falls = BILLS_SORTS[sort.removeprefix("-")], sort.startswith("-")
    real = [bill for bill in found if not bill.is_sandbox]
    return [*sorted(real, key=key, reverse=falls), *sorted((b for b in found if b.is_sandbox), key=key, reverse=falls)]


def _standings() -> list[Standing]:
    settings, circuits = who.settings(), breaker.standing()
    there = {vendor.name: vendor for vendor in menu.configured(settings)}
    found = []
    for name, title in menu.TITLES.items():
        vendor = there.get(name)
        found.append(
            Standing(
                name=name,
                title=title,
                state="missing" if vendor is None else "sandbox" if vendor.is_sandbox else "vendor",
                key_name=menu.KEY_NAMES[name],
                engines=[ENGINES.get(engine, engine) for engine, names in menu.ENGINES.items() if name in names],
                circuit=circuits.get(name, Circuit()),
                errors=complaints.newest(name, ERRORS_SHOWN),
                note=NOTES.get(name, ""),
            )
        )
    return found


def _choices(standings: Sequence[Standing]) -> list[Choice]:
    settings, made = who.settings(), choices.made()
    return [
        Choice(
            engine=engine,
            words=ENGINES.get(engine, engine),
            chosen=made.get(engine, ""),
            serving=choices.chosen(engine, settings),
            vendors=[standing for standing in standings if standing.name in names],
        )
        for engine, names in menu.ENGINES.items()
    ]
