"""Makes sure that nothing is left running, whichever process is killed and however.

Two processes watch each other. The one that was started, the warden, does nothing but wait; the other one does the
work. The kernel gives every orphan below to the warden (it is their "subreaper"), so when the worker dies, even by
kill -9, the warden ends all that it had started, grandchildren included. When the warden dies, the worker gets a
SIGHUP, takes over the orphans, stops in good order and clears up behind itself.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

from novai_web.embedded.leash import PR_SET_CHILD_SUBREAPER, die_with_parent, prctl


def guarded(run: Callable[[], int]) -> int:
    """What `run` returns, or 128 + the number of the signal that ended it. Call it before starting any thread."""
    warden = os.getpid()
    adopt_orphans()
    worker = os.fork()
    if worker:
        return _watch(worker)
    os.setsid()  # Ctrl-C is for the warden, which passes it on once
    die_with_parent(warden, by=signal.SIGHUP)
    return run()


def adopt_orphans() -> None:
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_all_below() -> None:
    """Kill the children of this process, and theirs, which become ours when their parents end, and so on."""
    while True:
        for pid in _children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _watch(worker: int) -> int:
    def pass_on(_number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    while (ended := os.wait())[0] != worker:
        continue  # an orphan we had adopted
    end_all_below()
    code = os.waitstatus_to_exitcode(ended[1])
    return code if code >= 0 else 128 - code


def _children() -> Iterator[int]:
    """Field 4 of /proc/PID/stat is the parent; field 2, the name, may hold blanks and brackets (man 5 proc)."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                yield int(path.parent.name)
