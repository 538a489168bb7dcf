"""How a slice ends when its job does not: the job is put back, to be called again when the time has come."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import OperationalError

from novai_web.db import transaction
from novai_web.errors import Interrupted
from novai_web.jobs.models import State


class Waiting(Interrupted):
    """The step asked to be called again later."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


@dataclass(frozen=True)
class Rest:
    """The job is put back, to be called again in so many seconds; at once if somebody asks to cancel it, unless that
    is what it waits with."""

    state: State
    seconds: float
    is_failure: bool = False
    is_cancelling: bool = False


def spread(seconds: float) -> float:
    """About so long: what began together does not come back together."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311


def insist(write: Callable[[], None], seconds: float) -> None:
    """Run `write` in a transaction, again and again for so long while the database is away. Raises OperationalError."""
    end = time.monotonic() + seconds
    while True:
        try:
            with transaction():
                return write()
        except OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(random.uniform(0.5, 1.5))  # noqa: S311
