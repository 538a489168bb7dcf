"""Every lie that a vendor may tell, told to every client: each ends in time, as an error of ours, leaving nothing."""

import gzip
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from novai_web.config import Settings
from novai_web.errors import Cancelled, NovaiError, UnusableMedia
from novai_web.library.sniffing import sniff
from novai_web.vendors import Away, Doubtful, File, NotStarted, Vendor, VendorFailed, line
from novai_web.vendors.fal import Fal
from novai_web.vendors.gemini import Gemini
from novai_web.vendors.line import NoAnswer
from novai_web.vendors.picsi import Picsi
from novai_web.vendors.wavespeed import WaveSpeed
from tests.scripted import talking

KEY = SecretStr("a-key-that-is-none")
MARKER = "novai-17-0123456789abcdef-1-89abcdef"
DEFAULTS = Settings(_env_file=None)
START_SECONDS = 1.0
Says = Callable[[socket.socket], None]


def fal(url: str, *, is_sandbox: bool = False) -> Fal:
    ours = {f"fal_{part}_url": url for part in ("queue", "rest", "api")}
    settings = DEFAULTS.model_copy(update={**ours, "fal_key": KEY, "sandbox_url": url})
    return Fal(settings, "faces", is_sandbox=is_sandbox)


def gemini(url: str, *, is_sandbox: bool = False) -> Gemini:
    return Gemini(url, KEY, model=DEFAULTS.gemini_image_model, is_sandbox=is_sandbox)


def wavespeed(url: str, *, is_sandbox: bool = False) -> WaveSpeed:
    model, hosts = DEFAULTS.wavespeed_swap_model, DEFAULTS.wavespeed_hosts
    return WaveSpeed(f"{url}/wavespeed", KEY, model=model, hosts=hosts, is_sandbox=is_sandbox)


def picsi(url: str, *, is_sandbox: bool = False) -> Picsi:
    return Picsi(
        f"{url}/picsi",
        KEY,
        model=DEFAULTS.picsi_model,
        submit_path=DEFAULTS.picsi_submit_path,
        poll_path=DEFAULTS.picsi_poll_path,
        statuses=DEFAULTS.picsi_statuses,
        hosts=DEFAULTS.picsi_hosts,
        is_sandbox=is_sandbox,
    )


CLIENTS: dict[str, Callable[..., Any]] = {"fal": fal, "gemini": gemini, "wavespeed": wavespeed, "picsi": picsi}
RUNS = {"fal": "half-moon-ai/ai-face-swap/requests/1b2c", "wavespeed": "1b2c", "picsi": "1b2c"}
MEDIA = {"fal": "fal-media", "wavespeed": "wavespeed-media", "picsi": "picsi/results"}
UPLOADERS = ("fal", "wavespeed", "picsi")


def request_for(vendor: Any) -> dict[str, Any]:
    if isinstance(vendor, Gemini):
        return vendor.picture_request(prompt="a sheet", pictures=(), aspect="1:1")
    asked: dict[str, Any] = vendor.swap_request(video_url="https://x/v.mp4", face_url="https://x/f.jpg", which=0)
    return asked


def http(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = [f"HTTP/1.1 {status} Said", f"Content-Length: {size}", "Content-Type: application/json", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def saying(answer: bytes) -> Says:
    return lambda connection: connection.sendall(answer)


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 1024 * 1024)


def trickling(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def silent(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.recv(1)


def slow_head(connection: socket.socket) -> None:
    for each in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 10_000:
        connection.sendall(bytes([each]))
        time.sleep(0.02)


WRONG = {"id": 7, "request_id": [], "job_id": None, "data": "x", "candidates": "y", "status": {}, "code": "200"}
QUICK: dict[str, Says] = {
    "a web page": saying(http(200, b"<!doctype html><title>Sign in</title>", "Content-Type: text/html")),
    "nothing": saying(http(200, b"")),
    "no HTTP at all": saying(b"\x16\x03\x01 hello\r\n\r\n"),
    "half of it": saying(http(200, b'{"id": ', length=400)),
    "another shape": saying(http(200, json.dumps(WRONG).encode())),
    "only null": saying(http(200, b"null")),
    "a list": saying(http(200, b"[]")),
    "not a number": saying(http(200, b'{"progress": NaN, "code": NaN, "id": NaN}')),
    "very deep": saying(http(200, b"[" * 200_000)),
    "no text": saying(http(200, b"\xff\xfe\x00\x80" * 100)),
    "packed": saying(http(200, gzip.compress(b"{}" * 100), "Content-Encoding: gzip")),
    "no end": endless,
    "more than it may be": saying(http(200, b"{", length=10**12)),
    "a failure in foreign words": saying(http(500, b"<h1>502</h1>")),
    "a refusal in foreign words": saying(http(422, b"<h1>no</h1>")),
    "a hang-up": lambda connection: connection.close(),
}
SLOW: dict[str, Says] = {"drop by drop": trickling, "silence": silent, "a head that never ends": slow_head}


def within(seconds: float, act: Callable[[], object]) -> BaseException:
    """What it raises. It must, and in time."""
    began = time.monotonic()
    with pytest.raises(Exception) as raised:  # which one is looked at by the caller
        act()
    assert time.monotonic() - began < seconds
    return raised.value


@pytest.mark.parametrize("lie", [*QUICK, *SLOW])
@pytest.mark.parametrize("name", CLIENTS)
def test_a_start_that_is_answered_with_a_lie_is_in_doubt_and_never_repeated(name, lie):
    calls: list[int] = []

    def tell(connection: socket.socket) -> None:
        calls.append(1)
        {**QUICK, **SLOW}[lie](connection)

    with talking(tell) as url:
        vendor: Vendor = CLIENTS[name](url)
        problem = within(START_SECONDS + 3, lambda: vendor.start(request_for(vendor), MARKER, START_SECONDS))
    assert isinstance(problem, Doubtful) and len(calls) == 1
    assert KEY.get_secret_value() not in repr(problem) + str(problem.__cause__)


@pytest.mark.parametrize("lie", QUICK)
@pytest.mark.parametrize("name", RUNS)
def test_a_poll_that_is_answered_with_a_lie_is_asked_again_later(name, lie):
    with talking(QUICK[lie]) as url:
        vendor: Vendor = CLIENTS[name](url)
        problem = within(5, lambda: vendor.poll(RUNS[name]))
    assert isinstance(problem, Away) and KEY.get_secret_value() not in str(problem)


@pytest.mark.parametrize("lie", QUICK)
@pytest.mark.parametrize("name", CLIENTS)
def test_a_test_of_the_key_that_is_answered_with_a_lie_accepts_nothing(name, lie):
    with talking(QUICK[lie]) as url:
        vendor: Vendor = CLIENTS[name](url)
        assert isinstance(within(5, vendor.check), NovaiError)


@pytest.mark.parametrize("name", CLIENTS)
def test_nobody_there_is_known_not_to_have_started(name):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    vendor: Vendor = CLIENTS[name](url)
    assert isinstance(within(5, lambda: vendor.start(request_for(vendor), MARKER, START_SECONDS)), NotStarted)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", CLIENTS)
def test_no_client_goes_where_it_is_sent(name, status, tmp_path):
    private: list[int] = []
    with (
        talking(lambda connection: private.append(1)) as inside,
        talking(saying(http(status, b"", f"Location: {inside}/latest/meta-data"))) as url,
    ):
        vendor: Vendor = CLIENTS[name](url)
        assert isinstance(within(5, lambda: vendor.start(request_for(vendor), MARKER, START_SECONDS)), Doubtful)
        if name in RUNS:
            assert isinstance(within(5, lambda: vendor.poll(RUNS[name])), Away)
            stood_in: Vendor = CLIENTS[name](url, is_sandbox=True)
            assert isinstance(within(5, lambda: fetched(stood_in, name, url, tmp_path / "1")), VendorFailed)
    assert private == []


def fetched(vendor: Vendor, name: str, url: str, path: Path, heard: Callable[[], None] = lambda: None) -> None:
    vendor.fetch(File(f"{url}/{MEDIA[name]}/1.mp4", "1.mp4", "video/mp4"), path, heard)


@pytest.mark.parametrize(
    ("lie", "expected"),
    [
        (saying(http(200, b"video", length=400)), Away),
        (saying(http(200, b"video", length=10**12)), VendorFailed),
        (saying(http(200, gzip.compress(b"video"), "Content-Encoding: gzip")), VendorFailed),
        (saying(http(404, b"")), VendorFailed),
        (saying(http(403, b"")), VendorFailed),
        (saying(http(500, b"")), Away),
        (saying(b"\x16\x03\x01"), Away),
        (lambda connection: connection.close(), Away),
    ],
    ids=["half", "a terabyte", "packed", "gone", "forbidden", "broken", "no HTTP", "a hang-up"],
)
@pytest.mark.parametrize("name", MEDIA)
def test_a_file_arrives_whole_or_not_at_all(name, lie, expected, tmp_path):
    with talking(lie) as url:
        vendor = CLIENTS[name](url, is_sandbox=True)
        problem = within(5, lambda: fetched(vendor, name, url, tmp_path / "1.mp4"))
    assert isinstance(problem, expected) and not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", MEDIA)
def test_whoever_waits_for_a_file_can_stop_waiting(name, tmp_path):
    heard: list[int] = []

    def hear() -> None:
        heard.append(1)
        if len(heard) == 5:
            raise Cancelled

    with talking(trickling) as url:
        vendor = CLIENTS[name](url, is_sandbox=True)
        with pytest.raises(Cancelled):
            fetched(vendor, name, url, tmp_path / "1.mp4", hear)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("body", [b"<!doctype html>", b"PK\x03\x04", b"\x80\x04\x95 a pickle", b"#EXTM3U", b"x"])
@pytest.mark.parametrize("name", MEDIA)
def test_another_kind_of_file_is_seen_through_when_it_is_looked_at(name, body, tmp_path):
    with talking(saying(http(200, body, "Content-Type: video/mp4"))) as url:
        fetched(CLIENTS[name](url, is_sandbox=True), name, url, tmp_path / "1.mp4")
    with pytest.raises(UnusableMedia):
        sniff(tmp_path / "1.mp4")


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:5432/",
        "https://10.0.0.1/1.mp4",
        "https://[::ffff:127.0.0.1]/1.mp4",
        "https://v3.fal.media@127.0.0.1/1.mp4",
        "https://v3.fal.media.evil.example/1.mp4",
        "https://evilfal.media/1.mp4",
        "http://v3.fal.media/1.mp4",
        "https://v3.fal.media:22/1.mp4",
        "file:///etc/passwd",
        "ftp://v3.fal.media/1.mp4",
        "data:video/mp4;base64,AAAA",
        "https://v3.fal.media\n.evil.example/1.mp4",
        "https://v3.fal.media%00.evil.example/1.mp4",
        "https://[half/1.mp4",
    ],
)
@pytest.mark.parametrize("name", CLIENTS)
def test_a_file_that_lies_elsewhere_is_not_fetched(name, url, tmp_path):
    vendor: Vendor = CLIENTS[name]("https://vendor.example")
    with pytest.raises(VendorFailed, match="not its own"):
        vendor.fetch(File(url, "1.mp4", "video/mp4"), tmp_path / "1.mp4", lambda: None)
    assert not any(tmp_path.iterdir())


def test_a_name_that_leads_into_a_private_network_is_not_followed_there(tmp_path):
    heard: list[int] = []
    (tmp_path / "f").write_bytes(b"bytes")
    with talking(lambda connection: heard.append(1)) as url:
        for act in (
            lambda: line.download(url, tmp_path / "1", seconds=2, bytes_max=9, heard=lambda: None, is_public=True),
            lambda: line.send(url, tmp_path / "f", seconds=2, heard=lambda: None, headers={}, is_public=True),
        ):
            problem = within(3, act)
            assert isinstance(problem, NoAnswer) and problem.is_final and "not public" in str(problem)
    assert heard == [] and not (tmp_path / "1").exists()


@pytest.mark.parametrize("lie", [each for each in QUICK if each != "a refusal in foreign words"])
@pytest.mark.parametrize("name", UPLOADERS)
def test_a_file_that_is_sent_to_a_liar_is_sent_again_later_or_not_at_all(name, lie, tmp_path):
    (tmp_path / "face.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with talking(QUICK[lie]) as url:
        vendor = CLIENTS[name](url, is_sandbox=True)
        problem = within(15, lambda: vendor.upload(tmp_path / "face.png", "image/png", "face.png", lambda: None))
    assert isinstance(problem, Away) and KEY.get_secret_value() not in str(problem)
