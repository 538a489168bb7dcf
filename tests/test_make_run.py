"""The whole of `make run`: up, down, killed, and up again."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.installation import PATIENCE_SECONDS, Installation, until

pytestmark = pytest.mark.slow


@pytest.fixture
def installation(tmp_path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.clear_away()


def test_it_serves_restarts_what_falls_refuses_a_second_start_and_stops_in_order(installation):
    installation.start()
    assert installation.is_ready()

    second = installation.run(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, problem = second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 1
    assert f"already running on the data folder {installation.data} (http://127.0.0.1:{installation.port})" in str(
        problem
    )
    assert installation.is_ready()

    web = next(pid for pid, command in installation.pids().items() if "gunicorn" in command)
    os.kill(web, signal.SIGKILL)
    until(lambda: "web ended (-9), starting it again" in installation.said)
    until(installation.is_ready)

    installation.process.send_signal(signal.SIGINT)
    assert installation.process.wait(PATIENCE_SECONDS) == 0
    assert installation.pids() == {}
    stopping = [r"^web .*Shutting down", r"^redis .*bye bye", r"^postgres .*database system is shut down$"]
    said = installation.log.read_text()
    places = [[match.start() for match in re.finditer(line, said, re.MULTILINE)][-1] for line in stopping]
    assert places == sorted(places)
    assert said.endswith("novai      | everything has stopped\n")


def test_kill_9_leaves_no_process_and_the_next_start_finds_everything_as_it_was(installation):
    installation.start()
    with installation.engine().begin() as connection:
        connection.execute(text("CREATE TABLE kept (n int)"))
        connection.execute(text("INSERT INTO kept VALUES (1)"))
    installation.process.kill()
    installation.process.wait()

    installation.start()  # the one before is still stopping, and is waited for
    with installation.engine().begin() as connection:
        assert connection.scalars(text("SELECT n FROM kept")).all() == [1]
    warden = installation.process.pid
    worker = int(Path(f"/proc/{warden}/task/{warden}/children").read_text())
    os.kill(worker, signal.SIGKILL)
    assert installation.process.wait(PATIENCE_SECONDS) == 128 + signal.SIGKILL
    until(lambda: installation.pids() == {})


def test_killing_make_itself_stops_everything_too(installation):
    installation.start(["make", "run"])
    assert len(installation.pids()) > 10
    installation.process.kill()
    installation.process.wait()
    until(lambda: installation.pids() == {})
