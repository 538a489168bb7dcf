"""The whole of `make run`: up, down, killed, and up again."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from sqlalchemy import Engine, create_engine, text

from novai_web.config import Settings
from novai_web.embedded import servers

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EMBEDDED = (sys.executable, "-m", "novai_web.embedded")
PATIENCE_SECONDS = 90  # the other tests are running too


class Installation:
    """One data folder and one port, and whatever runs on them."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.log = folder / "log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str] = EMBEDDED, **more: Any) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "NOVAI_DATA": str(self.data), "NOVAI_PORT": str(self.port)}
        return subprocess.Popen(command, cwd=ROOT, env=environment, **more)

    def start(self, command: Sequence[str] = EMBEDDED) -> None:
        with self.log.open("wb") as log:
            self.process = self.run(command, stdout=log, stderr=subprocess.STDOUT)
        _until(lambda: f"ready at http://127.0.0.1:{self.port}\n" in self.said)

    @property
    def said(self) -> str:
        assert self.process is None or self.process.poll() is None, self.log.read_text()
        return self.log.read_text()

    def is_ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=20) as answer:
                return answer.status == 200
        except (URLError, TimeoutError):
            return False

    def engine(self) -> Engine:
        return create_engine(servers.found(Settings(_env_file=None, data=self.data)).database_url)

    def pids(self) -> dict[int, str]:
        """All its processes: they know its folder from their environment, Postgres works in it."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                is_ours = f"NOVAI_DATA={self.data}".encode() in environment
                if is_ours or (folder / "cwd").readlink().is_relative_to(self.data):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().decode().replace("\0", " ")
            except OSError:
                continue
        return found


@pytest.fixture
def installation(tmp_path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    for pid in made.pids():
        os.kill(pid, signal.SIGKILL)
    if (made.data / "sockets").is_symlink():  # what a killed one leaves for the next start to clear up
        shutil.rmtree((made.data / "sockets").readlink(), ignore_errors=True)


def _until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.05)


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
    _until(lambda: "web ended (-9), starting it again" in installation.said)
    _until(installation.is_ready)

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
    _until(lambda: installation.pids() == {})


def test_killing_make_itself_stops_everything_too(installation):
    installation.start(["make", "run"])
    assert len(installation.pids()) > 10
    installation.process.kill()
    installation.process.wait()
    _until(lambda: installation.pids() == {})
