"""Spending at a vendor, so that whatever dies on the way, one request is one paid run.

The intent is committed first. Then there is one POST, while the lease is young. Whatever became of it is found out by
the marker it carried: a run that may exist is looked for, and not started again before that is settled.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

from novai_web import failpoints
from novai_web.db import transaction
from novai_web.jobs import breaker, runs
from novai_web.jobs.backoff import SECONDS_MAX, backoff
from novai_web.jobs.runs import Run, Standing
from novai_web.jobs.waiting import Waiting, insist, spread
from novai_web.vendors import (
    Away,
    Done,
    Doubtful,
    Failed,
    File,
    NotStarted,
    Refused,
    Running,
    Unknown,
    Vendor,
    VendorFailed,
)

if TYPE_CHECKING:
    from novai_web.jobs.bench import Bench

POLL_SECONDS = 3.0
POLL_SECONDS_MAX = 15.0
AWAY_SECONDS = 10.0
POST_SECONDS_MAX = 30.0
UNSENT = ("submitting",)  # unless housekeeping has just found it in the vendor's list, whatever the vendor says
# Of the lease: what may have passed of it before a POST, and what the POST may take. Together they end within it.
LEASE_SHARE_BEFORE, LEASE_SHARE_OF_A_POST = 0.5, 0.4


def paid(bench: "Bench", vendor: Vendor, request: Mapping[str, Any], cost_credits: int) -> Done:
    """The result of this request, which is paid for once. Ends the slice (Waiting) as long as there is none.

    A step calls it again from its beginning each time. Raises Refused or VendorFailed when there will be no result;
    then nobody is charged.
    """
    spending = _Spending(bench, vendor, request, cost_credits)
    with transaction():
        standing = runs.standing(bench.job.id, spending.fingerprint)
    if standing and standing.run.state in ("done", "failed"):
        return _over(standing.run)
    if wait := breaker.seconds_to_wait(vendor.name):
        bench.progress(0)
        raise Waiting(wait)
    if standing and standing.run.state == "running":
        return spending.poll(standing)
    if standing and standing.run.state == "submitting":
        spending.settle_doubt(standing)
    return spending.start(standing)


def check_lease_is_young(bench: "Bench") -> None:
    """Nothing is sent when half of the lease is over: this worker may have been paused, and another be at it."""
    if bench.lease_age_seconds > LEASE_SHARE_BEFORE * bench.settings.lease_seconds:
        raise Waiting(1)


def _over(run: Run) -> Done:
    """What became of it, as it was written down: a step that is repeated hears the same again."""
    if run.state == "done" and run.result:
        return Done([File(**file) for file in run.result["files"]], run.cost_credits)
    raise (Refused if run.result else VendorFailed)(run.note or "")


class _Spending:
    """One slice's part in one request."""

    def __init__(self, bench: "Bench", vendor: Vendor, request: Mapping[str, Any], cost_credits: int) -> None:
        self.bench, self.vendor, self.request, self.cost_credits = bench, vendor, request, cost_credits
        self.fingerprint = runs.fingerprint(vendor.name, request)
        self.lease_seconds = bench.settings.lease_seconds

    def start(self, before: Standing | None) -> NoReturn:
        """The intent, the check of the time, the POST, the id: in this order, and a kill between two is made good."""
        if self.bench.job.doubtful_since:
            self._adopt_forgotten()
        run = self._intend(before)
        failpoints.hit("submit.after_intent")
        try:
            check_lease_is_young(self.bench)
        except Waiting:
            self._close(run, "not_started", seen_as=UNSENT, note="The worker was too slow to send it.")
            raise
        external_id = self._post(run, before)
        failpoints.hit("submit.after_post")
        self._save(run, external_id)
        failpoints.hit("submit.after_save")
        breaker.succeeded(self.vendor.name)
        raise Waiting(spread(POLL_SECONDS))

    def settle_doubt(self, standing: Standing) -> None:
        """It may have been started, so it is looked for. Returns when it is time to start another instead."""
        try:
            found = self.vendor.find(standing.run.marker)
        except Away as problem:
            self._away(problem)
        breaker.succeeded(self.vendor.name)
        if found:
            self._save(standing.run, found)
            raise Waiting(1)
        patience = self.lease_seconds / 2 + self.vendor.listed_within_seconds
        if self.vendor.is_dear or standing.abandoned:  # the house pays for one doubt about a request, not for two
            patience = max(patience, self.vendor.longest_run_seconds)
        left = patience - standing.age_seconds
        if left > 0:
            self.bench.progress(0)
            raise Waiting(min(left + 0.5, spread(min(POLL_SECONDS_MAX, max(POLL_SECONDS, left / 5)))))

    def poll(self, standing: Standing) -> Done:
        run = standing.run
        assert run.external_id is not None, "the table says so"
        try:
            seen = self.vendor.poll(run.external_id)
        except Away as problem:
            self._away(problem)
        breaker.succeeded(self.vendor.name)
        if isinstance(seen, Running):
            self._still_running(seen, standing)
        if isinstance(seen, Unknown):
            if standing.age_seconds < self.lease_seconds + self.vendor.listed_within_seconds:
                raise Waiting(spread(POLL_SECONDS))
            seen = Failed("It no longer knows what it was asked to make.")
        failpoints.hit("poll.after_terminal")
        if isinstance(seen, Failed):
            # A refusal is not billed; for what a failure may cost, nobody but the house is asked.
            refused = {"refused": True} if seen.is_refusal else None
            self._close(run, "failed", note=seen.words, result=refused, booked_to_house=not seen.is_refusal)
            raise (Refused if seen.is_refusal else VendorFailed)(seen.words)
        cost = run.cost_credits if seen.cost_credits is None else seen.cost_credits
        if not seen.files:
            words = "It finished and gave nothing back."
            self._close(run, "failed", note=words, cost_credits=cost, booked_to_house=True)
            raise VendorFailed(words)
        self._close(run, "done", cost_credits=cost, result={"files": [asdict(file) for file in seen.files]})
        return seen

    def _still_running(self, seen: Running, standing: Standing) -> NoReturn:
        self.bench.progress(0)
        if seen.progress is not None:
            self.bench.speak(seen.progress)
        raise Waiting(spread(min(POLL_SECONDS_MAX, max(POLL_SECONDS, standing.age_seconds / 5))))

    def _adopt_forgotten(self) -> None:
        """This database was restored from a backup: what was asked after that, only the vendor knows."""
        job, name = self.bench.job, self.vendor.name
        try:
            seen = self.vendor.recent()
        except Away as problem:
            self._away(problem)
        with transaction():
            found = runs.forgotten(job, name, self.fingerprint, seen)
        if found:
            adopted = found
            self.bench.write(lambda: runs.adopt(job, adopted, name, self.fingerprint, self.cost_credits))
            raise Waiting(1)

    def _intend(self, before: Standing | None) -> Run:
        """Commit what will be asked. A run in doubt is given up in the same transaction: never two are open."""
        begun: list[Run] = []

        def write() -> None:
            if before and before.run.state == "submitting" and not _give_up(before.run):
                raise Waiting(1)
            begun.append(runs.begin(self.bench.job, self.vendor.name, self.fingerprint, self.cost_credits))

        self.bench.write(write)
        return begun[0]

    def _post(self, run: Run, before: Standing | None) -> str:
        timeout = min(POST_SECONDS_MAX, LEASE_SHARE_OF_A_POST * self.lease_seconds)
        try:
            return self.vendor.start(self.request, run.marker, timeout)
        except NotStarted as busy:
            breaker.failed(self.vendor.name)
            self._close(run, "not_started", seen_as=UNSENT, note="The vendor was busy, or could not be reached.")
            floor = min(busy.retry_after or 0.0, SECONDS_MAX)
            seconds = backoff(1 + (before.not_started if before else 0), at_least=floor)
            raise Waiting(min(SECONDS_MAX, seconds)) from busy
        except Doubtful as doubt:
            breaker.failed(self.vendor.name)
            raise Waiting(spread(POLL_SECONDS)) from doubt
        except Refused as refusal:
            breaker.succeeded(self.vendor.name)
            self._close(run, "failed", seen_as=UNSENT, note=refusal.words, result={"refused": True})
            raise

    def _save(self, run: Run, external_id: str) -> None:
        """Nothing is worth more now than this id: it is written as soon as the database can be reached."""
        insist(lambda: runs.save(run.id, external_id), self.lease_seconds / 4)

    def _close(self, run: Run, state: str, **values: Any) -> None:
        def write() -> None:
            if not runs.close(run.id, state, **values):
                raise Waiting(1)  # housekeeping found something out just now; the next slice reads it

        self.bench.write(write)

    def _away(self, problem: Away) -> NoReturn:
        breaker.failed(self.vendor.name)
        self.bench.progress(0)
        raise Waiting(spread(AWAY_SECONDS)) from problem


def _give_up(run: Run) -> bool:
    """False: it was found just now."""
    note = "Nobody could say whether it had been started; another was started instead."
    return runs.close(run.id, "abandoned", seen_as=UNSENT, note=note)
