"""Failpoints: named places where a drill may stop, kill or cut this process. In normal running they do nothing.

Set NOVAI_FAILPOINTS to a folder, and `arm(folder, "submit.after_post", "kill")`: whoever reaches that point first, in
whichever process, does it, once.
"""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

NAMES = (
    "create.before_commit",
    "create.after_commit",
    "create.after_bell",
    "claim.after",
    "step.mid",
    "step.after_output",
    "submit.after_intent",
    "submit.after_post",
    "submit.after_save",
    "poll.after_terminal",
    "fetch.mid",
    "store.after_file",
    "store.after_blob",
    "store.before_commit",
    "store.after_commit",
    "cancel.before_vendor",
    "cancel.after_vendor",
    "expire.after_mark",
    "expire.after_blob",
    "upload.after_write",
    "upload.after_rename",
    "settle.before_commit",
)

# kill: SIGKILL of this process. pause: nothing of it runs for so long, not even its heartbeat. raise: a Fault.
# cut: the connection of this thread's database session is torn, so that its next statement fails.
ACTION = re.compile(r"kill|raise|cut|pause (?P<seconds>\d+(\.\d+)?)")
PAUSE_SECONDS_MIN = 0.2  # so that whoever wakes a paused process cannot be quicker than its pause


class Fault(RuntimeError):
    """What a failpoint raises: an error that nobody foresaw."""


def arm(folder: Path, name: str, action: str) -> None:
    """Let the next process that reaches `name` do `action`. Raises ValueError for what is no name or no action."""
    if name not in NAMES or not ACTION.fullmatch(action):
        raise ValueError(f"{name}: {action}")
    written = folder / f".{name}.{os.getpid()}"
    written.write_text(action)
    written.replace(folder / name)  # never seen half written


def _pass(name: str) -> None:
    """No drill: a failpoint is a call of this."""


hit: Callable[[str], None] = _pass
_tear: Callable[[], None] | None = None


def watch(folder: Path | None) -> None:
    """Look for armed failpoints in this folder from now on; None: pass them all by."""
    global hit
    hit = _pass if folder is None else lambda name: _take(folder, name)


def tear_with(tear: Callable[[], None]) -> None:
    """How a `cut` tears the connection of the thread it happens in: only the database knows."""
    global _tear
    _tear = tear


def _take(folder: Path, name: str) -> None:
    """Do what is armed here, if anything is. Renaming is atomic, so one file is one hit."""
    taken = folder / f"{name}.taken-{os.getpid()}"
    try:
        (folder / name).rename(taken)
    except FileNotFoundError:
        return
    _do(name, taken.read_text().strip())


def _do(name: str, action: str) -> None:
    found = ACTION.fullmatch(action)
    if found is None or action == "raise":
        raise Fault(f"{name}: {action}")
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "cut":
        assert _tear is not None, "a process with a database has said how"
        _tear()
    else:
        _pause(max(PAUSE_SECONDS_MIN, float(found["seconds"])))


def _pause(seconds: float) -> None:
    """Stop this whole process, its threads too. Somebody outside wakes it, even if its group is stopped with it."""
    command = ["/bin/sh", "-c", f"sleep {seconds:.3f}; kill -CONT {os.getpid()}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True):
        os.kill(os.getpid(), signal.SIGSTOP)


if _folder := os.environ.get("NOVAI_FAILPOINTS"):
    watch(Path(_folder))
