"""Takes one guard out of the installation that a drill runs on, to see whether the drill would notice.

Python imports a module of this name by itself when it starts, if PYTHONPATH leads to it; only `bench.stage` sets that.
The product has no switch for this and knows nothing of it. A guard is a piece of its source: the modules that have it
are compiled from a source in which it is replaced. A piece that is not there exactly once stops the process, so that
an ablation cannot become empty when the product changes.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

Pieces = Mapping[str, Sequence[tuple[str, str]]]  # module → what stands there, what stands there instead

GUARDS: Mapping[str, Pieces] = {
    # Every write of a slice carries the lease's token.
    "fence": {
        "novai_web.jobs.leases": (
            (
                ".where(Job.id == self.job_id, Job.lease_token == self.token, Job.state == State.RUNNING)",
                ".where(Job.id == self.job_id)",
            ),
            ("WHERE id = :job AND lease_token = :token AND state = 'running'", "WHERE id = :job"),
        ),
        "novai_web.jobs.ending": (
            ("if lease and (locked.lease_token != lease.token or locked.state != State.RUNNING):", "if False:"),
        ),
    },
    # An end is written once: the door looks, the end looks, the hold looks, and an entry's key is unique.
    "settle-once": {
        "novai_web.jobs.changing": (("        if job.is_over:\n            continue\n", ""),),
        "novai_web.jobs.ending": (("if locked is None or locked.is_over:", "if locked is None:"),),
        "novai_web.credits.ledger": (
            (" WHERE job_id = :job AND state = 'held' RETURNING", " WHERE job_id = :job RETURNING"),
            ('key=f"capture:{job_id}"', 'key=f"capture:{job_id}:" + __import__("uuid").uuid4().hex'),
            ('key=f"release:{job_id}"', 'key=f"release:{job_id}:" + __import__("uuid").uuid4().hex'),
        ),
    },
    # The dispatcher rings again for what is due.
    "re-ring": {
        "novai_web.jobs.dispatcher": (("unheard = due[waiting:]", "unheard = due[:0]"),),
    },
    # Nothing is sent to a vendor by a worker that may have been paused for half a lease.
    "pre-post-deadline": {
        "novai_web.jobs.paid": (
            (
                "    if bench.lease_age_seconds > LEASE_SHARE_BEFORE * bench.settings.lease_seconds:\n"
                "        raise Waiting(1)\n",
                "",
            ),
        ),
    },
    # Housekeeping compares the vendor's list with our runs.
    "reconcile": {
        "novai_web.jobs.housekeeping": (("    reconcile(settings)\n", ""),),
    },
}


class _Ablated(SourceFileLoader):
    """Compiles a module without its guard, past the cache of compiled modules."""

    def __init__(self, name: str, path: str, pieces: Sequence[tuple[str, str]]) -> None:
        super().__init__(name, path)
        self.pieces = pieces

    def get_code(self, fullname: str) -> CodeType:
        return compile(ablated(Path(self.path).read_text(), self.pieces), self.path, "exec", dont_inherit=True)


def ablated(source: str, pieces: Sequence[tuple[str, str]]) -> str:
    for stands, instead in pieces:
        if source.count(stands) != 1:
            raise ImportError(f"this guard is not where it was: {stands}")
        source = source.replace(stands, instead)
    return source


class _Finder(MetaPathFinder):
    def __init__(self, guard: Pieces) -> None:
        self.guard = guard

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self.guard:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Ablated(name, spec.origin, self.guard[name])
        return spec


if _guard := os.environ.get("BENCH_WITHOUT"):
    sys.meta_path.insert(0, _Finder(GUARDS[_guard]))
