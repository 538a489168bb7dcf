"""The two bells a worker answers."""

from novai_web import queue
from novai_web.jobs import housekeeping, running
from novai_web.queue import celery
from tasks.worker import house


@celery.task(name=queue.RUN_SLICE, bind=True)
def run_slice(self: object, job_id: int) -> None:
    """A bell names the job that rang it, but whoever's turn it is goes first."""
    with house() as (settings, store):
        running.run_slice(_queue_of(self), store, settings)


@celery.task(name=queue.KEEP_HOUSE)
def keep_house(slot: int) -> None:
    with house() as (settings, store):
        housekeeping.keep_house(store, settings)


def _queue_of(task: object) -> str:
    """The queue this bell came through."""
    delivered: dict[str, str] = task.request.delivery_info  # type: ignore[attr-defined]
    return delivered["routing_key"]
