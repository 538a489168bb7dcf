"""The doorbell: tells a worker to look at the jobs table. The table is the queue; a lost bell costs seconds."""

from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis import RedisError

from novai_web.config import Settings

log = structlog.get_logger()

celery = Celery("novai")
QUEUES = ("cpu", "io")

RUN_SLICE = "tasks.run_slice"
KEEP_HOUSE = "tasks.keep_house"


def connect(settings: Settings) -> None:
    """Point Celery at the broker. Early acknowledgement and no results: the jobs table keeps both."""
    celery.conf.update(
        broker_url=broker_url(settings.redis_url),
        broker_connection_retry_on_startup=True,
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 2, "max_retries": 1},
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue="io",
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=500,
        worker_hijack_root_logger=False,
    )


def broker_url(redis_url: str) -> str:
    """Celery spells a unix socket `redis+socket://`, redis-py spells it `unix://`; ours is redis-py's."""
    return redis_url.replace("unix://", "redis+socket://", 1)


def ring(job_id: int, *, queue: str) -> bool:
    """Ask a worker to look now. Failing to ring is no failure: the dispatcher rings again."""
    return _send(RUN_SLICE, job_id, queue)


def ring_housekeeping(slot: int) -> None:
    """Ask a worker to do the periodic work of this minute."""
    _send(KEEP_HOUSE, slot, "io")


def _send(task: str, number: int, queue: str) -> bool:
    try:
        celery.send_task(task, args=[number], queue=queue, retry=False)
    except (OperationalError, OSError) as problem:
        log.warning("bell_not_rung", task=task, number=number, problem=type(problem).__name__)
        return False
    return True


def depth(queue: str) -> int | None:
    """Bells that no worker has taken yet. None: the broker is away."""
    try:
        with celery.pool.acquire(block=True) as connection:
            channel: Any = connection.default_channel
            return int(channel.client.llen(queue))
    except (OperationalError, RedisError, OSError) as problem:
        log.warning("bells_not_counted", queue=queue, problem=type(problem).__name__)
        return None
