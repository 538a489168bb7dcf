"""Jobs: one run of one tool for one account, which nothing loses and nobody pays twice."""

from novai_web.jobs.batches import Summary
from novai_web.jobs.changing import cancel, cancel_batch, move_to_front, retry, retry_batch
from novai_web.jobs.finding import Delivered, active_count, find, find_batch, find_many, outputs
from novai_web.jobs.models import OPEN, OVER, Batch, Job, Output, State
from novai_web.jobs.running import run_slice
from novai_web.jobs.submitting import Quote, Submitted, quote, submit, submit_internal
from novai_web.jobs.waking import wake

__all__ = [
    "OPEN",
    "OVER",
    "Batch",
    "Delivered",
    "Job",
    "Output",
    "Quote",
    "State",
    "Submitted",
    "Summary",
    "active_count",
    "cancel",
    "cancel_batch",
    "find",
    "find_batch",
    "find_many",
    "move_to_front",
    "outputs",
    "quote",
    "retry",
    "retry_batch",
    "run_slice",
    "submit",
    "submit_internal",
    "wake",
]
