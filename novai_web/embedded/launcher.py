"""One start from nothing to a ready NOVAI, and one stop in the opposite order."""

import errno
import os
import signal
import socket
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType
from typing import NoReturn

from novai_web.config import Settings
from novai_web.embedded import folder, sandbox, servers, warden
from novai_web.embedded.service import CannotStart, Service
from novai_web.embedded.supervisor import Supervisor, say

ROOT = Path(__file__).parents[2]
READY_SECONDS = 120
TICK_SECONDS = 0.1
ORPHAN_SECONDS = 3  # how long a stop may take once nobody waits for us any more


class Stop(BaseException):
    """Somebody asked this process to end."""


def run(settings: Settings) -> int:
    """Until somebody asks to stop. Raises CannotStart; either way nothing is left running."""
    hurry = threading.Event()
    _listen_for_wishes(hurry)
    os.umask(0o077)  # what this installation writes is nobody else's business
    data = settings.data.resolve()
    os.chdir(ROOT)
    try:
        with folder.claimed(data) as claim, _web_socket(settings) as listener, servers.private_folder(data) as sockets:
            _serve(settings, data, sockets, listener, claim, hurry)
    except Stop:
        say("novai", "everything has stopped")
    finally:
        warden.end_all_below()
    return 0


def _serve(
    settings: Settings, data: Path, sockets: Path, listener: socket.socket, claim: folder.Claim, hurry: threading.Event
) -> NoReturn:
    supervisor = Supervisor(hurry)
    wanted = servers.Addresses(settings.database_url, settings.redis_url)
    if not os.getuid():
        say("novai", "running as root, for which there is no need: a user of its own is safer")
    below, addresses = servers.embedded(data, sockets, wanted)
    below += _sandbox(settings, data)
    os.environ.update(addresses.environment, NOVAI_DATA=str(data), PYTHONUNBUFFERED="1")
    web, workers, dispatcher = _web(listener), _workers(settings), _dispatcher()
    try:
        supervisor.start(below, servers.START_SECONDS)
        supervisor.finish(_migration())
        supervisor.start([*workers, dispatcher, web], READY_SECONDS)
        claim.say(_address(settings))
        say("novai", f"ready at {_address(settings)}")
        if settings.samples_at_start:
            supervisor.start_once(_samples())
        while True:
            time.sleep(TICK_SECONDS)
            supervisor.tend()
    finally:
        claim.say_going()
        supervisor.stop([web, *workers, *supervisor.once])
        supervisor.stop([dispatcher])
        for service in reversed(below):
            supervisor.stop([service])


def _sandbox(settings: Settings, data: Path) -> list[Service]:
    """The one that stands in for vendors without a key, unless there is none such, or another one was named."""
    if settings.sandbox_url or not settings.lacks_a_key:
        return []
    service = sandbox.service(data / "sandbox", settings.sandbox_seconds)
    os.environ["NOVAI_SANDBOX_URL"] = sandbox.url(data / "sandbox")
    return [service]


def _listen_for_wishes(hurry: threading.Event) -> None:
    """The first wish to stop is carried out in good order; with the second one nobody is waited for.

    SIGHUP means that the warden is dead (warden.py): then there is little time.
    """
    asked = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            hurry.set()
            return
        asked = True
        if number == signal.SIGHUP:
            warden.adopt_orphans()
            patience = threading.Timer(ORPHAN_SECONDS, hurry.set)
            patience.daemon = True
            patience.start()
        raise Stop

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def _web_socket(settings: Settings) -> socket.socket:
    """Taken before anything else, so that a taken port is known at once and a fallen web server loses no visitor."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            raise CannotStart(
                f"Port {settings.port} is taken by another program. Stop that, or choose another port: "
                f"NOVAI_PORT={settings.port + 1} make run"
            ) from None
        raise CannotStart(
            f"Cannot listen on {settings.host}, port {settings.port}: {problem.strerror}. "
            "Set NOVAI_HOST to an address of this machine and NOVAI_PORT to a number above 1023."
        ) from None


def _web(listener: socket.socket) -> Service:
    number = listener.fileno()
    return Service(
        "web",
        [sys.executable, "-m", "gunicorn", "--bind", f"fd://{number}", "wsgi:app"],  # the rest: gunicorn.conf.py
        files=(number,),
        is_ready=lambda: _is_ready(listener),
    )


def _workers(settings: Settings) -> list[Service]:
    numbers = {"cpu": settings.cpu_workers or os.cpu_count() or 1, "io": settings.io_workers}
    return [_worker(queue, number) for queue, number in numbers.items()]


def _worker(queue: str, number: int) -> Service:
    """SIGTERM is Celery's warm shutdown: every job is handed back at its next word about progress."""
    worker = ["-m", "celery", "--app", "tasks", "--quiet", "worker", "--without-gossip", "--without-mingle"]
    options = ["--queues", queue, "--concurrency", str(number), "--hostname", f"{queue}@%h", "--loglevel", "INFO"]
    return Service(
        f"worker-{queue}",
        [sys.executable, *worker, *options],
        environment={"PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges"},
        grace_seconds=15,
    )


def _dispatcher() -> Service:
    return Service("dispatcher", [sys.executable, "-m", "flask", "--app", "wsgi", "dispatch"], grace_seconds=5)


def _migration() -> Service:
    return Service("migrate", [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"])


def _samples() -> Service:
    """Draws the sample media if that was never done; nobody waits for it."""
    return Service("samples", [sys.executable, "-m", "flask", "--app", "wsgi", "samples", "--gently"], grace_seconds=1)


def _is_ready(listener: socket.socket) -> bool:
    host, port = listener.getsockname()[:2]
    line = HTTPConnection({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port, timeout=5)  # noqa: S104
    try:
        line.request("GET", "/ready")
        return line.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        line.close()


def _address(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return settings.public_url or f"http://{host}:{settings.port}"
