"""Becomes the given command, after making sure that it dies with its parent and is not root if it must not be.

Run as a script, so that nothing has to happen between fork and exec in a process that has threads:
`python -I -S leash.py PARENT_PID USER COMMAND…`, where USER is `-` to stay who we are, and a name that ends
in `+` keeps the right to walk through folders that are closed to that user.
"""

import ctypes
import os
import pwd
import signal
import struct
import sys

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP = 28, 1 << 2
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int, more: int = 0) -> None:
    """man 2 prctl; raises OSError."""
    if libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(more), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """The kernel sends us `by` when the thread that started us ends, however it ends."""
    prctl(PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:  # it was gone before we asked
        os.kill(os.getpid(), by)


def become(user: str, *, walk_anywhere: bool) -> None:
    """Stop being root for good. With `walk_anywhere` one right is kept: file permissions do not stop us."""
    who = pwd.getpwnam(user)
    os.setgroups([])
    os.setresgid(who.pw_gid, who.pw_gid, who.pw_gid)
    if walk_anywhere:  # changing the user would drop all rights, and access(2) would not look at any
        prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setresuid(who.pw_uid, who.pw_uid, who.pw_uid)
    if walk_anywhere:
        _keep_only(CAP_DAC_OVERRIDE)


def _keep_only(capability: int) -> None:
    """man 2 capset: effective, permitted and inheritable, first for capabilities 0 to 31, then 32 to 63."""
    header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
    mask = 1 << capability
    if libc.capset(header, struct.pack("6I", mask, mask, mask, 0, 0, 0)):
        raise OSError(ctypes.get_errno(), "capset")
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def main(parent: str, user: str, *command: str) -> None:
    if user != "-":
        become(user.removesuffix("+"), walk_anywhere=user.endswith("+"))
    die_with_parent(int(parent))  # after becoming another user, which would clear it
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
