"""Failpoints: each has one place, does what it is armed with once, and is nothing at all without a drill."""

import ast
import io
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from novai_web import failpoints
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.engines.store.parts import PartialFile
from novai_web.failpoints import NAMES, Fault
from novai_web.jobs.cleaning import clean_library
from tests import things

ROOT = Path(__file__).parents[1]

# Ticks in a thread, while the main thread comes to a failpoint; then says how long the longest silence was.
TICKING = """
import threading, time
from novai_web import failpoints
ticks = [time.monotonic()]
def tick():
    while True:
        time.sleep(0.02)
        ticks.append(time.monotonic())
threading.Thread(target=tick, daemon=True).start()
failpoints.hit("step.mid")
time.sleep(0.1)
print(max(later - earlier for earlier, later in zip(ticks, ticks[1:])))
"""


@pytest.fixture
def armed(tmp_path: Path) -> Iterator[Path]:
    failpoints.watch(tmp_path)
    yield tmp_path
    failpoints.watch(None)


def test_every_failpoint_is_hit_at_one_place_and_there_is_no_other():
    found: Counter[str] = Counter()
    for path in [*ROOT.glob("novai_web/**/*.py"), *ROOT.glob("tasks/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.hit":
                assert isinstance(node.args[0], ast.Constant), f"{path}: {ast.unparse(node)}"
                found[node.args[0].value] += 1
    assert found == Counter(NAMES)


def test_without_a_drill_a_failpoint_does_nothing():
    assert failpoints.hit is failpoints._pass and "NOVAI_FAILPOINTS" not in os.environ
    failpoints.hit("step.mid")


def test_what_is_no_name_or_no_action_cannot_be_armed(tmp_path):
    for name, action in [("step.midd", "raise"), ("step.mid", "explode"), ("step.mid", "pause"), ("../x", "kill")]:
        with pytest.raises(ValueError):
            failpoints.arm(tmp_path, name, action)
    assert list(tmp_path.iterdir()) == []


def test_an_armed_failpoint_is_hit_once_and_only_under_its_name(armed):
    failpoints.arm(armed, "step.mid", "raise")
    failpoints.hit("claim.after")
    with pytest.raises(Fault, match=r"step\.mid"):
        failpoints.hit("step.mid")
    failpoints.hit("step.mid")


def test_of_many_who_come_at_once_one_is_hit(armed):
    hits: list[int] = []

    def come(n: int) -> None:
        try:
            failpoints.hit("step.mid")
        except Fault:
            hits.append(n)

    failpoints.arm(armed, "step.mid", "raise")
    threads = [threading.Thread(target=come, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hits) == 1


def test_a_kill_takes_no_time_to_say_goodbye(tmp_path):
    failpoints.arm(tmp_path, "step.mid", "kill")
    code = "from novai_web import failpoints; failpoints.hit('step.mid')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "NOVAI_FAILPOINTS": str(tmp_path)})
    assert done.returncode == -signal.SIGKILL
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == ["step.mid.taken"]


def test_a_pause_stops_the_threads_too(tmp_path):
    failpoints.arm(tmp_path, "step.mid", "pause 1")
    environment = {**os.environ, "NOVAI_FAILPOINTS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", TICKING], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert 0.9 < float(done.stdout) < 20


def test_a_cut_fails_the_next_statement_and_what_was_not_committed_is_gone(app, armed):
    with transaction():
        session.execute(text("CREATE TEMPORARY TABLE cut_here (n int)"))
    failpoints.arm(armed, "settle.before_commit", "cut")

    def write() -> None:
        with transaction():
            session.execute(text("INSERT INTO periodic (task, slot) VALUES ('cut', 1)"))
            failpoints.hit("settle.before_commit")

    with pytest.raises(OperationalError):
        write()
    with transaction():
        assert session.scalar(text("SELECT count(*) FROM periodic WHERE task = 'cut'")) == 0
        assert session.scalar(text("SELECT to_regclass('cut_here')")) is None, "this is another connection"


def test_a_cut_between_two_transactions_fails_the_second(app, armed):
    failpoints.arm(armed, "submit.after_post", "cut")
    failpoints.hit("submit.after_post")
    with pytest.raises(OperationalError), transaction():
        session.execute(text("SELECT 1"))
    with transaction():
        assert session.scalar(text("SELECT 1")) == 1


@pytest.mark.parametrize("point", ["upload.after_write", "upload.after_rename"])
def test_an_upload_whose_end_is_killed_ends_in_the_same_bytes(tmp_path, point):
    (drill := tmp_path / "drill").mkdir()
    content = os.urandom(300_000)
    upload = PartialFile(tmp_path, "upload")
    upload.create(len(content))
    upload.append(0, io.BytesIO(content))
    failpoints.arm(drill, point, "kill")
    code = "import sys; from pathlib import Path; from novai_web.engines.store.parts import PartialFile\n"
    code += "PartialFile(Path(sys.argv[1]), 'upload').finish()"
    environment = {**os.environ, "NOVAI_FAILPOINTS": str(drill)}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, env=environment)
    assert done.returncode == -signal.SIGKILL
    assert upload.finish().path.read_bytes() == content


@pytest.mark.parametrize("point", ["expire.after_mark", "expire.after_blob"])
def test_what_expires_is_gone_in_the_next_round_when_the_first_is_interrupted(app, alice, settings, armed, point):
    store = open_store(settings)
    kept, expired = things.put(alice, settings), things.put(alice, settings)
    with transaction():
        session.execute(text("UPDATE assets SET expires_at = now() WHERE id = :id"), {"id": expired.id})
    failpoints.arm(armed, point, "raise")
    with pytest.raises(Fault):
        clean_library(store, settings)
    session.rollback()
    marked = session.scalars(text("SELECT id FROM assets WHERE deleting_at IS NOT NULL")).all()
    assert marked == [expired.id], "nobody sees it any more, and its row is there for the next round"
    session.rollback()
    clean_library(store, settings)
    assert session.scalars(text("SELECT id FROM assets")).all() == [kept.id]
    assert [key for key, _ in store.list("")] == [kept.store_key]
