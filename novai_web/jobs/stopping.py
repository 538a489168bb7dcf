"""A worker that is told to stop gives its job back at once, instead of letting the lease run out."""

import threading

from novai_web.errors import Interrupted


class Stopping(Interrupted):
    """This worker is shutting down; another goes on with the job."""


stopping = threading.Event()
