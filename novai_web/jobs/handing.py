"""Handing files over to a vendor and bringing back what it made: free, repeated as often as need be, and in time."""

from collections.abc import Callable
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sqlalchemy import func, select

from novai_web.db import now, session, transaction
from novai_web.engines.store.durable import disk_errors
from novai_web.errors import NotFound
from novai_web.jobs import breaker, contents, paid
from novai_web.jobs.complaints import complain
from novai_web.jobs.runs import Run
from novai_web.jobs.waiting import Waiting, spread
from novai_web.vendors import AccountTrouble, Away, File, Refused, Uploading, Vendor, VendorFailed

if TYPE_CHECKING:
    from novai_web.jobs.bench import Bench

# Vendors keep what they made for an hour at least; whoever has not let us have it by then will not.
BRING_SECONDS_MAX = 3600
NEVER_CAME = "It said that it was ready, and its file never came."


def upload(
    bench: "Bench", vendor: Uploading, path: Path, *, mime: str, name: str, heard: Callable[[], None] | None
) -> str:
    """The address of a file at a vendor; the same each time it is asked for, so that a request stays the same one."""
    known = bench.uploads
    with path.open("rb") as file:
        content = file_digest(file, "sha256").hexdigest()
    key = sha256("\n".join((vendor.name, str(vendor.is_sandbox), mime, name, content)).encode()).hexdigest()[:16]
    if key not in known:
        if wait := breaker.seconds_to_wait(vendor.name):
            bench.progress(0)
            raise Waiting(wait)
        bench.remember_upload(key, _send(bench, vendor, path, mime, name, heard or (lambda: bench.progress(0))))
    return bench.uploads[key]


def _send(bench: "Bench", vendor: Uploading, path: Path, mime: str, name: str, heard: Callable[[], None]) -> str:
    try:
        address = vendor.upload(path, mime, name, heard)
    except Away as problem:
        _wait(bench, vendor, problem)
    except (Refused, AccountTrouble) as final:
        breaker.succeeded(vendor.name)
        _complain(bench, vendor, final.code, str(final))
        raise
    breaker.succeeded(vendor.name)
    return address


def bring(bench: "Bench", vendor: Vendor, file: File) -> Path:
    """A file that a vendor made, in the job's folder. Raises VendorFailed for one that is not to be had."""
    path = bench.folder / f"vendor-{sha256(file.url.encode()).hexdigest()[:16]}"
    try:
        with disk_errors():
            _bring(bench, vendor, file, path)
    except NotFound as problem:
        raise VendorFailed(NEVER_CAME) from problem
    except VendorFailed as failure:
        _complain(bench, vendor, failure.code, failure.words)
        raise
    except Away as problem:
        if _seconds_since_done(bench, vendor) > BRING_SECONDS_MAX:
            _complain(bench, vendor, VendorFailed.code, NEVER_CAME)
            raise VendorFailed(NEVER_CAME) from problem
        _complain(bench, vendor, *paid.said_by(problem))
        _pause(bench, problem)  # where files lie may be away while the vendor itself is there
    return path


def _bring(bench: "Bench", vendor: Vendor, file: File, path: Path) -> None:
    if key := contents.key_of(file, bench.job.id):
        bench.store.fetch(key, path)
    else:
        vendor.fetch(file, path, lambda: bench.progress(0))


def _wait(bench: "Bench", vendor: Vendor, problem: Away) -> NoReturn:
    _complain(bench, vendor, *paid.said_by(problem))
    breaker.failed(vendor.name)
    _pause(bench, problem)


def _pause(bench: "Bench", problem: Away) -> NoReturn:
    bench.progress(0)
    raise Waiting(spread(paid.AWAY_SECONDS)) from problem


def _seconds_since_done(bench: "Bench", vendor: Vendor) -> float:
    with transaction():
        since = func.max(func.extract("epoch", now() - Run.ended_at))
        mine = (Run.job_id == bench.job.id, Run.vendor == vendor.name, Run.state == "done")
        return float(session.scalar(select(since).where(*mine)) or 0)


def _complain(bench: "Bench", vendor: Vendor, code: str, words: str) -> None:
    complain(vendor.name, code, words, bench.job.id, bench.settings)
