"""The same installation on a Postgres, a Redis and a Supabase Storage that are somebody else's."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from novai_web import sandbox
from novai_web.embedded import servers
from novai_web.sandbox import supabase_storage
from tests import media
from tests.installation import Installation, until
from tests.test_survival import Owner

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    key = supabase_storage.project_key("service_role")
    with (
        servers.running(tmp_path / "servers", durable=False) as there,
        sandbox.started("supabase_storage", "--data", str(tmp_path / "supabase")) as storage,
    ):
        made = Installation(tmp_path, **there.environment, SUPABASE_URL=str(storage), SUPABASE_SERVICE_ROLE_KEY=key)
        yield made
        made.clear_away()


def test_a_batch_is_made_on_other_peoples_servers_and_nothing_stays_here(installation, tmp_path):
    installation.start()
    owner = Owner(installation)
    video = owner.upload(media.silent(tmp_path / "clip.mp4"), "videos")
    until(lambda: owner.get(f"/videos/{video}")["status"] == "ready")
    hooks = [hook["id"] for hook in owner.post("/hooks/bulk", json={"texts": ["One", "Two"]})["items"]]
    batch = owner.post("/tools/variants/jobs", json={"videos": [video], "hooks": hooks, "mix": "every"})["batch"]["id"]
    until(lambda: owner.is_over(batch))

    first = owner.get(f"/batches/{batch}/results")["items"][0]
    link = owner.session.get(installation.url + first["url"], allow_redirects=False, timeout=30)
    assert link.status_code == 302 and "token=" in link.headers["Location"]
    answer = owner.session.get(f"{installation.url}/api/v1/batches/{batch}/zip", timeout=60)
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None and len(archive.namelist()) == 3

    assert not (installation.data / "postgres").exists() and not list(installation.data.glob("files/*"))
    assert installation.settings["SUPABASE_SERVICE_ROLE_KEY"] not in installation.said
