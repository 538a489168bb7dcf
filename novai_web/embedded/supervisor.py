"""Keeps services running: what they say gets their name in front, and whoever falls is started again."""

import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from novai_web.embedded.service import CannotStart, Service

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0  # who ran this long fell by accident: the next pause is the first one again
ASKED_SECONDS = 2.0  # who ran this long and then ended well was asked to, by somebody who wants a new one
NAME_WIDTH = 10


def say(name: str, line: str) -> None:
    """One write a line, so that the lines of several services do not mix. Nobody reading is no reason to stop."""
    with suppress(OSError, ValueError):
        sys.stdout.write(f"{name:<{NAME_WIDTH}} | {line}\n")
        sys.stdout.flush()


class Supervisor:
    """Not for several threads: the kernel ends a service when the thread that started it ends."""

    def __init__(self, hurry: threading.Event) -> None:
        """Once `hurry` is set, nobody who is asked to stop is waited for."""
        self._hurry = hurry
        self._watched: list[_Watched] = []

    def start(self, services: Sequence[Service], seconds: float) -> None:
        """Start all of them, then wait until each is ready. Raises CannotStart."""
        for service in services:
            self._watched.append(_Watched(service))
        for service in services:
            service.await_ready(seconds, beside=services)

    def finish(self, service: Service) -> None:
        """Run it to its end. Raises CannotStart when that is not a good one."""
        once = _Watched(service)
        if code := once.wait():
            raise CannotStart(f"{service.name} failed ({code}). Its lines above say why.")

    def start_once(self, service: Service) -> None:
        """Something that is done one day: whoever ends is not started again. Nobody waits for it."""
        self._watched.append(_Watched(service, is_once=True))

    @property
    def once(self) -> list[Service]:
        """What `start_once` started and is still watched."""
        return [watched.service for watched in self._watched if watched.is_once]

    def tend(self) -> None:
        """Call this often. Starts again what has fallen and has paused long enough."""
        for watched in self._watched:
            watched.tend()

    def stop(self, services: Sequence[Service]) -> None:
        """Ask all of them at once, and wait for each as long as its grace lasts and nobody is in a hurry."""
        stopping = [watched for watched in self._watched if watched.service in services]
        self._watched = [watched for watched in self._watched if watched not in stopping]
        start = time.monotonic()
        for watched in stopping:
            watched.service.ask_to_stop()
        while not self._hurry.is_set() and any(watched.is_in_grace(start) for watched in stopping):
            time.sleep(0.02)
        for watched in stopping:
            watched.end()


class _Watched:
    def __init__(self, service: Service, *, is_once: bool = False) -> None:
        self.service, self.is_once = service, is_once
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._start()

    def _start(self) -> None:
        self._due_at: float | None = None
        self._started_at = time.monotonic()
        output = self.service.start()
        self._pump = threading.Thread(target=_pass_on, args=(self.service.name, output), daemon=True)
        self._pump.start()

    def wait(self) -> int:
        while self.service.is_running:
            time.sleep(0.02)
        self.end()
        return self.service.exit_code

    def is_in_grace(self, start: float) -> bool:
        return self.service.is_running and time.monotonic() - start < self.service.grace_seconds

    def end(self) -> None:
        """Its children too, which would be in the way of the next one's; and let it finish its last sentence."""
        self.service.await_end(0)
        self._pump.join(timeout=1)

    def tend(self) -> None:
        if self.is_once:
            return
        now = time.monotonic()
        if self._due_at is None and not self.service.is_running:
            self._plan_start(now)
        elif self._due_at is not None and now >= self._due_at:
            self._start()

    def _plan_start(self, now: float) -> None:
        self.end()
        code, ran_seconds = self.service.exit_code, now - self._started_at
        if ran_seconds > STEADY_SECONDS or (code == 0 and ran_seconds > ASKED_SECONDS):
            self._pause_seconds = FIRST_PAUSE_SECONDS
        say("novai", f"{self.service.name} ended ({code}), starting it again in {self._pause_seconds:g} s")
        self._due_at = now + self._pause_seconds
        self._pause_seconds = min(self._pause_seconds * 2, LONGEST_PAUSE_SECONDS)


def _pass_on(name: str, stream: IO[bytes]) -> None:
    with stream:
        for line in stream:
            say(name, line.decode(errors="replace").rstrip())
