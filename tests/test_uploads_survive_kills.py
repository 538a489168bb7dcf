"""Uploads through a real server that is killed: what the disk has is what counts, and the file ends up whole."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests
from sqlalchemy import text

from novai_web.config import Settings
from novai_web.db import session
from tests import things
from tests.conftest import ROOT

TUS = {"Tus-Resumable": "1.0.0"}
PART = {"Content-Type": "application/offset+octet-stream"}


@pytest.fixture
def server(app, settings: Settings) -> Callable:
    """`with server() as base:` gunicorn over the tests' database and folder; its processes die with kill -9."""

    @contextmanager
    def running() -> Iterator[tuple[str, Callable[[], None]]]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        given = {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "NOVAI_DATA": str(settings.data),
            "SECRET_KEY": settings.secret,
            "NOVAI_DISK_FREE_BYTES_MIN": "0",
        }
        command = [sys.executable, "-m", "gunicorn", "wsgi:app", "--bind", address, "--workers", "1", "--threads", "4"]
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **given}, start_new_session=True)

        def kill() -> None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

        try:
            _wait_for(f"http://{address}/health")
            yield f"http://{address}", kill
        finally:
            if process.poll() is None:
                kill()

    return running


def _wait_for(url: str) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            if requests.get(url, timeout=10).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise AssertionError("the server did not start")


def _send_some(
    base: str, where: str, headers: dict[str, str], offset: int, announced: int, content: bytes
) -> socket.socket:
    """A PATCH that has promised `announced` bytes and sent fewer."""
    host, port = base.removeprefix("http://").split(":")
    line = socket.create_connection((host, int(port)), timeout=10)
    told = {**headers, **TUS, **PART, "Upload-Offset": str(offset), "Content-Length": str(announced), "Host": host}
    head = f"PATCH {where} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in told.items()) + "\r\n"
    line.sendall(head.encode() + content)
    return line


def _reached(settings: Settings, upload_id: str, at_least: int) -> None:
    data = settings.uploads_folder / upload_id / "data"
    until = time.monotonic() + 10
    while data.stat().st_size < at_least and time.monotonic() < until:
        time.sleep(0.02)


@pytest.mark.slow
def test_an_upload_goes_on_after_kill_9_of_the_server_and_after_a_cut_line(server, settings, alice, bearer):
    content, who = things.wav(seconds=120), bearer(alice)  # 1.9 MB
    with server() as (base, kill):
        headers = {**who, **TUS, "Upload-Length": str(len(content))}
        where = requests.post(f"{base}/api/v1/uploads", headers=headers, timeout=10).headers["Location"]
        upload_id = where.rpartition("/")[2]
        line = _send_some(base, where, who, 0, len(content), content[:700_001])
        _reached(settings, upload_id, 500_000)
        kill()
        line.close()
    with server() as (base, _):
        offset = int(requests.head(base + where, headers={**who, **TUS}, timeout=10).headers["Upload-Offset"])
        assert 0 < offset <= 700_001
        line = _send_some(base, where, who, offset, len(content) - offset, content[offset : offset + 300_000])
        _reached(settings, upload_id, offset + 100_000)
        line.close()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            offset = int(requests.head(base + where, headers={**who, **TUS}, timeout=10).headers["Upload-Offset"])
            told = {**who, **TUS, **PART, "Upload-Offset": str(offset)}
            answer = requests.patch(base + where, headers=told, data=content[offset:], timeout=20)
            if answer.status_code != 409:
                break
        assert answer.status_code == 204, answer.text
        found = requests.get(f"{base}/media/{answer.headers['Novai-Asset']}/original", headers=who, timeout=10)
        assert hashlib.sha256(found.content).digest() == hashlib.sha256(content).digest()
    assert session.scalar(text("SELECT count(*) FROM assets")) == 1
    assert len(things.stored(settings)) == 1 and not list(settings.uploads_folder.glob("*"))


@pytest.mark.slow
def test_a_form_that_dies_half_way_leaves_no_asset(server, settings, alice, bearer):
    content, who = things.wav(seconds=60), bearer(alice)
    with server() as (base, kill):
        host, port = base.removeprefix("http://").split(":")
        line = socket.create_connection((host, int(port)), timeout=10)
        body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + content
        told = {
            **who,
            "Content-Type": "multipart/form-data; boundary=x",
            "Content-Length": str(len(body) + 7),
            "Host": host,
        }
        head = (
            "POST /api/v1/audios HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in told.items()) + "\r\n"
        )
        line.sendall(head.encode() + body[:400_000])
        until = time.monotonic() + 10
        while not list(settings.arriving_folder.glob("*")) and time.monotonic() < until:
            time.sleep(0.02)
        kill()
        line.close()
    assert session.scalar(text("SELECT count(*) FROM assets")) == 0 and things.stored(settings) == []


@pytest.mark.slow
def test_a_body_that_is_too_large_is_refused_while_it_waits_to_be_sent(server, settings, alice, bearer):
    """The server answers before the body comes: a client that asks first (Expect) never has to send it."""
    with server() as (base, _):
        host, port = base.removeprefix("http://").split(":")
        line = socket.create_connection((host, int(port)), timeout=10)
        told = {
            **bearer(alice),
            "Content-Type": "multipart/form-data; boundary=x",
            "Content-Length": str(settings.upload_bytes_max + 10**8),
            "Host": host,
        }
        head = (
            "POST /api/v1/videos HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in told.items()) + "\r\n"
        )
        line.sendall(head.encode())
        answer = line.recv(4096)
        line.close()
    assert answer.startswith(b"HTTP/1.1 413")
