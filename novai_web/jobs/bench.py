"""The bench a running step works at: its folder, its notes, its word about progress, what it hands over."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select, update

from novai_web import failpoints
from novai_web.config import Settings
from novai_web.db import now, session, transaction
from novai_web.engines.store import Store
from novai_web.errors import Interrupted, StaleLease, ToolFailed
from novai_web.jobs import paid
from novai_web.jobs.leases import Lease
from novai_web.jobs.models import Job, Output
from novai_web.jobs.waiting import Waiting, spread
from novai_web.library.models import Asset, Hook, Source
from novai_web.tools.tool import Made, Promise
from novai_web.vendors import Away, Done, File, Vendor

# A card is drawn at most this often; writing progress more often would tell nobody anything.
SECONDS_BETWEEN_WORDS = 0.7
# A job that gets on is not one that stops its workers, nor one that keeps failing: the counts start anew.
UNSPOILT = {"lost_attempts": 0, "error_attempts": 0}


class Bench:
    """`Work`, as a step of one lease of one job sees it. Every write carries the lease."""

    def __init__(self, job: Job, lease: Lease, store: Store, settings: Settings, taken_at: float | None = None) -> None:
        """`taken_at` on the monotonic clock: before the lease was asked for, because it may be younger, never older."""
        self.job, self.lease, self.store, self.settings = job, lease, store, settings
        self._renewed_at = time.monotonic() if taken_at is None else taken_at
        self.notes: dict[str, Any] = dict(job.notes)
        self.folder = settings.scratch_folder / f"job-{lease.job_id}-{lease.token}"
        self.promises: Sequence[Promise] = _pending(job)
        self._step = job.step
        self._spoke_at = 0.0
        self._stop: Interrupted | None = None

    def __enter__(self) -> "Bench":
        for left in self.folder.parent.glob(f"job-{self.lease.job_id}-*"):
            if int(left.name.rpartition("-")[2]) < self.lease.token:  # a newer one is another worker's, who is at it
                shutil.rmtree(left, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self, why: Interrupted) -> None:
        """Said from another thread; heard at the next word about progress."""
        self._stop = self._stop or why

    def renewed(self, asked_at: float) -> None:
        """Said from another thread, when the lease was renewed."""
        self._renewed_at = asked_at

    @property
    def lease_age_seconds(self) -> float:
        """How old the lease is, by a clock that goes on while this process is stopped."""
        return time.monotonic() - self._renewed_at

    def progress(self, done: float) -> None:
        """Say how far this step is, 0 to 1. Raises Interrupted if the work must stop."""
        failpoints.hit("step.mid")
        if self._stop:
            raise self._stop
        if time.monotonic() - self._spoke_at < SECONDS_BETWEEN_WORDS:
            return
        self.speak(done)

    def speak(self, done: float) -> None:
        """Write down how far this step is, now."""
        self._spoke_at = time.monotonic()
        self.write(lambda: self.lease.write(progress=func.greatest(Job.progress, self._overall(done))))

    def _overall(self, done: float) -> float:
        weights = [step.weight for step in self.job.tool.steps]
        behind = sum(weights[: self._step])
        share = (behind + weights[self._step] * min(max(done, 0.0), 1.0)) / sum(weights)
        return min(share, 0.999)

    def write(self, change: Callable[[], None]) -> None:
        """Run `change` in one transaction that holds only if the lease does."""
        with transaction():
            self.lease.write()
            change()

    def finish_step(self) -> None:
        """Checkpoint: a new lease starts at the step after this one."""
        failpoints.hit("step.after_output")
        self._step += 1
        behind = sum(step.weight for step in self.job.tool.steps[: self._step])
        share = min(behind / sum(step.weight for step in self.job.tool.steps), 0.999)
        with transaction():
            self.lease.write(step=self._step, notes=self.notes, progress=func.greatest(Job.progress, share), **UNSPOILT)

    def fetch(self, asset: Asset) -> Path:
        """The asset's file on this machine, fetched once a lease. Read it only: it may be the stored file itself."""
        assert asset.store_key is not None, "only ready assets are read"
        path = self.folder / f"asset-{asset.id}{Path(asset.store_key).suffix}"
        if not path.exists():
            self.store.fetch(asset.store_key, path)
        return path

    def keep(self, path: Path, made: Made, *, n: int = 0) -> Asset:
        """Deliver output `n`: durably stored first, then a row. A repeated step never delivers it twice."""
        if (delivered := self._delivered(n)) is not None:
            return delivered
        failpoints.hit("store.after_file")
        keys = self._put(path, made, n)
        failpoints.hit("store.after_blob")
        try:
            with transaction():
                self.lease.write(delivered=Job.delivered + 1, **UNSPOILT)
                asset = self._asset(path, made, keys)
                self._write_output(n, asset_id=asset.id, state="done", error=None)
                _write_lineage(asset, made)
                failpoints.hit("store.before_commit")
        except StaleLease:
            self.store.delete(keys.values())  # named after this lease, so nobody else's
            raise
        failpoints.hit("store.after_commit")
        self._settled(n)
        return asset

    def _delivered(self, n: int) -> Asset | None:
        """What was delivered before. Whatever was pending when this lease began, nobody but this lease can deliver."""
        if any(promise.n == n for promise in self.promises):
            return None
        with transaction():
            mine = select(Output.asset_id).where(Output.job_id == self.job.id, Output.n == n)
            asset_id = session.scalars(mine).one()
            return None if asset_id is None else session.get_one(Asset, asset_id)

    def _write_output(self, n: int, **values: Any) -> None:
        changed = update(Output).where(Output.job_id == self.job.id, Output.n == n).values(**values)
        session.scalars(changed.returning(Output.id)).one()

    def _settled(self, n: int) -> None:
        self.promises = [promise for promise in self.promises if promise.n != n]

    def _put(self, path: Path, made: Made, n: int) -> Mapping[str, str]:
        base = f"jobs/{self.job.id}/{n}-{self.lease.token}"
        keys = {"original": f"{base}{path.suffix}"}
        self.store.put(keys["original"], path, made.mime)
        for part, preview in made.previews.items():
            keys[part] = f"{base}-{part}{preview.suffix}"
            self.store.put(keys[part], preview, PREVIEW_TYPES[preview.suffix])
        return keys

    def _asset(self, path: Path, made: Made, keys: Mapping[str, str]) -> Asset:
        lives = func.make_interval(0, 0, 0, 0, self.settings.batch_hours)
        asset = Asset(
            account_id=self.job.account_id,
            kind=made.kind,
            type=made.type,
            name=made.name,
            status="ready",
            store_key=keys["original"],
            previews={part: key for part, key in keys.items() if part != "original"},
            mime=made.mime,
            sha256=made.sha256,
            size_bytes=path.stat().st_size,
            media=made.media,
            duration_seconds=made.media.get("duration_seconds"),
            width=made.media.get("width"),
            height=made.media.get("height"),
            made_by_job_id=self.job.id,
            made_by_tool=self.job.tool_slug,
            recipe=made.recipe,
            expires_at=now() + lives if self.job.batch_id else None,
        )
        session.add(asset)
        session.flush()
        return asset

    def fail(self, n: int, reason: str) -> None:
        """Say why output `n` will not be delivered by this job. The others go on."""
        with transaction():
            self.lease.write()
            self._write_output(n, state="failed", error=reason)
        self._settled(n)

    def wait(self, seconds: float) -> None:
        """End this slice; the step is called again later."""
        raise Waiting(seconds)

    def paid(self, vendor: Vendor, request: Mapping[str, Any], *, cost_credits: int) -> Done:
        """The result of a request that costs money. The only way to spend at a vendor: see `paid.py`."""
        return paid.paid(self, vendor, request, cost_credits)

    def bring(self, vendor: Vendor, file: File) -> Path:
        """A file that a vendor made, in this job's folder. A vendor that is away is waited for."""
        path = self.folder / f"vendor-{sha256(file.url.encode()).hexdigest()[:16]}"
        try:
            vendor.fetch(file, path, lambda: self.progress(0))
        except Away as problem:
            raise Waiting(spread(paid.AWAY_SECONDS)) from problem
        return path


PREVIEW_TYPES = {".webp": "image/webp", ".jpg": "image/jpeg", ".png": "image/png", ".mp4": "video/mp4"}


def _pending(job: Job) -> list[Promise]:
    rows = session.scalars(select(Output).where(Output.job_id == job.id, Output.state == "pending").order_by(Output.n))
    return [Promise(n=row.n, name=row.name, spec=row.spec) for row in rows]


def _write_lineage(asset: Asset, made: Made) -> None:
    rows = [{"asset_id": asset.id, "role": role, **_line_of(source)} for role, source in made.sources]
    if rows:
        session.execute(insert(Source).values(rows))


def _line_of(source: Asset | Hook) -> dict[str, Any]:
    if isinstance(source, Hook):
        return {"source_id": None, "hook_id": source.id, "label": source.text, "sha256": None}
    if isinstance(source, Asset):
        return {"source_id": source.id, "hook_id": None, "label": source.name, "sha256": source.sha256}
    raise ToolFailed(f"{type(source).__name__} cannot be a source of an asset.")
