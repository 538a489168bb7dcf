"""Who is at work: workers and dispatchers say so every few seconds, and are forgotten when they fall silent."""

import os
import socket
from functools import cache
from typing import Literal, get_args

import redis
import structlog

from novai_web.config import Settings

log = structlog.get_logger()

Kind = Literal["worker-cpu", "worker-io", "dispatcher"]
KINDS: tuple[Kind, ...] = get_args(Kind)

PRESENT_SECONDS = 30


def say(kind: Kind, settings: Settings) -> None:
    """A process of this kind is at work; to be said every few seconds. Failing to say so is no failure."""
    try:
        _redis(settings.redis_url).set(_key(kind), f"{socket.gethostname()}:{os.getpid()}", ex=PRESENT_SECONDS)
    except redis.RedisError as problem:
        log.warning("presence_not_reported", kind=kind, problem=type(problem).__name__)


def heard(settings: Settings) -> set[Kind]:
    """The kinds of which at least one process was heard within PRESENT_SECONDS. Raises redis.RedisError."""
    server = _redis(settings.redis_url)
    return {kind for kind in KINDS if server.exists(_key(kind))}


def _key(kind: Kind) -> str:
    return f"novai:presence:{kind}"


@cache
def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
