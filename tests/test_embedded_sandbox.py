"""The sandbox under `make run`: there when a vendor has no key, where it was before, and told no secrets."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from novai_web.config import Settings
from novai_web.embedded import sandbox, servers
from tests.installation import Installation, until

KEYS = {
    "FAL_KEY": "fal0123456789abc:fal9876543210def",
    "GEMINI_API_KEY": "gemini0123456789abcdef",
    "WAVESPEED_API_KEY": "wavespeed0123456789abcdef",
    "PICSI_KEY": "picsi0123456789abcdef",
}


def test_it_is_on_the_same_port_every_time_unless_somebody_else_is(tmp_path):
    first = sandbox.service(tmp_path / "sandbox", 3)
    where = sandbox.url(tmp_path / "sandbox")
    assert sandbox.service(tmp_path / "sandbox", 3).command == first.command
    with socket.create_server(("127.0.0.1", int(where.rpartition(":")[2]))):
        other = sandbox.service(tmp_path / "sandbox", 3)
    assert other.command != first.command and sandbox.url(tmp_path / "sandbox") != where


@pytest.mark.parametrize("said", ["", "many", "-1", "99999999"])
def test_a_damaged_note_of_its_port_is_passed_over(tmp_path, said):
    (tmp_path / "port").write_text(said)
    sandbox.service(tmp_path, 3)
    assert 0 < int((tmp_path / "port").read_text()) < 65_536


def test_it_is_told_no_key(tmp_path):
    service = sandbox.service(tmp_path, 3)
    assert {name: service.environment.get(name) for name in KEYS} == dict.fromkeys(KEYS, "")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path, FAL_KEY=KEYS["FAL_KEY"])
    yield made
    made.clear_away()


def sandboxes(installation: Installation) -> list[int]:
    return [
        pid for pid, command in installation.pids().items() if "sandbox.vendors" in command and "leash" not in command
    ]


@pytest.mark.slow
def test_make_run_starts_it_where_a_vendor_has_no_key_and_again_when_it_falls(installation):
    installation.start()
    url = servers.found(Settings(_env_file=None, data=installation.data)).sandbox_url
    assert requests.get(f"{url}/sandbox/bill", timeout=10).status_code in (200, 404)
    commands = " ".join(installation.pids().values())
    for half in KEYS["FAL_KEY"].split(":"):
        assert half not in commands and half not in installation.said
        assert all(half not in Path(f"/proc/{pid}/environ").read_text() for pid in sandboxes(installation))
    for pid in sandboxes(installation):
        os.kill(pid, signal.SIGKILL)
    until(lambda: "starting it again" in installation.said and bool(sandboxes(installation)))
    assert servers.found(Settings(_env_file=None, data=installation.data)).sandbox_url == url
    until(lambda: answers(url))


@pytest.mark.slow
def test_make_run_does_without_it_where_every_vendor_has_a_key(tmp_path):
    keyed = Installation(tmp_path, **KEYS, NOVAI_PICSI_URL="https://picsi.invalid")
    try:
        keyed.start()
        assert sandboxes(keyed) == []
    finally:
        keyed.clear_away()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code < 500
    except requests.RequestException:
        return False
