"""The child's own bounds, set before it loads anything that decodes."""

import ctypes
import os
import resource
import signal

from novai_web.engines.ffmpeg.media import Limits

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to kill us when the parent dies; it may have died before we asked. (Linux only.)"""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(os.environ["NOVAI_PARENT"]):
        os._exit(1)


def bound(limits: Limits, seconds: float) -> None:
    """CPU time may exceed the wall by the number of cores; the parent watches the wall."""
    cpu_seconds = int(seconds * (os.cpu_count() or 1)) + 1
    _lower(resource.RLIMIT_AS, limits.memory_bytes_max)
    _lower(resource.RLIMIT_CPU, cpu_seconds)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes_max)
    _lower(resource.RLIMIT_NOFILE, limits.open_files_max)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(what: int, to: int) -> None:
    _, hard = resource.getrlimit(what)
    bounded = to if hard == resource.RLIM_INFINITY else min(to, hard)
    resource.setrlimit(what, (bounded, bounded))
