"""The sandbox on this machine: it stands in for the vendors that have no key, and is where it was the last time."""

import socket
import sys
from contextlib import suppress
from pathlib import Path

from novai_web.embedded.service import Service

HOST = "127.0.0.1"
# Those of other vendors are nothing for it to know.
KEYS = ("FAL_KEY", "GEMINI_API_KEY", "WAVESPEED_API_KEY", "PICSI_KEY")


def url(folder: Path) -> str:
    """Where it was when it ran last; empty when it never did."""
    port = _kept(folder)
    return f"http://{HOST}:{port}" if port else ""


def service(folder: Path, seconds: float) -> Service:
    """Its runs take so many seconds.

    On the same port each time if that is free, because jobs that wait for it have noted addresses of files.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = _free(_kept(folder))
    (folder / "port").write_text(str(port))
    options = {"port": port, "folder": folder, "seconds": seconds}
    given = (word for name, value in options.items() for word in (f"--{name}", str(value)))
    command = [sys.executable, "-m", "novai_web.sandbox.vendors", *given]
    nothing = dict.fromkeys(KEYS, "")
    return Service("sandbox", command, environment=nothing, is_ready=lambda: _answers(port), grace_seconds=5)


def _kept(folder: Path) -> int:
    with suppress(OSError, ValueError):
        return int((folder / "port").read_text())
    return 0


def _free(wanted: int) -> int:
    """`wanted` if nobody has it, else any port of this machine that is free."""
    for port in (wanted, 0):
        with suppress(OSError, OverflowError), socket.create_server((HOST, port)) as found:
            return int(found.getsockname()[1])
    return wanted  # which says, when it starts, why it cannot


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False
