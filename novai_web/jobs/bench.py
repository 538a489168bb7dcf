"""The bench a running step works at: its folder, its notes, its word about progress, what it hands over."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select, update

from novai_web import failpoints
from novai_web.config import Settings
from novai_web.db import now, session, transaction
from novai_web.engines.store import Store
from novai_web.errors import Interrupted, StaleLease, ToolFailed
from novai_web.jobs import handing, paid
from novai_web.jobs.leases import Lease
from novai_web.jobs.models import Job, Output
from novai_web.jobs.runs import Asked
from novai_web.jobs.signing import Signed, Signing
from novai_web.jobs.waiting import Waiting
from novai_web.library import files
from novai_web.library.models import Asset, Hook, Source
from novai_web.tools.tool import Made, Promise
from novai_web.vendors import Done, File, Uploading, Vendor

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
        self._saved: dict[str, Any] = dict(job.notes)
        self.folder = settings.scratch_folder / f"job-{lease.job_id}-{lease.token}"
        self.promises: Sequence[Promise] = _pending(job)
        self._step = job.step
        self._signing = Signing(job, self.fetch, settings)
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
        self._saved = dict(self.notes)

    def fetch(self, asset: Asset, part: str = "original") -> Path:
        """A file of the asset on this machine, fetched once a lease. Read it only: it may be the stored file itself."""
        key = files.key_of(asset, part)
        assert key is not None, "only ready assets are read, and only parts that they have"
        path = self.folder / f"asset-{asset.id}{'' if part == 'original' else f'-{part}'}{Path(key).suffix}"
        if not path.exists():
            self.store.fetch(key, path)
        return path

    def keep(self, path: Path, made: Made, *, n: int = 0, insisting: Callable[[], None] | None = None) -> Asset:
        """Deliver output `n`: signed and durably stored first, then a row. A repeated step never delivers it twice.

        The file at `path` may be signed where it is: it belongs to the one who keeps it. `insisting` is called in the
        transaction that delivers, and may raise: then nothing is.
        """
        if (delivered := self._delivered(n)) is not None:
            return delivered
        failpoints.hit("store.after_file")
        signed = self._signing.sign(path, made)
        keys = self._put(signed, made, n)
        failpoints.hit("store.after_blob")
        try:
            with transaction():
                self.lease.write(delivered=Job.delivered + 1, **UNSPOILT)
                if insisting:
                    insisting()
                asset = self._asset(signed, made, keys)
                self._write_output(n, asset_id=asset.id, state="done", error=None)
                _write_lineage(asset, made)
                failpoints.hit("store.before_commit")
        except StaleLease:
            self.store.delete(keys.values())  # named after this lease, so nobody else's
            raise
        failpoints.hit("store.after_commit")
        self._settled(n)
        if signed.path != path:
            signed.path.unlink()
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

    def _put(self, signed: Signed, made: Made, n: int) -> Mapping[str, str]:
        base = f"jobs/{self.job.id}/{n}-{self.lease.token}"
        keys = {"original": f"{base}{signed.path.suffix}"}
        self.store.put(keys["original"], signed.path, made.mime)
        for part, preview in made.previews.items():
            keys[part] = f"{base}-{part}{preview.suffix}"
            self.store.put(keys[part], preview, PREVIEW_TYPES[preview.suffix])
        if signed.beside:
            keys["credentials"] = f"{base}{signed.beside.suffix}"
            self.store.put(keys["credentials"], signed.beside, PREVIEW_TYPES[signed.beside.suffix])
        return keys

    def _asset(self, signed: Signed, made: Made, keys: Mapping[str, str]) -> Asset:
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
            sha256=signed.sha256,
            size_bytes=signed.path.stat().st_size,
            media=made.media | {"credentials": signed.said},
            duration_seconds=made.media.get("duration_seconds"),
            width=made.media.get("width"),
            height=made.media.get("height"),
            made_by_job_id=self.job.id,
            made_by_tool=self.job.tool_slug,
            recipe=made.recipe,
            expires_at=now() + lives if self.job.batch_id and not self.job.tool.is_kept else None,
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

    def upload(
        self, vendor: Uploading, path: Path, *, mime: str, name: str, heard: Callable[[], None] | None = None
    ) -> str:
        """The address of a file at a vendor, which is the same in every slice: see `handing.py`."""
        return handing.upload(self, vendor, path, mime=mime, name=name, heard=heard)

    @property
    def uploads(self) -> dict[str, str]:
        """What lies where at vendors, by what it is."""
        return dict(self.notes.get("uploads", {}))

    def remember_upload(self, key: str, address: str) -> None:
        """What is paid for names this address."""
        self.note("uploads", {**self.uploads, key: address})

    def note(self, name: str, value: object) -> None:
        """Write one thing into the notes at once, and not with the checkpoint."""
        self.notes[name] = value
        self._saved = {**self._saved, name: value}
        self.write(lambda: self.lease.write(notes=self._saved))

    def paid(
        self, vendor: Vendor, request: Mapping[str, Any], *, cost_credits: int, cost_microusd: int | None = None
    ) -> Done:
        """The result of a request that costs money. The only way to spend at a vendor: see `paid.py`.

        What it is expected to cost: `cost_credits`, and `cost_microusd` in millionths of a US dollar.
        """
        return paid.paid(self, Asked(vendor, request, cost_credits, cost_microusd))

    def bring(self, vendor: Vendor, file: File) -> Path:
        """A file that a vendor made, in this job's folder. A vendor that is away is waited for."""
        return handing.bring(self, vendor, file)


PREVIEW_TYPES = {
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".mp4": "video/mp4",
    ".safetensors": "application/octet-stream",
    ".json": "application/json",
    ".c2pa": "application/c2pa",
}


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
