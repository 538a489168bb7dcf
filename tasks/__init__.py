"""Celery's door: each task is one line into the house."""

from novai_web.queue import celery
from tasks import jobs, worker

__all__ = ["celery", "jobs", "worker"]
