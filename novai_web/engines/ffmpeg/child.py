"""Talking to the child process in which everything that reads foreign media happens."""

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from novai_web.engines.ffmpeg.media import Limits
from novai_web.errors import NovaiError, UnusableMedia

log = logging.getLogger(__name__)

PROJECT = Path(__file__).resolve().parents[3]
TICK_SECONDS = 0.5
LINE_BYTES_MAX = 4 * 1024 * 1024

Event = dict[str, Any]


class Crashed(NovaiError):
    """Our media process stopped. Try again; if it stays, tell the administrator."""


def ask(verb: str, limits: Limits, seconds: float, **request: Any) -> Any:
    """One question, one answer. Raises UnusableMedia with the child's sentence, or when it dies or takes too long."""
    try:
        for event in talk(verb, limits, seconds, **request):
            if "answer" in event:
                return event["answer"]
            if "refusal" in event:
                raise UnusableMedia(event["refusal"])
    except Crashed as error:
        raise UnusableMedia("This file could not be read; it is probably damaged. Export it again.") from error
    raise UnusableMedia("This file could not be read.")


def talk(verb: str, limits: Limits, seconds: float, **request: Any) -> Iterator[Event]:
    """Start a child, yield what it says; an empty event at least twice a second, so that the caller can stop it.

    The child and all its group are gone when this generator is closed, whatever ended it.
    Raises Crashed if the child died or was silent or alive for too long.
    """
    with TemporaryFile() as stderr:
        child = _start(verb, stderr)
        try:
            _tell(child, {"limits": limits.to_json(), "seconds": seconds, **request})
            yield from _listen(child, seconds, limits.silence_seconds_max)
            if child.wait() != 0:
                raise Crashed
        except Crashed:
            log.warning("The media child for %s ended with %s: %s", verb, child.poll(), _tail(stderr))
            raise
        finally:
            _end(child)


def _start(verb: str, stderr: IO[bytes]) -> "subprocess.Popen[bytes]":
    """A group of its own, and nothing of our environment: what decodes foreign bytes has no business with secrets."""
    environment = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(PROJECT),
        "NOVAI_PARENT": str(os.getpid()),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",  # nothing here multiplies matrices, and threads cost their start
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-s", "-m", "novai_web.engines.ffmpeg.inside", verb],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        cwd="/",
        start_new_session=True,
    )


def _tell(child: "subprocess.Popen[bytes]", request: Event) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(json.dumps(request).encode())
        child.stdin.close()
    except BrokenPipeError:
        raise Crashed from None


def _listen(child: "subprocess.Popen[bytes]", seconds: float, silence_seconds: float) -> Iterator[Event]:
    assert child.stdout is not None
    end, heard_at, rest = time.monotonic() + seconds, time.monotonic(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if now > end or now - heard_at > silence_seconds:
                raise Crashed
            if not selector.select(min(TICK_SECONDS, end - now)):
                yield {}
                continue
            heard = os.read(child.stdout.fileno(), 65536)
            if not heard:
                return
            heard_at = now
            *lines, rest = (rest + heard).split(b"\n")
            if len(rest) > LINE_BYTES_MAX:
                raise Crashed
            yield from map(_parse, lines)


def _parse(line: bytes) -> Event:
    try:
        event = json.loads(line)
    except ValueError:
        raise Crashed from None
    if not isinstance(event, dict):
        raise Crashed
    return event


def _end(child: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(child.pid, signal.SIGKILL)
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
    child.wait()


def _tail(stderr: IO[bytes]) -> str:
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - 1000))
    return stderr.read().decode(errors="replace")
