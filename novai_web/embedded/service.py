"""One child process: started on a leash, watched, and stopped without leaving anything behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from novai_web.errors import NovaiError

LEASH = Path(__file__).with_name("leash.py")


class CannotStart(NovaiError):
    """NOVAI cannot start."""

    code = "cannot_start"


def leashed(command: Sequence[str | Path], user: str = "-") -> list[str]:
    """The command that runs `command` so that it dies with this process. See leash.py for `user`."""
    return [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), user, *map(str, command)]


def _always() -> bool:
    return True


@dataclass
class Service:
    """A child process that is meant to run until it is stopped."""

    name: str
    command: Sequence[str | Path]
    user: str = "-"
    environment: Mapping[str, str] = field(default_factory=dict)
    files: tuple[int, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 10
    is_ready: Callable[[], bool] = _always
    process: subprocess.Popen[bytes] | None = None

    def start(self, output: IO[bytes] | None = None) -> IO[bytes]:
        """In a session of its own, so that Ctrl-C in the terminal reaches only whoever keeps the order.

        Returns where its words come out, or go to if `output` is given.
        """
        self.process = subprocess.Popen(
            leashed(self.command, self.user),
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=self.files,
            start_new_session=True,
        )
        return output or cast(IO[bytes], self.process.stdout)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def exit_code(self) -> int:
        """Of the last run; negative: the signal that ended it."""
        return self.process.wait() if self.process else 0

    def await_ready(self, seconds: float, beside: Sequence["Service"] = ()) -> None:
        """Raises CannotStart when it, or one that starts beside it, ends, or it is not ready in time."""
        end = time.monotonic() + seconds
        while not self.is_ready():
            for service in (self, *beside):
                if not service.is_running:
                    raise CannotStart(f"{service.name} stopped while starting. Its last lines say why.")
            if time.monotonic() > end:
                raise CannotStart(f"{self.name} was not ready after {seconds:.0f} seconds. Its last lines say why.")
            time.sleep(0.02)

    def ask_to_stop(self) -> None:
        if self.process and self.is_running:
            self.process.send_signal(self.stop_signal)

    def await_end(self, seconds: float) -> None:
        """Then end whatever is left of it and of its children by force."""
        if self.process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0, seconds))
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.ask_to_stop()
        self.await_end(self.grace_seconds)
