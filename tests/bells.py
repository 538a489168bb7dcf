"""Celery as tests change it: one for the process, and it keeps the connections that it once made."""

from novai_web import queue
from novai_web.config import Settings


def connect_anew(settings: Settings) -> None:
    """Point Celery at this Redis, and forget what it has open at another."""
    queue.connect(settings)
    queue.celery._pool = queue.celery.amqp._producer_pool = None
