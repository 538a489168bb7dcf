"""Celery as tests change it: one for the process, and it keeps the connections that it once made."""

from novai_web import queue
from novai_web.config import Settings


def connect_anew(settings: Settings) -> None:
    """Point Celery at this Redis, and forget what it has open at another."""
    queue.connect(settings)
    queue.celery._pool = queue.celery.amqp._producer_pool = None


def come_home(settings: Settings) -> None:
    """The same, if something that ran in this process, a drill or another application, pointed it elsewhere."""
    if queue.celery.conf.broker_url != queue.broker_url(settings.redis_url):
        connect_anew(settings)
