"""Who is at work: workers and dispatchers say so every few seconds, and are forgotten when they fall silent."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import redis
import structlog

from novai_web.config import Settings

log = structlog.get_logger()

Kind = Literal["worker-cpu", "worker-io", "dispatcher"]
KINDS: tuple[Kind, ...] = get_args(Kind)

PRESENT_SECONDS = 30
# One that fell silent without saying goodbye is remembered for so long, so that somebody can see that it is missing.
REMEMBERED_SECONDS = 600


@dataclass(frozen=True)
class Process:
    """One process, by the machine's name and its number there, and how long ago it was heard."""

    kind: str
    host: str
    pid: str
    silent_seconds: int

    @property
    def is_present(self) -> bool:
        return self.silent_seconds <= PRESENT_SECONDS


def say(kind: Kind, settings: Settings) -> None:
    """A process of this kind is at work; to be said every few seconds. Failing to say so is no failure."""
    try:
        with _redis(settings.redis_url).pipeline() as line:
            line.set(_key(kind), _name(), ex=PRESENT_SECONDS)
            line.set(_own_key(kind), b"", ex=REMEMBERED_SECONDS)
            line.execute()
    except redis.RedisError as problem:
        log.warning("presence_not_reported", kind=kind, problem=type(problem).__name__)


def leave(kind: Kind, settings: Settings) -> None:
    """This process ends as it was told to; nobody needs to miss it."""
    try:
        _redis(settings.redis_url).delete(_own_key(kind))
    except redis.RedisError as problem:
        log.warning("presence_not_reported", kind=kind, problem=type(problem).__name__)


def processes(settings: Settings) -> Sequence[Process]:
    """Every process that was heard lately, by kind and name. Raises redis.RedisError."""
    server = _redis(settings.redis_url)
    keys = sorted(key.decode() for kind in KINDS for key in server.scan_iter(f"{_key(kind)}:*", count=1000))
    with server.pipeline() as line:
        for key in keys:
            line.ttl(key)
        left = line.execute()
    heard = zip(keys, left, strict=True)
    return [_process(key, REMEMBERED_SECONDS - seconds) for key, seconds in heard if seconds >= 0]


def _process(key: str, silent_seconds: int) -> Process:
    kind, host, pid = key.removeprefix("novai:presence:").split(":", 2)
    return Process(kind, host, pid, silent_seconds)


def heard(settings: Settings) -> set[Kind]:
    """The kinds of which at least one process was heard within PRESENT_SECONDS. Raises redis.RedisError."""
    server = _redis(settings.redis_url)
    return {kind for kind in KINDS if server.exists(_key(kind))}


def _key(kind: Kind) -> str:
    return f"novai:presence:{kind}"


def _own_key(kind: Kind) -> str:
    return f"{_key(kind)}:{_name()}"


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


@cache
def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
