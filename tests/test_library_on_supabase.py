"""The library on Supabase Storage: the same life of a file, with signed links where local disk has ranges."""

import io
import zipfile
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from pydantic import SecretStr
from sqlalchemy import text

from novai_web import jobs
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.jobs import cleaning
from novai_web.sandbox import started
from novai_web.sandbox.supabase_storage import project_key
from tests import media


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory) -> Iterator[str]:
    with started("supabase_storage", "--data", tmp_path_factory.mktemp("supabase")) as url:
        yield url


def test_a_file_lives_there_from_upload_to_deletion(make_app, settings, sandbox, alice, bearer, sign_in, tmp_path):
    there = {"supabase_url": sandbox, "supabase_key": SecretStr(project_key()), "supabase_bucket": "library"}
    app, settings = make_app(**there), settings.model_copy(update=there)
    client, who, store = app.test_client(), bearer(alice), open_store(settings)
    content = media.image(tmp_path / "a.png").read_bytes()
    form = {"file": (io.BytesIO(content), "Größe.png")}
    asset = client.post("/api/v1/images", data=form, headers=who).json
    assert [key for key, _ in store.list("assets")] == [f"assets/{asset['id']}/original.png"]
    with app.app_context():
        while jobs.run_slice("io", store, settings):
            pass
    asset = client.get(f"/api/v1/images/{asset['id']}", headers=who).json
    assert asset["status"] == "ready" and set(asset["previews"]) == {"poster", "thumb"}

    moved = client.get(asset["url"], headers=who)
    assert moved.status_code == 302 and urlsplit(moved.location).netloc == urlsplit(sandbox).netloc
    assert "private" in moved.headers["Cache-Control"]
    assert requests.get(moved.location, timeout=10).content == content
    assert requests.get(moved.location, headers={"Range": "bytes=1-3"}, timeout=10).content == content[1:4]
    saved = requests.get(client.get(f"{asset['url']}?download=1", headers=who).location, timeout=10)
    assert saved.headers["Content-Disposition"].startswith("attachment")

    page = app.test_client()
    sign_in(page, alice)
    archive = zipfile.ZipFile(io.BytesIO(page.post("/library/zip", data={"ids": asset["id"], "kind": "image"}).data))
    assert archive.read("Größe.png") == content

    with transaction():
        session.execute(text("UPDATE assets SET trashed_at = now() - interval '31 days'"))
    cleaning.clean_library(store, settings)
    assert list(store.list("assets")) == [] and session.scalar(text("SELECT count(*) FROM assets")) == 0
