"""Bringing a vendor's file here: what may pass is waited for, what would be so again ends it."""

from collections.abc import Callable
from pathlib import Path

from novai_web.vendors import Away, VendorFailed, line
from novai_web.vendors.line import NoAnswer

SECONDS = 600.0
BYTES_MAX = 2 * 1024**3
NOT_ITS_OWN = "It points to a file that is not its own."


def fetch(url: str, path: Path, heard: Callable[[], None], *, is_its_own: bool, is_public: bool = True) -> None:
    """Write what is at `url` to `path`, whole or not at all.

    `is_its_own`: whether the vendor's files lie there. `is_public`: not in a private network, whatever a name is said
    to mean. Raises Away, and VendorFailed when asking again would be of no use.
    """
    if not is_its_own:
        raise VendorFailed(NOT_ITS_OWN)
    try:
        line.download(url, path, seconds=SECONDS, bytes_max=BYTES_MAX, heard=heard, is_public=is_public)
    except NoAnswer as problem:
        if problem.is_final:
            raise VendorFailed(str(problem)) from problem
        raise Away from problem
