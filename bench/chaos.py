"""Kills, pauses, cuts and lies while people use NOVAI, and counts what that broke. Every count must be zero.

    python -m bench.chaos --jobs 200 --seconds 90 --seed 1     one run: a whole installation of its own
    python -m bench.chaos --tools --jobs 80                    the same with the paid tools, and all their vendors
    python -m bench.chaos --without fence                      one guard taken out: what is found then
    python -m bench.chaos --ablations                          all guards, each with it and without it
    python -m bench.chaos --seeds 3 --ablations --write        and the tables into docs/reliability.md

The installation is made in .bench/chaos and gone afterwards; nothing outside of it is touched.
"""

import argparse
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from bench import ablations, faults, makers, pages
from bench.ablations import SCENARIOS, Verdict
from bench.counting import Findings, percentile, runs_started_twice
from bench.crowd import Crowd
from bench.stage import LEASE_SECONDS, Stage, standing
from bench.variants import FOLDER, only_one, say
from novai_web.credits.invariants import INVARIANTS

PEOPLE = 4
AUDIT_SECONDS = 5
DRAIN_SECONDS = 720  # longer than the longest pause between two tries (five minutes), and than a second doubt (ten)
TOOLS_DRAIN_SECONDS = 900  # and than two answers that may still come, of a vendor whose answer takes five minutes


@dataclass
class Outcome:
    """What one run found, and how it went."""

    seed: int
    jobs: int
    seconds: float
    findings: Findings
    done: Counter[str]  # faults by kind
    taken: Counter[str]  # failpoints that somebody passed, by name and action
    states: Mapping[str, int]
    errors: Mapping[str, int]
    recovery_seconds: Sequence[float]
    wait_seconds: Sequence[float]
    drain_seconds: float
    polls: int
    audits: int
    vendor_runs: int
    vendor_billed: int
    started_twice: int
    booked: int
    problems: Sequence[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not any(self.findings.values()) and not self.problems


def main() -> None:
    given = arguments()
    with only_one(given.folder):
        if given.without:
            verdicts = ablations.judged(given.folder / "stage", given.seed, [given.without])
            print(pages.ablations(verdicts))
            sys.exit(0 if all(verdict.is_noticed for verdict in verdicts) else 1)
        outcomes = [chaos(given, given.seed + n) for n in range(given.seeds)]
        verdicts = ablations.judged(given.folder / "stage", given.seed) if given.ablations else []
    print(f"\n{pages.chaos(outcomes)}")
    if verdicts:
        print(f"\n{pages.ablations(verdicts)}")
    if given.write:
        pages.write("tools" if given.tools else "chaos", pages.chaos(outcomes))
        if verdicts:
            pages.write("ablations", pages.ablations(verdicts))
    sys.exit(0 if is_good(outcomes, verdicts) else 1)


def is_good(outcomes: Sequence[Outcome], verdicts: Sequence[Verdict]) -> bool:
    return all(outcome.is_clean for outcome in outcomes) and all(verdict.is_noticed for verdict in verdicts)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="submits, besides retries")
    parser.add_argument("--seconds", type=float, default=90, help="how long things go wrong")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and of the people")
    parser.add_argument("--seeds", type=int, default=1, help="so many runs, with this seed and the next ones")
    parser.add_argument("--tools", action="store_true", help="people use the paid tools, and vendors go wrong")
    parser.add_argument("--without", choices=[scenario.guard for scenario in SCENARIOS], metavar="GUARD")
    parser.add_argument("--ablations", action="store_true", help="then all guards, each with it and without it")
    parser.add_argument("--write", action="store_true", help="the tables into docs/reliability.md")
    parser.add_argument("--folder", type=Path, default=FOLDER / "chaos", help="for the installation")
    return parser.parse_args()


def chaos(given: argparse.Namespace, seed: int) -> Outcome:
    """One run: people and faults at once, then calm, then the count."""
    rng = random.Random(seed)
    with standing(given.folder / "stage", seed, with_tools=given.tools) as stage:
        troubles = len(stage.hands.troubles)
        planned = faults.plan(given.seconds, LEASE_SECONDS, rng, power_cut=given.seconds >= 60, troubles=troubles)
        say(f"seed {seed}: {given.jobs} jobs, {len(planned)} faults in {given.seconds:g} s")
        people = stage.people(PEOPLE)
        making = [partial(makers.make, makers.furnished(person)) for person in people] if given.tools else []
        crowd = Crowd(people, given.jobs, given.seconds, seed, making=making)
        auditor, bells = Auditor(stage), makers.FalseBells(people[0], seed)
        administrator = makers.FickleAdministrator(stage.database, seed)
        for one in (crowd, auditor, bells, administrator):
            one.start()
        stage.hands.carry_out(planned)
        crowd.finish_acting()
        stage.hands.stop_all()
        bells.stop()
        administrator.stop()
        say("  calm; waiting for the rest")
        drained = stage.settle(TOOLS_DRAIN_SECONDS if given.tools else DRAIN_SECONDS)
        crowd.stop_watching()
        auditor.stop()
        outcome = _outcome(stage, auditor, seed, given, drained, bells.believed)
        if not outcome.is_clean:
            _keep_log(stage, given.folder / f"seed-{seed}.log")
        return outcome


def _keep_log(stage: Stage, path: Path) -> None:
    """What the installation said, before its power cut too: whoever looks for the reason needs it."""
    log = stage.installation.log
    parts = [part.read_bytes() for part in (log.with_suffix(".before"), log) if part.exists()]
    path.write_bytes(b"".join(parts))
    say(f"  its log: {path}")


def _outcome(
    stage: Stage, auditor: "Auditor", seed: int, given: argparse.Namespace, drained: float, believed: list[str]
) -> Outcome:
    looked = {**stage.look(), "invariants broken meanwhile": auditor.found}
    findings = {**looked, "false doorbells believed": believed}
    bill = stage.bill()
    with stage.database() as connection:
        doubled = runs_started_twice(bill, connection)
    jobs = stage.rows("SELECT state, error_code, extract(epoch FROM started_at - created_at) AS waited FROM jobs")
    outcome = Outcome(
        seed=seed,
        jobs=len(jobs),
        seconds=given.seconds,
        findings=findings,
        done=stage.hands.done,
        taken=stage.hands.taken,
        states=Counter(job.state for job in jobs),
        errors=Counter(job.error_code for job in jobs if job.state == "failed"),
        recovery_seconds=[row.seconds for row in stage.rows("SELECT seconds FROM bench.takeovers")],
        wait_seconds=[float(job.waited) for job in jobs if job.waited is not None],
        drain_seconds=drained,
        polls=stage.diary.polls,
        audits=auditor.count,
        vendor_runs=len(bill),
        vendor_billed=sum(run.is_billed for run in bill),
        started_twice=len(doubled),
        booked=stage.rows("SELECT count(*) AS booked FROM runs WHERE booked_to_house")[0].booked,
        problems=stage.diary.gave_up,
    )
    for name, items in outcome.findings.items():
        say(f"  {name}: {len(items)}" + "".join(f"\n      {item}" for item in items[:20]))
    for problem in outcome.problems:
        say(f"  somebody gave up: {problem}")
    say(f"  recovery p95 {percentile(outcome.recovery_seconds, 0.95):.1f} s of {len(outcome.recovery_seconds)}")
    return outcome


class Auditor:
    """Asks every few seconds, while things go wrong, whether all invariants hold at this moment."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.found: list[str] = []
        self.count = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._audit, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _audit(self) -> None:
        while not self._done.wait(AUDIT_SECONDS):
            started = time.monotonic()
            try:
                with self.stage.database() as connection:
                    for name, query in INVARIANTS.items():
                        rows = connection.execute(text(query)).all()
                        self.found += [f"{name}: {row}" for row in rows]
            except (SQLAlchemyError, OSError):  # the database was killed: asked again later
                continue
            self.count += 1
            self._done.wait(max(0.0, time.monotonic() - started))


if __name__ == "__main__":
    main()
