"""Kill -9 of a worker, and of everything, in the middle of a batch: every variant is there exactly once."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import text

from novai_web.config import Settings
from novai_web.credits.invariants import INVARIANTS
from novai_web.engines.store import open_store
from tests import media
from tests.installation import Installation, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

VARIANTS = 60


class Owner:
    """Ada at the API of one installation; it may be down now and then."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.session = requests.Session()
        account = {"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"}
        answer = self.session.post(f"{installation.url}/api/v1/auth/register", json=account, timeout=30)
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def post(self, path: str, **body: Any) -> Any:
        answer = self.session.post(f"{self.installation.url}/api/v1{path}", timeout=60, **body)
        assert answer.ok, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        answer = self.session.get(f"{self.installation.url}/api/v1{path}", timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def upload(self, path: Path, kind: str) -> int:
        with path.open("rb") as file:
            return int(self.post(f"/{kind}", files={"file": (path.name, file)})["id"])

    def start(self, folder: Path) -> int:
        """Submit 4 clips × 5 hooks × 3 sounds."""
        videos = [self.upload(media.b_frames(folder / f"{n}.mp4", frames=40 + n), "videos") for n in range(4)]
        audios = [self.upload(media.audio(folder / f"{n}.wav", frequency=220 + n), "audios") for n in range(3)]
        hooks = [hook["id"] for hook in self.post("/hooks/bulk", json={"texts": list("abcde")})["items"]]
        for kind, ids in (("videos", videos), ("audios", audios)):
            until(lambda: all(self.get(f"/{kind}/{each}")["status"] == "ready" for each in ids))  # noqa: B023
        given = {"videos": videos, "audios": audios, "hooks": hooks, "mix": "every"}
        return int(self.post("/tools/variants/jobs", json=given)["batch"]["id"])

    def done(self, batch: int) -> int:
        return int(self.get(f"/batches/{batch}")["done"])

    def is_over(self, batch: int) -> bool:
        return self.get(f"/batches/{batch}")["status"] not in ("queued", "running")


@pytest.fixture
def installation(tmp_path) -> Iterator[Installation]:
    made = Installation(tmp_path, NOVAI_LEASE_SECONDS="6", NOVAI_VARIANTS_PRICE_CREDITS="1")
    yield made
    made.clear_away()


def test_every_variant_is_there_exactly_once_whatever_is_killed(installation, tmp_path):
    installation.start()
    owner = Owner(installation)
    batch = owner.start(tmp_path)

    until(lambda: owner.done(batch) >= 5)
    _kill_render_workers(installation)
    at_kill = owner.done(batch)
    until(lambda: owner.done(batch) > at_kill)

    installation.kill()
    installation.start()
    assert at_kill < owner.done(batch) <= VARIANTS
    until(lambda: owner.is_over(batch), patience_seconds=300)

    summary = owner.get(f"/batches/{batch}")
    results = owner.get(f"/batches/{batch}/results")["items"]
    assert (summary["status"], summary["done"], summary["failed"]) == ("succeeded", VARIANTS, 0)
    assert len({(each["video_id"], each["audio_id"], each["hook_id"]) for each in results}) == VARIANTS
    assert len({each["asset_id"] for each in results}) == VARIANTS
    assert summary["credits_charged"] == VARIANTS
    _check_books(installation)


def _kill_render_workers(installation: Installation) -> None:
    """The pool processes that render, and what they started."""
    workers = [pid for pid, command in installation.pids().items() if "celery" in command and "cpu" in command]
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)


def _check_books(installation: Installation) -> None:
    """Rows and files agree both ways, and every invariant holds."""
    store = open_store(Settings(_env_file=None, data=installation.data))
    with installation.engine().connect() as connection:
        for name, query in INVARIANTS.items():
            assert connection.execute(text(query)).all() == [], name
        known = set(connection.scalars(text("SELECT store_key FROM assets")))
        previews = connection.scalars(text("SELECT value FROM assets, jsonb_each_text(previews)"))
        known |= set(previews)
        assert connection.scalar(text("SELECT count(*) FROM assets WHERE type = 'variant'")) == VARIANTS
    stored = {key for key, _ in store.list("")}
    assert known <= stored
    assert stored - known == set(), "files that nothing knows"
