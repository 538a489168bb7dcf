"""Would the drills notice? For each guard a scenario that breaks something without it, and nothing with it.

`without/sitecustomize.py` says what is taken out.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench import counting
from bench.counting import Findings
from bench.crowd import Person
from bench.stage import LEASE_SECONDS, Stage, standing, wait
from bench.variants import say
from novai_web import failpoints

PAUSE = f"pause {LEASE_SECONDS * 2}"
REACHED_SECONDS = 40
DRAIN_SECONDS = 30


@dataclass(frozen=True)
class Scenario:
    """What is done to an installation, and what is then found broken if the guard is gone."""

    guard: str
    taken_out: str
    story: str
    act: Callable[[Stage, Person], None]
    more: Callable[[Stage], Findings] = lambda stage: {}
    patience_seconds: float = DRAIN_SECONDS


@dataclass(frozen=True)
class Verdict:
    """How a scenario went with its guard, and without."""

    scenario: Scenario
    with_guard: Findings
    without_guard: Findings
    seconds: float  # of the run without

    @property
    def is_noticed(self) -> bool:
        return not any(self.with_guard.values()) and any(self.without_guard.values())


def pause_past_the_lease(stage: Stage, person: Person) -> None:
    """A worker stands still right after its claim; another one is in the middle of the job when it wakes."""
    arm(stage, "claim.after", PAUSE)
    submit(person, copies=3, per_job=3, credits=2, seconds=4.0)
    reached(stage, "claim.after")
    time.sleep(2 * LEASE_SECONDS)  # it must have woken before anybody looks


def not_succeeded(stage: Stage) -> Findings:
    """For a scenario in which nothing is asked for that may fail."""
    bad = stage.rows("SELECT id, state, error FROM jobs WHERE title = 'Echo' AND state <> 'succeeded' AND price = 6")
    return {"jobs that failed for no reason": [f"job {row.id}: {row.state}, {row.error}" for row in bad]}


def cancel_what_is_over(stage: Stage, person: Person) -> None:
    """A page that is out of date: its Cancel is pressed for a job that has succeeded, while another is running."""
    job = submit(person, copies=1, credits=5)
    wait(lambda: state(person, job) == "succeeded", REACHED_SECONDS)
    submit(person, copies=1, credits=50, seconds=3.0)
    with person.client() as http:
        http.delete(f"/jobs/{job}")


def lose_the_bells(stage: Stage, person: Person) -> None:
    """The web process dies between the commit and the bell, and a worker right after its claim."""
    arm(stage, "create.after_commit", "kill")
    submit(person, copies=1, credits=1)
    reached(stage, "create.after_commit")
    arm(stage, "claim.after", "kill")
    submit(person, copies=1, credits=1)
    wait(lambda: not (stage.hands.folder / "claim.after").exists(), LEASE_SECONDS * 2)


def pause_before_the_post(stage: Stage, person: Person) -> None:
    """A worker stands still between the intent and its POST, until another one has started the run in its place."""
    long = LEASE_SECONDS * 6
    arm(stage, "submit.after_intent", f"pause {long}")
    submit(person, copies=1, credits=1, vendor=True, vendor_seconds=2.0)
    reached(stage, "submit.after_intent")
    time.sleep(long + LEASE_SECONDS)


def die_with_a_run_that_nobody_knows(stage: Stage, person: Person) -> None:
    """The worker dies right after its POST, and so do those that take the job over, before they look: it fails."""
    arm(stage, "submit.after_post", "kill")
    job = submit(person, copies=1, credits=1, vendor=True, vendor_seconds=300)
    reached(stage, "submit.after_post")
    for _ in range(2):
        arm(stage, "claim.after", "kill")
        reached(stage, "claim.after")
    wait(lambda: state(person, job) == "failed", REACHED_SECONDS)


def started_twice(stage: Stage) -> Findings:
    with stage.database() as connection:
        return {"jobs for which a run was started twice": counting.runs_started_twice(stage.bill(), connection)}


SCENARIOS = [
    Scenario(
        "fence",
        "the token in every write of a slice",
        "pause past the lease right after the claim",
        pause_past_the_lease,
        more=not_succeeded,
    ),
    Scenario(
        "settle-once",
        "the looks of door, end and hold, and the entries' unique keys",
        "cancel what has succeeded",
        cancel_what_is_over,
    ),
    Scenario("re-ring", "the dispatcher's bells", "kill between commit and bell, and after a claim", lose_the_bells),
    Scenario(
        "pre-post-deadline",
        "the look at the lease's age before a POST",
        "pause between intent and POST, until another worker has started the run",
        pause_before_the_post,
        more=started_twice,
    ),
    Scenario(
        "reconcile",
        "housekeeping's look at the vendor's list",
        "kill after the POST, then twice after the claim, so that the job fails",
        die_with_a_run_that_nobody_knows,
        patience_seconds=15,
    ),
]


def run_without(scenario: Scenario, folder: Path, seed: int) -> tuple[Findings, float]:
    """What is broken on an installation without this guard, and how long it took to find out."""
    with standing(folder, seed, without=scenario.guard) as stage:
        (person,) = stage.people(1)
        start = time.monotonic()
        return played(scenario, stage, person), time.monotonic() - start


def run_with(scenarios: Iterable[Scenario], folder: Path, seed: int) -> list[Findings]:
    """What is broken after each, one after the other, on an installation that has all its guards."""
    with standing(folder, seed) as stage:
        (person,) = stage.people(1)
        return [played(scenario, stage, person) for scenario in scenarios]


def played(scenario: Scenario, stage: Stage, person: Person) -> Findings:
    scenario.act(stage, person)
    stage.settle(scenario.patience_seconds)
    found = {**stage.look(), **scenario.more(stage)}
    return {name: items for name, items in found.items() if items}


def judged(folder: Path, seed: int, guards: Collection[str] = ()) -> list[Verdict]:
    """Each scenario where all guards are, and where its own is gone."""
    scenarios = [scenario for scenario in SCENARIOS if not guards or scenario.guard in guards]
    say("all guards there")
    whole = run_with(scenarios, folder, seed)
    verdicts = []
    for scenario, with_guard in zip(scenarios, whole, strict=True):
        say(f"without {scenario.guard}")
        without_guard, seconds = run_without(scenario, folder, seed)
        verdicts.append(Verdict(scenario, with_guard, without_guard, seconds))
        say(f"  with it {with_guard}\n  without it {without_guard}")
    return verdicts


def arm(stage: Stage, name: str, action: str) -> None:
    failpoints.arm(stage.hands.folder, name, action)


def reached(stage: Stage, name: str) -> None:
    """A scenario whose failpoint nobody passes shows nothing."""
    if not wait(lambda: not (stage.hands.folder / name).exists(), REACHED_SECONDS):
        raise SystemExit(f"Nobody came to {name}.")


def submit(person: Person, **given: Any) -> int:
    """The id of its one job. Asked again while the web process that took it dies."""
    key = uuid4().hex
    with person.client() as http:
        answer = person.ask(http, "POST", "/tools/echo/jobs", json=given, headers={"Idempotency-Key": key})
        told: Mapping[str, Any] = answer.json()
        person.diary.told_batch(key, told["batch"]["id"])
        return int(told["jobs"][0]["id"])


def state(person: Person, job: int) -> str:
    with person.client() as http:
        return str(person.ask(http, "GET", f"/jobs/{job}").json()["status"])
