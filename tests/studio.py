"""A studio at which one person's jobs are made at the sandbox of all vendors, slice by slice, with real small media."""

import time
from pathlib import Path
from typing import Any

import requests
from flask import Flask
from sqlalchemy import select, text

from novai_web import consents, jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.consents import Consent
from novai_web.db import session, transaction
from novai_web.engines import ffmpeg
from novai_web.engines.store import open_store
from novai_web.jobs import Job, Submitted
from novai_web.jobs.runs import Run
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from novai_web.tools import Tool
from tests import media
from tests.things import png, put

# The addresses of the sandbox that can be given trouble.
MOUNTS = ("fal-queue", "fal-api", "fal-rest", "fal-media", "gemini", "wavespeed", "wavespeed-media", "picsi")


class Studio:
    """`account` is who submits; every slice is run here."""

    def __init__(self, app: Flask, account: Account, settings: Settings, folder: Path) -> None:
        self.app, self.account, self.settings, self.folder = app, account, settings, folder
        self.library = Library(account.id)
        self.store = open_store(settings)

    # What things are made of

    def video(self, name: str = "Clip", **given: Any) -> Asset:
        path = media.video(self.folder / f"{time.monotonic_ns()}.mp4", **{"frames": 45, **given})
        with path.open("ab") as file:  # the same bytes twice would be one asset
            file.write(b"\0\0\0\x18free" + str(time.monotonic_ns()).encode().rjust(16))
        return self.known(path, name)

    def picture(self, name: str = "Anna", *, side: int = 160) -> Asset:
        path = self.folder / f"{time.monotonic_ns()}.png"
        path.write_bytes(png(time.monotonic_ns(), side, side))
        return self.known(path, name)

    def known(self, path: Path, name: str) -> Asset:
        """As if it had been uploaded and looked at."""
        found = ffmpeg.probe(path, ffmpeg.Limits.of(self.settings))
        asset = put(self.account, self.settings, path.read_bytes(), kind=found.kind, name=name, mime=found.mime)
        with transaction():
            asset.media, asset.width, asset.height = found.to_json(), found.width, found.height
            asset.duration_seconds = found.duration_seconds
            session.add(asset)
        return asset

    def consent(self, **given: Any) -> Consent:
        with transaction():
            return consents.give(self.library, **{"who": "Anna", "how": "A signed release", **given})

    # Making

    def submit(self, tool: Tool, **given: Any) -> Submitted:
        session.rollback()
        with transaction():
            return jobs.submit(self.account, tool, given, self.settings)

    def fresh(self, job: Job) -> Job:
        session.rollback()
        return session.get_one(Job, job.id, populate_existing=True)

    def slice(self, job: Job) -> Job:
        self.change("UPDATE jobs SET run_at = now() - interval '1 day' WHERE id = :id AND ended_at IS NULL", id=job.id)
        assert jobs.run_slice(job.queue, self.store, self.settings)
        return self.fresh(job)

    def finish(self, job: Job, seconds: float = 60) -> Job:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if (job := self.fresh(job)).is_over:
                return job
            self.slice(job)
            time.sleep(0.1)
        raise AssertionError(f"still {job.state}: {self.runs(job)}")

    def until_open(self, job: Job, most: int = 20) -> Job:
        """Until a run of it is open at the vendor."""
        for _ in range(most):
            job = self.slice(job)
            if any(run.state == "running" for run in self.runs(job)):
                return job
        raise AssertionError(f"nothing is open: {job.state} {job.error}")

    def change(self, statement: str, **given: Any) -> None:
        session.rollback()
        with transaction():
            session.execute(text(statement), given)

    # What came of it

    def runs(self, job: Job) -> list[Run]:
        session.rollback()
        query = select(Run).where(Run.job_id == job.id).order_by(Run.n)
        return list(session.scalars(query.execution_options(populate_existing=True)))

    def made(self, job: Job) -> list[Asset]:
        session.rollback()
        return list(session.scalars(select(Asset).where(Asset.made_by_job_id == job.id).order_by(Asset.id)))

    # The sandbox

    def fault(self, vendor: str, **what: Any) -> None:
        requests.post(f"{self.settings.sandbox_url}/{vendor}/sandbox/faults", json=[what], timeout=5).raise_for_status()

    def well_again(self, vendor: str) -> None:
        requests.delete(f"{self.settings.sandbox_url}/{vendor}/sandbox/faults", timeout=5)

    def all_well_again(self) -> None:
        for vendor in MOUNTS:
            self.well_again(vendor)

    def billed(self, vendor: str) -> list[dict[str, Any]]:
        """Everything that this vendor bills, from the first run on."""
        bill = requests.get(f"{self.settings.sandbox_url}/{vendor}/sandbox/bill", timeout=5).json()
        return [each for each in bill if each["billed"]]
