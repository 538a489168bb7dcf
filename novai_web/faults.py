"""Faults: the last requests that ended in an error of ours, so that a reference somebody quotes can be found again."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import redis
import structlog

from novai_web.config import Settings

log = structlog.get_logger()

KEPT = 50
WORDS_MAX = 200
_KEY = "novai:faults"


@dataclass(frozen=True)
class Fault:
    """`reference` stands on the page that was shown and in the log; `address` is the route, never what was asked of it.

    `problem` is the name of the exception: its words may hold what a person wrote, so they are in the log alone.
    """

    reference: str
    at: datetime
    method: str
    address: str
    problem: str


def note(reference: str, method: str, address: str, problem: str, settings: Settings) -> None:
    """Write one down, and forget what is older than the newest few. Failing to do so is no failure."""
    fault = Fault(reference, datetime.now(UTC), method, address[:WORDS_MAX], problem[:WORDS_MAX])
    try:
        with _redis(settings.redis_url).pipeline() as line:
            line.lpush(_KEY, json.dumps({**asdict(fault), "at": fault.at.isoformat()}))
            line.ltrim(_KEY, 0, KEPT - 1)
            line.execute()
    except (redis.RedisError, ValueError) as failure:  # ValueError: no address at all
        log.warning("fault_not_kept", problem=type(failure).__name__)


def newest(settings: Settings) -> Sequence[Fault]:
    """The newest first. Raises redis.RedisError, or ValueError when Redis has no address."""
    found: Any = _redis(settings.redis_url).lrange(_KEY, 0, KEPT - 1)
    rows = [json.loads(row) for row in found]
    return [Fault(**{**row, "at": datetime.fromisoformat(row["at"])}) for row in rows]


@cache
def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
