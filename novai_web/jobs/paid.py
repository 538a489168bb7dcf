"""Spending at a vendor, so that whatever dies on the way, one request is one paid run.

The intent is committed first. Then there is one POST, while the lease is young. Whatever became of it is found out by
the marker it carried: a run that may exist is looked for, and not started again before that is settled.
"""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import update

from novai_web import failpoints, prices
from novai_web.db import session, transaction
from novai_web.jobs import breaker, contents, runs
from novai_web.jobs.backoff import SECONDS_MAX, backoff
from novai_web.jobs.complaints import complain
from novai_web.jobs.models import Job
from novai_web.jobs.runs import Asked, Run, Standing
from novai_web.jobs.waiting import Waiting, insist, spread
from novai_web.vendors import (
    AccountTrouble,
    Away,
    Done,
    Doubtful,
    Failed,
    File,
    Finished,
    NotStarted,
    Refused,
    Running,
    Unknown,
    VendorFailed,
    plain,
)

if TYPE_CHECKING:
    from novai_web.jobs.bench import Bench

POLL_SECONDS = 3.0
POLL_SECONDS_MAX = 15.0
AWAY_SECONDS = 10.0
POST_SECONDS_MAX = 30.0
FREE_TRIES_MAX = 3  # of what fails at the vendor's side and is not billed
DOUBTS_MAX = 3  # about one request, where each of them is the house's cost
UNKNOWN_MAX = 8  # so often in a row a vendor must say that it has no such run: somebody else may have said it
UNSAID = "Nobody could say whether it had begun, three times in a row."
UNSENT = ("submitting",)  # unless housekeeping has just found it in the vendor's list, whatever the vendor says
# Of the lease: what may have passed of it before a POST, and what the POST may take. Together they end within it.
LEASE_SHARE_BEFORE, LEASE_SHARE_OF_A_POST = 0.5, 0.4


def paid(bench: "Bench", asked: Asked) -> Done:
    """The result of this request, which is paid for once. Ends the slice (Waiting) as long as there is none.

    A step calls it again from its beginning each time. Raises Refused or VendorFailed when there will be no result,
    KeyRejected or OutOfMoney when nothing was started; then nobody is charged.
    """
    spending = _Spending(bench, asked)
    with transaction():
        standing = runs.standing(bench.job.id, asked.fingerprint)
    if standing and standing.run.state in ("done", "failed") and not _is_tried_again(standing.run):
        return _over(standing.run)
    if wait := breaker.seconds_to_wait(asked.vendor.name):
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


def _is_tried_again(run: Run) -> bool:
    """It failed at the vendor's side, costs nobody anything, and was not the last try."""
    return run.state == "failed" and bool(run.result and run.result.get("again"))


def _over(run: Run) -> Done:
    """What became of it, as it was written down: a step that is repeated hears the same again."""
    if run.state == "done" and run.result:
        files = [File(**file) for file in run.result["files"]]
        return Done(files, run.cost_credits, run.external_id or "", run.cost_microusd)
    raise (Refused if run.result and run.result.get("refused") else VendorFailed)(run.note or "")


class _Spending:
    """One slice's part in one request."""

    def __init__(self, bench: "Bench", asked: Asked) -> None:
        self.bench, self.asked, self.vendor = bench, asked, asked.vendor
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
        answer = self._post(run, before)
        failpoints.hit("submit.after_post")
        if isinstance(answer, Finished):
            self._take(run, contents.keep(self.bench.store, run, answer, self.bench.folder))
        elif not self._save(run, answer):
            self._complain("vendor_doubt", "It gave this run an id that another run has.")
        failpoints.hit("submit.after_save")
        breaker.succeeded(self.vendor.name)
        raise Waiting(0 if isinstance(answer, Finished) else spread(POLL_SECONDS))

    def settle_doubt(self, standing: Standing) -> None:
        """It may have been started, so it is looked for. Returns when it is time to start another instead."""
        if self.vendor.start_seconds and (kept := contents.kept(self.bench.store, standing.run)):
            self._take(standing.run, kept)
            raise Waiting(0)
        try:
            found = self.vendor.find(standing.run.marker)
        except Away as problem:
            self._away(problem)
        breaker.succeeded(self.vendor.name)
        if found and self._save(standing.run, found):
            raise Waiting(1)
        patience = self.lease_seconds / 2 + max(self.vendor.listed_within_seconds, self.vendor.start_seconds or 0.0)
        if self.vendor.is_dear or standing.abandoned:  # the house pays for one doubt about a request, not for two
            patience = max(patience, self.vendor.longest_run_seconds)
        left = patience - standing.age_seconds
        if left > 0:
            self.bench.progress(0)
            raise Waiting(min(left + 0.5, spread(min(POLL_SECONDS_MAX, max(POLL_SECONDS, left / 5)))))
        if not self.vendor.has_list and standing.abandoned + 1 >= DOUBTS_MAX:
            self._complain(VendorFailed.code, UNSAID)
            self._close(standing.run, "failed", seen_as=UNSENT, note=UNSAID, booked_to_house=True)
            raise VendorFailed(UNSAID)

    def poll(self, standing: Standing) -> Done:
        run = standing.run
        assert run.external_id is not None, "the table says so"
        try:
            seen = self.vendor.poll(run.external_id)
        except Away as problem:
            self._away(problem)
        breaker.succeeded(self.vendor.name)
        if isinstance(seen, Unknown):
            seen = self._unknown(standing)
        elif self.bench.notes.get(_unknown_to(run)):
            self.bench.note(_unknown_to(run), 0)
        if isinstance(seen, Running):
            self._still_running(seen, standing)
        failpoints.hit("poll.after_terminal")
        if isinstance(seen, Failed):
            self._failed(standing, seen)
        cost = self._cost_microusd(run, seen)
        credits = run.cost_credits if seen.cost_credits is None else seen.cost_credits
        costs = {"cost_credits": credits, "cost_microusd": cost}
        if not seen.files:
            words = "It finished and gave nothing back."
            self._complain(VendorFailed.code, words)
            self._close(run, "failed", note=words, booked_to_house=True, **costs)
            raise VendorFailed(words)
        files = [_kept(file) for file in seen.files]
        self._close(run, "done", result={"files": [asdict(file) for file in files]}, **costs)
        return replace(seen, files=files, external_id=run.external_id, cost_credits=credits, cost_microusd=cost)

    def _unknown(self, standing: Standing) -> Failed:
        """Believed of a run that should be there only when it has been said again and again."""
        if standing.age_seconds < self.lease_seconds + self.vendor.listed_within_seconds:
            raise Waiting(spread(POLL_SECONDS))
        name = _unknown_to(standing.run)
        times = int(self.bench.notes.get(name, 0)) + 1
        if times < UNKNOWN_MAX:
            self.bench.note(name, times)
            raise Waiting(spread(POLL_SECONDS_MAX))
        return Failed("It no longer knows what it was asked to make.")

    def _failed(self, standing: Standing, seen: Failed) -> NoReturn:
        """A refusal is not billed unless the vendor says so; for what a failure may cost, only the house is asked."""
        is_billed = not seen.is_refusal if seen.is_billed is None else seen.is_billed
        again = not seen.is_refusal and not is_billed and standing.failed + 1 < FREE_TRIES_MAX
        result = {"refused": True} if seen.is_refusal else {"again": True} if again else None
        failure = (Refused if seen.is_refusal else VendorFailed)(seen.words)
        self._complain(failure.code, failure.words)
        self._close(standing.run, "failed", note=failure.words, result=result, booked_to_house=is_billed)
        if again:
            raise Waiting(backoff(standing.failed + 1))
        raise failure

    def _cost_microusd(self, run: Run, seen: Done) -> int | None:
        """What the vendor says; or what its price says of the units that it counts; or what was expected."""
        if seen.cost_microusd is not None:
            return seen.cost_microusd
        if seen.units is not None:
            try:
                return prices.cost_microusd(run.vendor, run.model, seen.units)
            except prices.NoPrice:
                pass  # somebody took it away meanwhile
        return run.cost_microusd

    def _still_running(self, seen: Running, standing: Standing) -> NoReturn:
        self.bench.progress(0)
        if seen.progress is not None:
            self.bench.speak(seen.progress)
        raise Waiting(spread(min(POLL_SECONDS_MAX, max(POLL_SECONDS, standing.age_seconds / 5))))

    def _adopt_forgotten(self) -> None:
        """This database was restored from a backup: what was asked after that, only the vendor knows."""
        job, asked = self.bench.job, self.asked
        try:
            seen = self.vendor.recent()
        except Away as problem:
            self._away(problem)
        with transaction():
            found = runs.forgotten(job, asked.vendor.name, asked.fingerprint, seen)
        if found:
            adopted = found
            self.bench.write(lambda: runs.adopt(job, adopted, asked))
            raise Waiting(1)

    def _intend(self, before: Standing | None) -> Run:
        """Commit what will be asked. A run in doubt is given up in the same transaction: never two are open."""
        begun: list[Run] = []

        def write() -> None:
            if before and before.run.state == "submitting" and not self._give_up(before.run):
                raise Waiting(1)
            begun.append(runs.begin(self.bench.job, self.asked))
            if self.vendor.is_sandbox:
                mine = update(Job).where(Job.id == self.bench.job.id).values(is_sandbox=True)
                session.execute(mine.execution_options(synchronize_session=False))

        self.bench.write(write)
        return begun[0]

    def _post(self, run: Run, before: Standing | None) -> str | Finished:
        """What the vendor answers. One whose answer is the result may take its time: the heartbeat keeps the lease."""
        timeout = self.vendor.start_seconds or min(POST_SECONDS_MAX, LEASE_SHARE_OF_A_POST * self.lease_seconds)
        try:
            return self.vendor.start(self.asked.request, run.marker, timeout)
        except NotStarted as busy:
            breaker.failed(self.vendor.name)
            self._complain("vendor_busy", "It was busy, or could not be reached.")
            self._close(run, "not_started", seen_as=UNSENT, note="The vendor was busy, or could not be reached.")
            floor = min(busy.retry_after or 0.0, SECONDS_MAX)
            seconds = backoff(1 + (before.not_started if before else 0), at_least=floor)
            raise Waiting(min(SECONDS_MAX, seconds)) from busy
        except Doubtful as doubt:
            breaker.failed(self.vendor.name)
            self._complain("vendor_doubt", f"Nobody can say whether it began: {doubt}")
            raise Waiting(spread(POLL_SECONDS)) from doubt
        except (Refused, VendorFailed, AccountTrouble) as final:
            breaker.succeeded(self.vendor.name)
            self._end_unstarted(run, final)
            raise

    def _end_unstarted(self, run: Run, final: Refused | VendorFailed | AccountTrouble) -> None:
        """It said no, or was over with its answer and had nothing to give."""
        if isinstance(final, AccountTrouble):
            self._complain(final.code, str(final))
            return self._close(run, "not_started", seen_as=UNSENT, note=str(final))
        self._complain(final.code, final.words)
        result = {"refused": True} if isinstance(final, Refused) else None
        is_billed = isinstance(final, VendorFailed)
        return self._close(run, "failed", seen_as=UNSENT, note=final.words, result=result, booked_to_house=is_billed)

    def _take(self, run: Run, done: Done) -> None:
        """The result is in the store; now the database is told, as soon as it can be reached."""
        result = {"files": [asdict(file) for file in done.files]}
        cost = done.cost_microusd
        insist(lambda: runs.take(run, result, done.external_id, cost), self.lease_seconds / 4)

    def _save(self, run: Run, external_id: str) -> bool:
        """Nothing is worth more now than this id: it is written as soon as the database can be reached. False: another
        run has it, so that it is not this one's, whatever the vendor says."""
        is_ours: list[bool] = []
        insist(lambda: is_ours.append(runs.save(run.id, external_id)), self.lease_seconds / 4)
        return is_ours[-1]

    def _close(self, run: Run, state: str, **values: Any) -> None:
        def write() -> None:
            if not runs.close(run.id, state, **values):
                raise Waiting(1)  # housekeeping found something out just now; the next slice reads it

        self.bench.write(write)

    def _away(self, problem: Away) -> NoReturn:
        """Whoever rejects our key in the middle of a run is there; what runs is waited for until somebody mends it."""
        is_there = isinstance(problem.__cause__, AccountTrouble)
        (breaker.succeeded if is_there else breaker.failed)(self.vendor.name)
        self._complain(*said_by(problem))
        self.bench.progress(0)
        raise Waiting(spread(AWAY_SECONDS)) from problem

    def _give_up(self, run: Run) -> bool:
        """False: it was found just now. A vendor that lists nothing may bill it, and nobody would ever know."""
        note = "Nobody could say whether it had been started; another was started instead."
        booked = not self.vendor.has_list
        return runs.close(run.id, "abandoned", seen_as=UNSENT, note=note, booked_to_house=booked)

    def _complain(self, code: str, words: str) -> None:
        complain(self.vendor.name, code, words, self.bench.job.id, self.bench.settings)


def _kept(file: File) -> File:
    """As a database can keep it."""
    return File(plain(file.url), plain(file.name), plain(file.mime), plain(file.part))


def _unknown_to(run: Run) -> str:
    return f"unknown run {run.n}"


def said_by(problem: Away) -> tuple[str, str]:
    """The code and the words for administrators when a vendor is away, or does not let us in."""
    if isinstance(problem.__cause__, AccountTrouble):
        return problem.__cause__.code, str(problem.__cause__)
    return problem.code, f"It did not answer, or not in its own words: {problem.__cause__ or 'no reason'}"
