"""A whole installation as `make run` starts it, on a data folder and a port of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from sqlalchemy import Engine, create_engine

from novai_web.config import Settings
from novai_web.embedded import servers

ROOT = Path(__file__).parents[1]
EMBEDDED = (sys.executable, "-m", "novai_web.embedded")
PATIENCE_SECONDS = 120  # the other tests are running too


def until(condition: Callable[[], object], patience_seconds: float = PATIENCE_SECONDS) -> None:
    end = time.monotonic() + patience_seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.05)


class Installation:
    """One data folder and one port, and whatever runs on them."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.data = folder / "data"
        self.log = folder / "log"
        self.settings = settings
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str] = EMBEDDED, **more: object) -> subprocess.Popen[bytes]:
        own = {"NOVAI_DATA": str(self.data), "NOVAI_PORT": str(self.port), "NOVAI_SAMPLES_AT_START": "false"}
        return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **own, **self.settings}, **more)  # type: ignore[call-overload, no-any-return]

    def start(self, command: Sequence[str] = EMBEDDED) -> None:
        with self.log.open("wb") as log:
            self.process = self.run(command, stdout=log, stderr=subprocess.STDOUT)
        until(lambda: f"ready at {self.url}\n" in self.said)

    @property
    def said(self) -> str:
        assert self.process is None or self.process.poll() is None, self.log.read_text()
        return self.log.read_text()

    def is_ready(self) -> bool:
        try:
            with urlopen(f"{self.url}/ready", timeout=20) as answer:
                return bool(answer.status == 200)
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

    def kill(self) -> None:
        """kill -9 of the whole, as when the power goes; everything under it goes too."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        until(lambda: not self.pids())

    def clear_away(self) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if (self.data / "sockets").is_symlink():  # what a killed one leaves for the next start to clear up
            shutil.rmtree((self.data / "sockets").readlink(), ignore_errors=True)
