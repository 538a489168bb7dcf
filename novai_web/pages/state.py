"""The state of the installation, for administrators: what needs somebody, queue, processes, vendors, faults, room."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from flask import Blueprint, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web import faults, metrics, presence, tools
from novai_web.credits import people
from novai_web.db import session
from novai_web.faults import Fault
from novai_web.jobs import Job, breaker
from novai_web.jobs.breaker import Circuit
from novai_web.operations import doctor, state
from novai_web.operations.doctor import Finding
from novai_web.operations.state import Disk, Jobs
from novai_web.pages import admin, answers
from novai_web.pages.credits import warning
from novai_web.pages.wording import duration, number, plural, size
from novai_web.presence import Process
from novai_web.vendors import menu
from novai_web.web import limits, who

bp = Blueprint("state", __name__, url_prefix="/admin/state")
bp.before_request(admin.only_for_administrators)

# From so many failures and such a share of what ended on, somebody should look; and from such a share of the queue.
FAILED_MIN, FAILED_SHARE, QUEUE_SHARE = 5, 0.2, 0.8
ALARM_SECONDS = 15
PROCESSES = {
    "worker-cpu": "Worker for renders",
    "worker-io": "Worker for vendors and files",
    "dispatcher": "Dispatcher",
}
# What each check is called on the page, in the order in which it is read.
CHECKS = {
    "database": "Database",
    "redis": "Redis",
    "workers": "Workers and dispatcher",
    "queue": "Queue",
    "storage": "File storage",
    "disk": "Disk",
    "media": "Media libraries",
    "credentials": "Content Credentials",
    "clock": "Clock",
    "settings": "Settings",
    "secret key": "Secret key",
}


@dataclass(frozen=True)
class Signal:
    """One thing that needs somebody: how serious it is, what is wrong, what to do, and where."""

    tone: str
    problem: str
    remedy: str
    where: str = ""
    link: str = ""


@dataclass(frozen=True)
class Vendor:
    """How one vendor stands with us. `errors` are those of the last day."""

    name: str
    title: str
    is_there: bool
    is_sandbox: bool
    circuit: Circuit
    errors: int


@bp.get("")
def show() -> ResponseReturnValue:
    return render_template("admin/state.html", **_everything())


@bp.get("/now")
@limits.reads
def now() -> ResponseReturnValue:
    """What the page shows, anew, for a page that stays open."""
    return render_template("admin/_state.html", **_everything())


@bp.get("/alarm")
@limits.reads
def alarm() -> ResponseReturnValue:
    """The mark on an administrator's menu, on whatever page they are, while something needs them."""
    return render_template("admin/_alarm.html", count=_count_of_signals())


@bp.get("/lookup")
def look_up() -> ResponseReturnValue:
    """The way from what a person quotes, the number of a job or the reference of a fault, to where it is explained."""
    asked = request.args.get("q", "").strip().removeprefix("#")
    for reference in (fault.reference for fault in _faults()):
        if asked and reference.startswith(asked):
            return redirect(url_for("state.show", _anchor=f"fault-{reference}"), 303)
    if asked.isascii() and asked.isdecimal() and len(asked) <= 18 and (job := session.get(Job, int(asked))):
        return redirect(url_for("admin.account", account_id=job.account_id, job=job.id, _anchor=f"job-{job.id}"), 303)
    told = f"No job and no fault is called “{asked[:60]}”." if asked else "Enter the number of a job, or a reference."
    answers.toast(f"{told} A job’s number is in its address; a reference is in small type under an error.", "info")
    return redirect(url_for("state.show"), 303)


def _count_of_signals() -> int:
    """Looked at once in a while by each web process, however many pages are open."""
    kept: tuple[float, int] | None = current_app.extensions.get("novai_alarm")
    if kept is None or time.monotonic() - kept[0] > ALARM_SECONDS:
        signals = _everything()["signals"]
        kept = current_app.extensions["novai_alarm"] = (time.monotonic(), len(signals))
    return kept[1]


def _everything() -> dict[str, Any]:
    settings = who.settings()
    found = {each.name: each for each in doctor.examine(settings, doctor.QUICK)}
    jobs, disk, vendors = state.jobs(), state.disk(settings, who.store()), _vendors()
    processes, broken = _processes(), metrics.ledger_breaks(settings)
    signals = [
        *_of_checks(found, disk),
        *_of_money(broken),
        *_of_vendors(vendors, jobs),
        *_of_processes(processes),
        *_of_jobs(jobs, is_told=bool(found["queue"].trouble)),
        *_of_disk(disk),
    ]
    return {
        "signals": sorted(signals, key=lambda signal: signal.tone != "failed"),
        "checks": [(title, found[name]) for name, title in CHECKS.items()],
        "jobs": jobs,
        "disk": disk,
        "vendors": vendors,
        "processes": processes,
        "process_words": PROCESSES,
        "faults": _faults(),
        "tool_called": tools.find,
        "hours": state.HOURS,
    }


def _of_checks(found: Mapping[str, Finding], disk: Disk) -> Iterator[Signal]:
    for name, each in found.items():
        if each.trouble and not (name == "disk" and disk.is_full):  # which is told with what would give room
            yield Signal("failed", each.trouble.problem, each.trouble.remedy)


def _of_money(broken: dict[str, int] | None) -> Iterator[Signal]:
    if rows := sum((broken or {}).values()):
        yield Signal(
            "failed", f"{plural(rows, 'row')} of the books do not add up.", "Run `flask fsck`, which names them."
        )
    today = people.totals(who.settings())
    if tone := warning(today.spent_today, today.daily_limit):
        said = f"{number(today.spent_today)} of the {number(today.daily_limit)} credits of today are spent or held."
        remedy = "At the limit nothing that costs credits starts before midnight UTC. DAILY_COST_LIMIT_CENTS raises it."
        yield Signal(tone, said, remedy, "Everyone’s credits", url_for("admin.credits"))


def _of_vendors(vendors: Sequence[Vendor], jobs: Jobs) -> Iterator[Signal]:
    for vendor in vendors:
        there = url_for("vendors.list", _anchor=f"vendor-{vendor.name}")
        if vendor.circuit.failures >= breaker.FAILURES_MAX:
            left = vendor.circuit.open_seconds
            rest = f"nobody asks it for {duration(left)}" if left else "one worker tries whether it works again"
            said = f"{vendor.title} failed {vendor.circuit.failures} times in a row; {rest}."
            remedy = (
                "Its jobs wait and go on by themselves. Read its last errors, or choose another vendor for new ones."
            )
            yield Signal("failed", said, remedy, "Its errors", there)
    for each in jobs.failed:
        if each.code in ("vendor_key", "vendor_money", "no_price"):
            where = (
                ("Prices", url_for("prices.list")) if each.code == "no_price" else ("Vendors", url_for("vendors.list"))
            )
            remedy = "They cost nobody anything. Their owners can retry them once this is mended."
            said = f"{plural(each.jobs, 'job')} of {tools.find(each.tool).title} ended: {each.words}"
            yield Signal("failed", said, remedy, *where)


def _of_processes(processes: Sequence[Process]) -> Iterator[Signal]:
    for each in processes:
        if not each.is_present:
            who_it_is = f"{PROCESSES.get(each.kind, each.kind)} {each.pid} on {each.host}"
            said = f"{who_it_is} fell silent {duration(each.silent_seconds)} ago."
            yield Signal(
                "waiting", said, "Look at that machine, and start it again; its jobs are taken over meanwhile."
            )


def _of_jobs(jobs: Jobs, *, is_told: bool) -> Iterator[Signal]:
    if jobs.oldest_seconds > state.LATE_SECONDS and not is_told:
        running = sum(lane.running for lane in jobs.lanes)
        said = (
            f"{plural(jobs.due_count, 'job')} could go on; the oldest has waited for {duration(jobs.oldest_seconds)}."
        )
        at_it = f"Workers are at {number(running)}; more workers would be sooner done."
        yield Signal(
            "waiting", said, at_it if running else "No worker takes them: see under Processes whether one is there."
        )
    ended = jobs.done_count + jobs.failed_count
    if jobs.failed_count >= FAILED_MIN and jobs.failed_count > FAILED_SHARE * ended:
        said = f"{number(jobs.failed_count)} of {plural(ended, 'job')} of the last {state.HOURS} hours failed."
        yield Signal("waiting", said, "The table of failures says why.", "Failures", "#failures")
    most = who.settings().queued_jobs_max
    if jobs.open_count > QUEUE_SHARE * most:
        said = f"{number(jobs.open_count)} of {number(most)} places in the queue are taken."
        yield Signal("waiting", said, "When it is full, nothing new is started. Start more workers.")


def _of_disk(disk: Disk) -> Iterator[Signal]:
    if disk.is_nearly_full:
        refused = "Uploads and new jobs are refused" if disk.is_full else "Uploads and new jobs will be refused"
        said = f"{size(disk.free)} of the disk are free. {refused} below {size(disk.free_min)}."
        room = f"The trash holds {size(disk.trash)}, results that expire {size(disk.expiring)}; both go by themselves."
        remedy = f"{room} Whoever empties their trash gives room at once."
        yield Signal("failed" if disk.is_full else "waiting", said, remedy, "Disk", "#disk")


def _vendors() -> list[Vendor]:
    there = {vendor.name: vendor for vendor in menu.configured(who.settings())}
    circuits, errors = breaker.standing(), state.vendor_errors()
    return [
        Vendor(
            name=name,
            title=title,
            is_there=name in there,
            is_sandbox=name in there and there[name].is_sandbox,
            circuit=circuits.get(name, Circuit()),
            errors=errors.get(name, 0),
        )
        for name, title in menu.TITLES.items()
    ]


def _processes() -> Sequence[Process]:
    """None are known while Redis is away, which the checks say."""
    try:
        return presence.processes(who.settings())
    except (redis.RedisError, ValueError):
        return []


def _faults() -> Sequence[Fault]:
    try:
        return faults.newest(who.settings())
    except (redis.RedisError, ValueError):
        return []
