"""The whole product: Postgres, Redis, web, workers and dispatcher as `make run` starts them, used over its API."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from bench.batches import Batch
from bench.cases import HOOKS
from bench.programs import Cost
from novai_web.config import Settings
from tests.installation import Installation, until

TICKS = os.sysconf("SC_CLK_TCK")
POLL_SECONDS = 1.0  # as often as a page asks
CHUNK_BYTES = 1024 * 1024
LIMITS = dict.fromkeys(("NOVAI_UPLOAD_LIMIT", "NOVAI_API_LIMIT", "NOVAI_READ_LIMIT"), "100000 per minute")


@dataclass(frozen=True)
class Delivery:
    """A batch from the submit to its end, and its ZIP. Seconds for one variant, except where it says otherwise."""

    cost: Cost
    outside: float  # CPU outside the processes that decode and encode
    jobs: int
    first_byte_seconds: float  # of the ZIP
    zip_seconds: float  # of the whole ZIP
    zip_bytes: int


class Product:
    """One installation with one account, for all cases."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.settings = Settings(_env_file=None, data=installation.data)
        self.http = httpx.Client(base_url=installation.url, timeout=60)
        person = {"email": "bench@example.com", "password": uuid4().hex, "name": "Bench"}
        token = self._post("/auth/register", json=person)["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"
        self.assets: dict[Path, int] = {}
        self.hooks = [hook["id"] for hook in self._post("/hooks/bulk", json={"texts": HOOKS})["items"]]

    def prepare(self, batch: Batch) -> None:
        """Upload what is not there yet, and wait until it has been looked at. Not measured."""
        for plural, paths in (("videos", batch.material.videos), ("audios", batch.material.audios)):
            for path in paths:
                if path not in self.assets:
                    self.assets[path] = self._uploaded(plural, path)

    def run(self, batch: Batch) -> Delivery:
        """Afterwards everything that was made is gone, so that no later batch can profit from it."""
        wanted = self._input(batch)
        cpu, outside, start = self._cpu_seconds(), self._outside_seconds(), time.time()
        submitted = self._post("/tools/variants/jobs", json=wanted, headers={"Idempotency-Key": uuid4().hex})
        batch_url = submitted["batch"]["status_url"]
        while (found := self._get(batch_url))["status"] in ("queued", "running"):
            time.sleep(POLL_SECONDS)
        wall = self._ended_at(submitted["jobs"]) - start
        if found["done"] != batch.case.variants:
            raise SystemExit(f"{found['done']} of {batch.case.variants} variants were delivered: {found}")
        count = batch.case.variants
        cost = Cost(wall, self._cpu_seconds() - cpu).per(count)
        outside = (self._outside_seconds() - outside) / count
        first, whole, size = self._zip(found["zip_url"])
        self._forget()
        return Delivery(cost, outside, len(submitted["jobs"]), first, whole, size)

    def _input(self, batch: Batch) -> dict[str, Any]:
        return {
            "videos": [self.assets[path] for path in batch.material.videos],
            "audios": [self.assets[path] for path in batch.material.audios],
            "hooks": self.hooks[: batch.case.hooks],
            "hook_duration_seconds": batch.case.hook_seconds,
            "mix": "every",
        }

    def _uploaded(self, plural: str, path: Path) -> int:
        with path.open("rb") as file:
            asset_id: int = self._post(f"/{plural}", files={"file": (path.name, file)})["id"]
        until(lambda: self._get(f"/api/v1/{plural}/{asset_id}")["status"] == "ready")
        return asset_id

    def _ended_at(self, jobs: Sequence[dict[str, Any]]) -> float:
        """When the last of them ended, by the clock of the database, which is this machine's."""
        return max(datetime.fromisoformat(self._get(job["status_url"])["completed_at"]).timestamp() for job in jobs)

    def _zip(self, url: str) -> tuple[float, float, int]:
        start, first, size = time.perf_counter(), 0.0, 0
        with self.http.stream("GET", url) as answer:
            for chunk in answer.iter_raw(CHUNK_BYTES):
                first = first or time.perf_counter() - start
                size += len(chunk)
        return first, time.perf_counter() - start, size

    def _forget(self) -> None:
        shutil.rmtree(self.settings.files_folder / "jobs", ignore_errors=True)
        shutil.rmtree(self.settings.shelf_folder, ignore_errors=True)

    def _post(self, path: str, **sent: Any) -> dict[str, Any]:
        return _answer(self.http.post(f"/api/v1{path}", **sent))

    def _get(self, path: str) -> dict[str, Any]:
        return _answer(self.http.get(path))

    def _cpu_seconds(self) -> float:
        """Of all its processes, with those that ended and were waited for."""
        return sum(sum(times) for times in self._times().values())

    def _outside_seconds(self) -> float:
        """Without the children of the workers, in which everything that touches media happens."""
        return sum(
            own + (0 if "worker" in command else ended)
            for command, (own, ended) in self._times().items()
            if "engines.ffmpeg.inside" not in command
        )

    def _times(self) -> dict[str, tuple[float, float]]:
        """CPU seconds of each process, and of its children that have ended (man 5 proc: fields 14 to 17)."""
        times = {}
        for pid, command in self.installation.pids().items():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile, and counts as a child
                continue
            own, ended = (int(fields[at]) + int(fields[at + 1]) for at in (11, 13))
            times[f"{pid} {command}"] = (own / TICKS, ended / TICKS)
        return times


@contextmanager
def running(folder: Path) -> Iterator[Product]:
    """An installation of its own on a new data folder, gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    installation = Installation(folder, NOVAI_ACCESS_TOKEN_SECONDS=str(24 * 3600), **LIMITS)
    try:
        installation.start()
        yield Product(installation)
    finally:
        installation.clear_away()
        shutil.rmtree(folder, ignore_errors=True)


def _answer(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        raise SystemExit(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}")
    given: dict[str, Any] = answer.json()
    return given
