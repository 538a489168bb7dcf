"""The drills: each count sees what is broken, each guard is where its ablation expects it, and a short run is clean."""

import random
import re
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from bench import ablations, chaos, counting, faults, makers, pages, stage
from bench.counting import Billed, Diary, percentile
from bench.crowd import GaveUp, noted
from bench.without import sitecustomize
from novai_web import failpoints, jobs
from novai_web.config import Settings
from novai_web.db import transaction
from novai_web.engines.store import Store, open_store
from novai_web.jobs import Job
from novai_web.tools import echo, face_swap
from novai_web.vendors import menu
from tests.installation import ROOT, Installation

# --- Every count is fed a broken state. ------------------------------------------------------------------


class Broken:
    """One paid job that is done, in a database that may be broken now."""

    def __init__(self, job: Job, engine: Engine, store: Store) -> None:
        self.job, self.engine, self.store = job, engine, store

    def do(self, *statements: str, anyhow: bool = False) -> None:
        """`anyhow`: past the triggers that would refuse it."""
        off, on = (
            [f"ALTER TABLE {table} {word} TRIGGER USER" for table in ("entries", "jobs") if anyhow]
            for word in ("DISABLE", "ENABLE")
        )
        with self.engine.begin() as connection:
            for statement in (*off, *statements, *on):
                connection.execute(text(statement), {"job": self.job.id} if ":job" in statement else {})

    def run_of_vendor(self, marker: str, external_id: str, state: str, *, n: int = 1, booked: bool = False) -> None:
        said = f"'{external_id}'" if external_id else "NULL"
        self.do(
            "INSERT INTO runs (job_id, n, vendor, request, marker, external_id, state, booked_to_house, cost_credits)"
            f" VALUES (:job, {n}, 'sandbox', 'r{n}', '{marker}', {said}, '{state}', {booked}, 0)"
        )

    def count(self, look: Callable[[Connection], counting.Findings]) -> dict[str, int]:
        with self.engine.connect() as connection:
            return {name: len(items) for name, items in look(connection).items() if items}

    def booked(self) -> dict[str, int]:
        return self.count(counting.booked)

    def spent(self, *bill: Billed) -> dict[str, int]:
        return self.count(lambda connection: counting.spent(bill, connection))

    def kept(self, uploaded: dict[int, str] | None = None) -> dict[str, int]:
        return self.count(lambda connection: counting.kept(self.store, connection, uploaded or {}))


@pytest.fixture
def broken(app, alice, settings: Settings, work, database: Engine) -> Broken:
    with transaction():
        (job,) = jobs.submit(alice, echo.tool, {"copies": 1, "credits": 5}, settings).jobs
    work()
    return Broken(job, database, open_store(settings))


def test_nothing_is_counted_when_all_is_well(broken):
    broken.run_of_vendor("m-1", "e-1", "done")
    assert broken.booked() == broken.kept() == broken.spent(Billed("e-1", "m-1", True, True)) == {}


def test_a_job_that_never_ends_is_stuck(broken, alice, settings):
    with transaction():
        jobs.submit(alice, echo.tool, {"copies": 1}, settings)
    assert broken.booked() == {"stuck jobs": 1}


def test_a_second_capture_is_counted_and_is_more_than_the_price(broken):
    broken.do(
        "INSERT INTO entries (account_id, job_id, kind, delta_available, delta_held, delta_spent, key)"
        " SELECT account_id, job_id, kind, 0, -5, 5, 'again' FROM entries WHERE kind = 'capture' AND job_id = :job"
    )
    found = broken.booked()
    assert found["captures not equal to one"] == found["charges above the price"] == 1
    assert found["broken invariants"] >= 1


def test_a_success_without_a_capture_is_counted(broken):
    broken.do("DELETE FROM entries WHERE kind = 'capture'", anyhow=True)
    assert broken.booked()["captures not equal to one"] == 1


def test_a_capture_without_success_is_counted(broken):
    broken.do("UPDATE jobs SET state = 'failed', progress = 0.5 WHERE id = :job", anyhow=True)
    assert broken.booked()["captures without success"] == 1


def test_an_output_that_was_made_twice_is_counted(broken):
    columns = "account_id, kind, type, name, status, mime, sha256, size_bytes, media, recipe, created_at, store_key"
    same = f"{columns}, made_by_job_id"
    broken.do(f"INSERT INTO assets ({same}) SELECT {same} FROM assets WHERE made_by_job_id = :job")
    assert broken.booked() == {"outputs made twice": 1}


def test_a_delivery_after_the_end_is_counted(broken):
    broken.do("UPDATE assets SET created_at = now() + interval '1 second'")
    assert broken.booked() == {"deliveries after the end": 1}


def test_a_delivery_under_an_older_lease_is_counted_and_one_under_the_newest_is_not(broken):
    again = (
        "INSERT INTO assets (account_id, kind, type, name, status, mime, sha256, size_bytes, media, recipe,"
        " made_by_job_id, store_key) SELECT account_id, kind, type, name, status, mime, sha256, size_bytes, media,"
        " recipe, made_by_job_id, 'jobs/1/0-1.wav' FROM assets LIMIT 1"
    )
    try:
        broken.do(*stage.WATCH, again)
        assert broken.count(lambda connection: {"stale": stage.stale(connection)}) == {}
        broken.do("UPDATE jobs SET lease_token = 2", again)
        assert broken.count(lambda connection: {"stale": stage.stale(connection)}) == {"stale": 1}
    finally:
        broken.do("DROP SCHEMA IF EXISTS bench CASCADE")


def test_a_broken_invariant_is_counted(broken):
    broken.do("UPDATE wallets SET available = available + 1")
    assert broken.booked() == {"broken invariants": 1}


def test_two_billed_runs_of_one_job_are_counted_unless_the_house_pays_for_one(broken):
    broken.run_of_vendor("m-1", "e-1", "done")
    broken.run_of_vendor("m-2", "e-2", "done", n=2)
    bill = Billed("e-1", "m-1", True, True), Billed("e-2", "m-2", True, True)
    assert broken.spent(*bill) == {"jobs with more than one paid run": 1}
    with broken.engine.connect() as connection:
        assert len(counting.runs_started_twice(bill, connection)) == 1
        assert counting.runs_started_twice(bill[:1], connection) == []
    broken.do("UPDATE runs SET booked_to_house = true WHERE n = 2")
    assert broken.spent(*bill) == {}


@pytest.mark.parametrize(
    ("state", "external_id", "is_billed", "is_over"),
    [("done", "e-1", True, False), ("cancelled", "", False, False), ("abandoned", "e-1", True, True)],
    ids=["lives on after its job", "lives on and has no id here", "was given up and billed"],
)
def test_a_run_that_nobody_minds_is_an_orphan(broken, state, external_id, is_billed, is_over):
    broken.run_of_vendor("m-1", external_id, state)
    assert broken.spent(Billed("e-1", "m-1", is_billed, is_over)) == {"orphans at the vendor": 1}


def test_a_run_at_the_vendor_that_nobody_knows_is_an_orphan(broken):
    assert broken.spent(Billed("e-1", "m-1", True, True)) == {"orphans at the vendor": 1}


def test_a_second_run_under_a_marker_is_not_taken_for_the_first(broken):
    broken.run_of_vendor("m-1", "e-1", "done")
    found = broken.spent(Billed("e-1", "m-1", True, True), Billed("e-2", "m-1", True, True))
    assert found == {"orphans at the vendor": 1, "jobs with more than one paid run": 1}


def test_a_file_without_a_row_and_a_row_without_a_file_are_counted(broken, tmp_path):
    path = tmp_path / "stray.wav"
    path.write_bytes(b"stray")
    broken.store.put("jobs/1/9-9.wav", path, "audio/wav")
    assert broken.kept() == {"files that nothing knows": 1}
    broken.store.delete(key for key, _ in list(broken.store.list("jobs")))
    assert broken.kept() == {"rows without their file": 1}


def test_an_upload_that_is_gone_or_changed_is_counted(broken):
    asset_id, sha256 = broken_asset(broken)
    assert broken.kept({asset_id: sha256}) == {}
    assert broken.kept({asset_id: "0" * 64, asset_id + 1: sha256}) == {"uploads lost or changed": 2}


def broken_asset(broken: Broken) -> tuple[int, str]:
    with broken.engine.connect() as connection:
        return tuple(connection.execute(text("SELECT id, sha256 FROM assets")).one())


def test_a_job_that_was_acknowledged_and_is_not_there_is_counted(broken):
    diary = Diary()
    diary.told_batch("a", broken.job.batch_id)
    diary.told_retry(1, broken.job.id)
    look = broken.count
    assert look(lambda connection: counting.told(diary, connection)) == {}
    diary.told_batch("b", broken.job.batch_id + 1)
    diary.told_retry(2, broken.job.id + 1)
    assert look(lambda connection: counting.told(diary, connection)) == {"jobs acknowledged and lost": 2}


def test_a_key_that_made_two_batches_is_counted(broken):
    diary = Diary()
    diary.told_batch("a", broken.job.batch_id)
    diary.told_batch("a", broken.job.batch_id + 1)
    found = broken.count(lambda connection: counting.told(diary, connection))
    assert found["submits that made jobs twice"] == 1


def test_progress_that_goes_back_and_a_hundred_before_the_end_are_counted(broken):
    diary = Diary()
    for progress, status in ((0.5, "running"), (0.5, "waiting"), (0.4, "running"), (1.0, "running")):
        diary.saw(1, progress, status)
    diary.saw(2, 0.1, "running")
    diary.saw(3, 1.0, "succeeded")
    found = broken.count(lambda connection: counting.told(diary, connection))
    assert found == {"progress going back": 1, "100 % before success": 1}


def test_a_5xx_is_counted_unless_it_says_when_to_come_back(broken):
    diary = Diary()
    for status, retry_after in ((202, None), (503, "5"), (429, None), (507, "60"), (503, None), (500, "5")):
        diary.answered("POST /jobs", status, retry_after)
    found = broken.count(lambda connection: counting.told(diary, connection))
    assert found == {"answers of 5xx without a reason": 2}


def test_an_error_that_a_failpoint_raised_explains_one_crash_of_a_request_that_passes_it(tmp_path):
    hands = faults.Hands(Installation(tmp_path), tmp_path, "", random.Random(1))
    crashes = ["POST /audios: 500", "POST /audios: 500", "GET /jobs: 500"]
    assert hands.unexplained(crashes) == crashes
    hands.taken.update({"upload.after_write=raise": 1, "settle.before_commit=raise": 1, "create.after_bell=kill": 1})
    assert hands.unexplained(crashes) == crashes[1:]


def test_an_error_that_only_one_point_explains_is_left_to_it(tmp_path):
    hands = faults.Hands(Installation(tmp_path), tmp_path, "", random.Random(1))
    hands.taken.update(("create.before_commit=raise", "settle.before_commit=raise"))
    assert hands.unexplained(["DELETE /jobs/7: 500", "POST /tools/echo/jobs: 500"]) == []


@pytest.mark.parametrize(("said", "code", "complaints"), [("fine\n", 0, 0), ("a\n\nb\n", 1, 2), ("", 2, 1)])
def test_fsck_is_content_only_if_it_says_so_by_its_exit_code(said, code, complaints):
    assert len(stage.complaints(said, code)) == complaints


def test_whoever_gives_up_or_whose_thread_dies_is_noted():
    def give_up() -> None:
        raise GaveUp("POST /jobs")

    diary = Diary()
    noted(diary, lambda: None)
    assert diary.gave_up == []
    noted(diary, give_up)
    with pytest.raises(ZeroDivisionError):
        noted(diary, lambda: 1 // 0)
    assert diary.gave_up == ["GaveUp: POST /jobs", "a thread died"]


def test_somebody_who_gave_up_makes_a_run_worthless():
    assert not outcome(problems=["GaveUp: POST /tools/echo/jobs"]).is_clean
    assert not outcome(findings={"stuck jobs": ["id 1"]}).is_clean
    assert outcome().is_clean


def outcome(**changes: Any) -> chaos.Outcome:
    given: dict[str, Any] = {
        "seed": 1,
        "jobs": 10,
        "seconds": 5.0,
        "findings": {"stuck jobs": []},
        "done": faults.Counter({"kill worker": 2}),
        "taken": faults.Counter({"claim.after=kill": 1}),
        "states": {"succeeded": 9, "failed": 1},
        "errors": {"poison": 1},
        "recovery_seconds": [4.0, 5.0],
        "wait_seconds": [0.1],
        "drain_seconds": 3.0,
        "polls": 40,
        "audits": 2,
        "vendor_runs": 3,
        "vendor_billed": 2,
        "started_twice": 0,
        "booked": 0,
    }
    return chaos.Outcome(**{**given, **changes})


def test_percentiles_are_of_the_values_themselves():
    assert [percentile([3, 1, 2, 4], share) for share in (0.25, 0.5, 0.95)] == [1, 2, 4]
    assert percentile([], 0.95) == 0 and percentile(range(1, 101), 0.95) == 95


# --- Ablations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guard", sitecustomize.GUARDS)
def test_a_guard_is_where_its_ablation_expects_it(guard):
    for module, pieces in sitecustomize.GUARDS[guard].items():
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
        assert compile(sitecustomize.ablated(source, pieces), module, "exec")


def test_an_ablation_that_takes_nothing_out_stops_the_process():
    with pytest.raises(ImportError, match="not where it was"):
        sitecustomize.ablated("if a:\n    b\n", [("if c:", "if False:")])


def test_every_guard_has_a_scenario_and_the_product_has_no_switch_for_any():
    assert {scenario.guard for scenario in ablations.SCENARIOS} == set(sitecustomize.GUARDS)
    mentions = [path for path in ROOT.glob("novai_web/**/*.py") if "BENCH_WITHOUT" in path.read_text()]
    assert not mentions


def test_an_ablated_module_is_the_one_that_is_imported_and_leaves_no_trace_in_the_cache():
    code = "from novai_web.jobs import dispatcher; print(dispatcher._ring_for_what_is_due.__code__.co_code)"

    def bytecode(**more: str) -> str:
        command = [sys.executable, "-c", code]
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(stage.WITHOUT), **more}
        return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    whole = bytecode()
    assert bytecode(BENCH_WITHOUT="re-ring") != whole
    assert bytecode() == whole


def test_an_ablation_counts_as_noticed_only_if_the_guard_makes_the_difference():
    scenario = ablations.SCENARIOS[0]
    noticed = ablations.Verdict(scenario, {}, {"stuck jobs": ["id 1"]}, 5.0)
    silent = ablations.Verdict(scenario, {}, {}, 5.0)
    noisy = ablations.Verdict(scenario, {"stuck jobs": ["id 1"]}, {"stuck jobs": ["id 1"]}, 5.0)
    assert [each.is_noticed for each in (noticed, silent, noisy)] == [True, False, False]
    assert "stuck jobs: 1" in pages.ablations([noticed]) and "**no**" in pages.ablations([silent])


# --- Faults ----------------------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_plan_and_three_of_them_arm_every_failpoint_with_every_action():
    plans = [faults.plan(90, 4, random.Random(seed), power_cut=True) for seed in (1, 1, 2, 3)]
    assert plans[0] == plans[1] != plans[2]
    armed = {fault.what for plan in plans for fault in plan if fault.kind == "failpoint"}
    assert armed == {f"{name}={action}" for name in failpoints.NAMES for action in faults.actions(4)}
    assert {fault.kind for fault in plans[0]} == {
        "kill", "stop", "flush", "bells", "failpoint", "vendor", "housekeeping", "power",
    }  # fmt: skip


def test_the_next_action_at_a_failpoint_is_armed_when_somebody_has_passed(tmp_path):
    hands = faults.Hands(Installation(tmp_path), tmp_path, "", random.Random(1))
    point = tmp_path / "claim.after"
    for action in ("pause 6", "kill"):
        hands.do(faults.Fault(0, "failpoint", f"claim.after={action}"))
    assert point.read_text() == "pause 6" and not hands.taken
    point.rename(tmp_path / "claim.after.taken-1")
    hands.do(faults.Fault(0, "failpoint", "step.mid=raise"))
    assert point.read_text() == "kill" and hands.taken == {"claim.after=pause": 1}


def test_the_administrator_of_a_drill_chooses_every_vendor_of_faces_in_turn(app, database: Engine):
    administrator = makers.FickleAdministrator(database.begin, seed=1, seconds=0.05)
    administrator.start()
    seen, until = set(), time.monotonic() + 10
    while seen < set(menu.ENGINES[face_swap.ENGINE]) and time.monotonic() < until:
        with database.connect() as connection:
            seen.update(connection.scalars(text("SELECT vendor FROM vendor_choices WHERE engine = 'faces'")))
    administrator.stop()
    assert seen == set(menu.ENGINES[face_swap.ENGINE])
    troubled = {mount for mount, _ in faults.TOOLS_FAULTS}
    assert troubled >= {"fal-queue", "gemini", "wavespeed", "picsi"} and set(stage.BILLING) <= troubled


def test_a_process_of_another_installation_is_never_a_victim(tmp_path):
    ours, other = Installation(tmp_path / "ours"), Installation(tmp_path / "other")
    code = "import time; time.sleep(60)"
    command = [sys.executable, "-c", code, "celery", "worker"]
    with ours.run(command) as mine, other.run(command) as theirs:
        try:
            found = faults.processes(ours, "worker pool")
            assert mine.pid in found and theirs.pid not in found
        finally:
            mine.kill()
            theirs.kill()


def test_the_page_has_room_for_every_table(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(pages.PAGE.read_text())
    for section in ("chaos", "tools", "ablations", "load"):
        pages.write(section, f"New {section}.", page)
    assert [f"New {section}." in page.read_text() for section in ("chaos", "tools", "load")] == [True] * 3
    page.write_text("Nothing.")
    with pytest.raises(SystemExit, match="lost its marks"):
        pages.write("chaos", "New.", page)


def test_every_test_and_every_guard_that_the_page_names_is_there():
    said = pages.PAGE.read_text()
    named = set(re.findall(r"`(test_\w+\.py)`", said))
    assert named and all((ROOT / "tests" / name).exists() for name in named)
    assert set(re.findall(r"ablation \*([\w-]+)\*", said)) == set(sitecustomize.GUARDS)


def test_what_a_run_found_is_told_as_a_table():
    said = pages.chaos([outcome(), outcome(seed=2, findings={"stuck jobs": ["id 1", "id 2"]})])
    assert re.search(r"stuck jobs +\| 0 +\| 2 ", said)
    assert "2 × poison" in said and "4 × kill worker" in said


# --- The drills themselves, in short ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_short_run_of_chaos_breaks_nothing(tmp_path):
    given = Namespace(jobs=40, seconds=20.0, folder=tmp_path, tools=False)
    found = chaos.chaos(given, seed=11)
    assert found.findings and found.is_clean, (found.findings, found.problems)
    assert found.done.total() > 10 and found.taken and found.recovery_seconds and found.polls and found.audits


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_short_run_of_chaos_with_the_paid_tools_breaks_nothing(tmp_path):
    given = Namespace(jobs=24, seconds=20.0, folder=tmp_path, tools=True)
    found = chaos.chaos(given, seed=12)
    assert found.findings and found.is_clean, (found.findings, found.problems)
    assert found.vendor_runs and "false doorbells believed" in found.findings


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_that_was_paused_breaks_nothing_and_would_without_the_fence(tmp_path: Path):
    (verdict,) = ablations.judged(tmp_path, 1, ["fence"])
    assert verdict.is_noticed, verdict
