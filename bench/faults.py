"""What goes wrong in a chaos run, when, and how: a plan made from a seed, and the hands that carry it out.

Nothing outside the one installation is ever touched: a process is signalled through a file descriptor of it
(pidfd_open(2)), after its environment or its folder has shown that it is ours.
"""

import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import requests
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from novai_web import failpoints, queue
from novai_web.config import Settings
from novai_web.embedded import servers
from tests.installation import Installation

# Who can be hit: the words its command has, and whether it is the one that starts the others, or one of those.
Kind = str
WORDS: Mapping[Kind, tuple[str, str]] = {
    "web": ("gunicorn", "child"),
    "web server": ("gunicorn", "first"),
    "worker": ("celery", "child"),
    "worker pool": ("celery", "first"),
    "dispatcher": ("dispatch", "first"),
    "redis": ("redis-server", "first"),
    "connection": ("postgres: novai", "child"),
    "database": ("pginstall", "first"),
}
# How often each is drawn. Masters cost the installation a pause that doubles each time, so they are rarer.
KILLS = {"worker": 8, "web": 5, "connection": 2, "dispatcher": 2, "worker pool": 1, "web server": 1, "redis": 2}
RARE_KILLS = ("database",)
STOPS = ("worker", "worker", "worker", "web", "dispatcher")
BUSY = '{"sandbox": true, "error": "slow down"}'
VENDOR_FAULTS: Sequence[dict[str, Any]] = (
    {"fault": "lost", "method": "POST", "path": "/runs"},
    {"fault": "cut", "method": "POST", "path": "/runs"},
    {"fault": "status", "status": 429, "retry_after": 2, "body": BUSY, "path": "/runs"},
    {"fault": "status", "status": 503, "body": BUSY, "path": "/runs"},
    {"fault": "status", "status": 503, "body": "<html>not the vendor's own words</html>", "path": "/runs"},
    {"fault": "garbled", "path": "/runs"},
    {"fault": "slow", "seconds": 3.0, "path": "/runs"},
    {"fault": "lost", "method": "DELETE", "path": "/runs"},
    {"fault": "cut", "method": "GET", "path": "/files", "after_bytes": 10},
)
# The same for the vendors of the paid tools, each under its own address.
NO = '{"detail": "slow down"}'
TOOLS_FAULTS: Sequence[tuple[str, dict[str, Any]]] = (
    ("fal-queue", {"fault": "lost", "method": "POST"}),
    ("fal-queue", {"fault": "cut", "method": "POST", "path": "/fal-ai/wan/"}),
    ("fal-queue", {"fault": "status", "status": 429, "retry_after": 2, "body": NO, "method": "POST"}),
    ("fal-queue", {"fault": "status", "status": 503, "body": "<html>not its own words</html>"}),
    ("fal-queue", {"fault": "garbled"}),
    ("fal-queue", {"fault": "status", "status": 404, "body": "<html>not its own words</html>", "method": "GET"}),
    ("fal-queue", {"fault": "slow", "seconds": 3.0}),
    ("fal-queue", {"fault": "lost", "method": "PUT"}),
    ("fal-queue", {"fault": "status", "status": 401, "body": '{"detail": "No user found"}', "method": "GET"}),
    ("fal-queue", {"fault": "trickle", "seconds": 0.05, "method": "GET"}),
    ("fal-api", {"fault": "status", "status": 500}),
    ("fal-rest", {"fault": "garbled"}),
    ("fal-rest", {"fault": "lost"}),
    ("fal-media", {"fault": "cut", "method": "PUT", "after_bytes": 100}),
    ("fal-media", {"fault": "cut", "method": "GET", "after_bytes": 10}),
    ("gemini", {"fault": "lost", "method": "POST"}),
    ("gemini", {"fault": "garbled"}),
    ("gemini", {"fault": "status", "status": 503}),
    ("wavespeed", {"fault": "lost", "method": "POST", "path": "/video-face-swap"}),
    ("wavespeed", {"fault": "cut", "method": "POST"}),
    ("wavespeed", {"fault": "status", "status": 404, "body": "<html>not its own words</html>", "method": "GET"}),
    ("wavespeed", {"fault": "garbled"}),
    ("wavespeed", {"fault": "slow", "seconds": 3.0}),
    ("wavespeed-media", {"fault": "cut", "after_bytes": 100}),
    ("picsi", {"fault": "lost", "method": "POST", "path": "/video"}),
    ("picsi", {"fault": "cut", "after_bytes": 10}),
    ("picsi", {"fault": "status", "status": 503, "method": "GET"}),
    ("picsi", {"fault": "garbled"}),
)
# Points that a request reaches, with the requests: an error there is an answer of 500, which the fault explains. Those
# that few requests reach come first: another must not take what only they can explain.
AT_THE_DOOR = {
    "settle.before_commit": ("DELETE /jobs/",),
    "upload.after_write": ("POST /audios",),
    "upload.after_rename": ("POST /audios",),
    "create.before_commit": ("POST ", "DELETE "),
    "create.after_commit": ("POST ", "DELETE "),
    "create.after_bell": ("POST ", "DELETE "),
}


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, so many seconds after the beginning."""

    at: float
    kind: str  # kill, stop, flush, bells, failpoint, vendor, housekeeping, power
    what: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.what}".strip()


def plan(
    seconds: float, lease_seconds: int, rng: random.Random, *, power_cut: bool, troubles: int = len(VENDOR_FAULTS)
) -> list[Fault]:
    """About one fault a second, and one failpoint a second besides; the same for the same seed.

    `troubles`: how many kinds of trouble the vendors know.
    """
    faults: list[Fault] = []
    for second in range(2, max(3, int(seconds))):
        at = second + rng.random()
        faults.append(_drawn(at, lease_seconds, rng, troubles))
    for rare in RARE_KILLS:
        faults.append(Fault(seconds * rng.uniform(0.2, 0.8), "kill", rare))
    if power_cut:
        faults.append(Fault(seconds / 2, "power"))
    armed = [Fault(at + rng.random(), "failpoint", point) for at, point in _points(seconds, lease_seconds, rng)]
    return sorted([*faults, *armed], key=lambda fault: fault.at)


def _drawn(at: float, lease_seconds: int, rng: random.Random, troubles: int) -> Fault:
    kind = rng.choices(("kill", "stop", "flush", "bells", "vendor", "housekeeping"), (6, 3, 2, 2, 4, 2))[0]
    if kind == "kill":
        return Fault(at, "kill", rng.choices(list(KILLS), list(KILLS.values()))[0])
    if kind == "stop":
        return Fault(at, "stop", rng.choice(STOPS), lease_seconds + rng.uniform(1, 3))
    if kind == "vendor":
        return Fault(at, "vendor", str(rng.randrange(troubles)))
    return Fault(at, kind)


def _points(seconds: float, lease_seconds: int, rng: random.Random) -> list[tuple[float, str]]:
    """Every failpoint with every action in an order of its own, as many as fit: one a second."""
    pairs = [f"{name}={action}" for name in failpoints.NAMES for action in actions(lease_seconds)]
    rng.shuffle(pairs)
    times = [2 + n * 0.9 for n in range(int(max(0.0, seconds - 2) / 0.9))]
    return list(zip(times, pairs, strict=False))


def actions(lease_seconds: int) -> Sequence[str]:
    return ("kill", f"pause {lease_seconds + 2}", "raise", "cut")


class Hands:
    """Carries out faults on one installation, and puts everything back afterwards."""

    def __init__(
        self, installation: Installation, folder: Path, vendor_url: str, rng: random.Random, sandbox_url: str = ""
    ) -> None:
        """`sandbox_url`: where the vendors of the paid tools are, if they take part."""
        self.installation, self.folder, self.vendor_url, self.rng = installation, folder, vendor_url, rng
        self.troubles = [(vendor_url, fault) for fault in VENDOR_FAULTS]
        if sandbox_url:
            self.troubles += [(f"{sandbox_url}/{mount}", fault) for mount, fault in TOOLS_FAULTS]
        self.done: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self._armed: dict[str, str] = {}
        self._waiting: dict[str, list[str]] = defaultdict(list)
        self.taken: Counter[str] = Counter()
        self._asleep: list[tuple[float, int]] = []  # when to wake which process (a pidfd)
        self._doing: Mapping[str, Callable[[Fault], bool]] = {
            "kill": lambda fault: self._signal(fault.what, signal.SIGKILL),
            "stop": self._stop,
            "flush": self._flush,
            "bells": self._bells,
            "failpoint": self._arm,
            "vendor": self._trouble,
            "housekeeping": lambda _: self.ring_housekeeping(),
            "power": self._power,
        }

    def carry_out(self, faults: Sequence[Fault]) -> None:
        """All of them in their time; returns after the last."""
        start = time.monotonic()
        for fault in faults:
            while (left := start + fault.at - time.monotonic()) > 0:
                self._wake()
                time.sleep(min(0.1, left))
            self.do(fault)

    def do(self, fault: Fault) -> None:
        self._arm_next()
        name = fault.kind if fault.kind in ("vendor", "failpoint") else str(fault)
        (self.done if self._doing[fault.kind](fault) else self.missed)[name] += 1

    def stop_all(self) -> None:
        """No more faults: whoever sleeps is woken, and what is armed is taken away."""
        self._wake(everybody=True)
        self._note_taken()
        for path in self.folder.glob("*"):
            if path.name in failpoints.NAMES:
                path.unlink(missing_ok=True)
        for url in dict.fromkeys(url for url, _ in self.troubles):
            requests.delete(f"{url}/sandbox/faults", timeout=10).raise_for_status()

    def unexplained(self, crashes: Sequence[str]) -> list[str]:
        """Without one answer of 500 for each error that a failpoint raised while a request was served."""
        left = list(crashes)
        for name, requests_there in AT_THE_DOOR.items():
            for _ in range(self.taken[f"{name}=raise"]):
                explained = next((crash for crash in left if crash.startswith(requests_there)), None)
                if explained:
                    left.remove(explained)
        return left

    def _signal(self, kind: Kind, number: signal.Signals) -> bool:
        victim = self._victim(kind)
        if victim is None:
            return False
        try:
            signal.pidfd_send_signal(victim, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(victim)
        return True

    def _stop(self, fault: Fault) -> bool:
        victim = self._victim(fault.what)
        if victim is None:
            return False
        self._asleep.append((time.monotonic() + fault.seconds, victim))
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(victim, signal.SIGSTOP)
        return True

    def _wake(self, *, everybody: bool = False) -> None:
        due = [(at, victim) for at, victim in self._asleep if everybody or at <= time.monotonic()]
        for sleeper in due:
            self._asleep.remove(sleeper)
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(sleeper[1], signal.SIGCONT)
            os.close(sleeper[1])

    def _victim(self, kind: Kind) -> int | None:
        """A descriptor of one process of this kind, held before it is made sure that it is one of ours."""
        found = processes(self.installation, kind)
        self.rng.shuffle(found)
        for pid in found:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            if pid in processes(self.installation, kind):
                return descriptor
            os.close(descriptor)
        return None

    def _flush(self, _: Fault) -> bool:
        try:
            redis.Redis.from_url(self._settings().redis_url, socket_timeout=2).flushall()
        except redis.RedisError:
            return False
        return True

    def _bells(self, _: Fault) -> bool:
        """Each of some open jobs is rung for five times more."""
        engine = self.installation.engine()
        try:
            with engine.connect() as connection:
                ids = connection.scalars(
                    text("SELECT id FROM jobs WHERE state IN ('queued', 'waiting', 'running') ORDER BY id LIMIT 10")
                ).all()
        except SQLAlchemyError:
            return False
        finally:
            engine.dispose()
        self.connect_bells()
        return all(queue.ring(job_id, queue="io") for job_id in ids for _ in range(5))

    def ring_housekeeping(self) -> bool:
        """Now, instead of with the next minute."""
        self.connect_bells()
        queue.ring_housekeeping(int(time.time()))
        return True

    def connect_bells(self) -> None:
        """This process's doorbell is the installation's, wherever its Redis is now."""
        queue.connect(self._settings())
        queue.celery._pool = queue.celery.amqp._producer_pool = None  # else it keeps the connections it has

    def _arm(self, fault: Fault) -> bool:
        """One action at a time at each point: the next one is armed when somebody has passed."""
        name, _, action = fault.what.partition("=")
        self._waiting[name].append(action)
        self._arm_next()
        return True

    def _arm_next(self) -> None:
        self._note_taken()
        for name, waiting in self._waiting.items():
            if waiting and name not in self._armed:
                self._armed[name] = waiting.pop(0)
                failpoints.arm(self.folder, name, self._armed[name])

    def _note_taken(self) -> None:
        for name, action in list(self._armed.items()):
            if not (self.folder / name).exists():
                self.taken[f"{name}={action.split()[0]}"] += 1
                del self._armed[name]

    def _trouble(self, fault: Fault) -> bool:
        url, trouble = self.troubles[int(fault.what)]
        return requests.post(f"{url}/sandbox/faults", json=[trouble], timeout=10).ok

    def _power(self, _: Fault) -> bool:
        """Everything at once, and started again."""
        self._wake(everybody=True)
        self.installation.kill()
        with self.installation.log.with_suffix(".before").open("ab") as log:  # the next start writes a new one
            log.write(self.installation.log.read_bytes())
        self.installation.start()
        return True

    def _settings(self) -> Settings:
        return servers.found(Settings(_env_file=None, data=self.installation.data))


def processes(installation: Installation, kind: Kind) -> list[int]:
    """The processes of one installation that are of this kind."""
    words, place = WORDS[kind]
    all_of_it = {pid: command for pid, command in installation.pids().items() if "kill -CONT" not in command}
    same = [pid for pid, command in all_of_it.items() if words in command]
    first = {pid for pid in same if _parent(pid) not in same}
    if kind == "connection":
        return same  # each is a child of the database, whose own command has other words
    return [pid for pid in same if (pid in first) == (place == "first")]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
