"""Contents: what came in a vendor's answer itself, durably in the store before anything else is done with it.

The list of the files is stored last, so whoever finds it finds all of them: a worker that dies between the answer and
the database has lost nothing that was paid for.
"""

import json
import random
import re
import time
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter

from novai_web.engines.store import Store
from novai_web.engines.store.durable import disk_errors
from novai_web.errors import DiskFull, NotFound, StoreFailed
from novai_web.jobs.runs import Run
from novai_web.vendors import Done, File, Finished

PREFIX = "store:"
OURS = re.compile(rf"{PREFIX}jobs/(?P<job>\d{{1,18}})/run-\d{{1,18}}-\d{{1,9}}\.bin", re.ASCII)
OPAQUE = "application/octet-stream"  # what it really is will be found out like an upload's
INSIST_SECONDS = 150.0  # a store that is away comes back; what was paid for does not
KEPT = TypeAdapter(Done)


def keep(store: Store, run: Run, finished: Finished, folder: Path) -> Done:
    """Store all of it; what is returned is what `kept` will find. `folder` is for what is on its way."""
    files = []
    for n, content in enumerate(finished.contents):
        key = f"{_base(run)}-{n}.bin"
        _put(store, key, content.data, folder)
        files.append(File(f"{PREFIX}{key}", content.name, content.mime))
    done = Done(files, external_id=finished.external_id, cost_microusd=finished.cost_microusd)
    _put(store, f"{_base(run)}.json", json.dumps(asdict(done)).encode(), folder)
    return done


def kept(store: Store, run: Run) -> Done | None:
    """What the answer to this run was, if there was one and nobody has written it into the database."""
    try:
        return KEPT.validate_json(b"".join(store.read(f"{_base(run)}.json")))
    except NotFound:
        return None


def key_of(file: File, job_id: int) -> str | None:
    """Where the content lies that a run of this job came with; None for a file that is the vendor's to fetch."""
    found = OURS.fullmatch(file.url)
    return file.url.removeprefix(PREFIX) if found and int(found["job"]) == job_id else None


def _base(run: Run) -> str:
    return f"jobs/{run.job_id}/run-{run.id}"


def _put(store: Store, key: str, data: bytes, folder: Path) -> None:
    path = folder / key.rpartition("/")[2]
    end = time.monotonic() + INSIST_SECONDS
    while True:
        try:
            with disk_errors():
                path.write_bytes(data)
            store.put(key, path, OPAQUE)
        except (StoreFailed, DiskFull):
            if time.monotonic() > end:
                raise
            time.sleep(random.uniform(0.5, 2.0))  # noqa: S311
        else:
            return path.unlink()
