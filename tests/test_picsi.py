"""Picsi, whose contract is not public: our adapter takes nothing for granted, and the sandbox plays along."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from PIL import Image
from pydantic import SecretStr

from novai_web.config import Settings
from novai_web.sandbox import started
from novai_web.vendors import (
    Away,
    Done,
    Doubtful,
    Failed,
    File,
    KeyRejected,
    NotStarted,
    OutOfMoney,
    Refused,
    Running,
    Unknown,
    VendorFailed,
)
from novai_web.vendors.picsi import Picsi
from tests import media
from tests.scripted import Scripted, differences, scripted

KEY = "u-token-that-is-none"
MARKER = "novai-17-0123456789abcdef-1-89abcdef"
DEFAULTS = Settings(_env_file=None)

# What one client that was seen in public claims
REQUEST = {
    "source_video_url": "https://x/y.mp4",
    "face_image_url": "https://x/y.jpg",
    "target_face_index": 0,
    "model": "inswapper_dax",
}
STARTED = {"job_id": "j-1", "status": "queued", "created_at": 0}
JOB = {"job_id": "j-1", "status": "completed", "progress": 100, "result_url": "https://x/1.mp4", "error_message": None}


def picsi_at(url: str, key: str = KEY, *, is_sandbox: bool = False, **other: object) -> Picsi:
    given: dict[str, object] = {
        "model": DEFAULTS.picsi_model,
        "submit_path": DEFAULTS.picsi_submit_path,
        "poll_path": DEFAULTS.picsi_poll_path,
        "upload_path": DEFAULTS.picsi_upload_path,
        "statuses": DEFAULTS.picsi_statuses,
        "hosts": DEFAULTS.picsi_hosts,
        **other,
    }
    return Picsi(url, SecretStr(key), is_sandbox=is_sandbox, **given)


def heard() -> None:
    """Nobody wants it to stop."""


def ask_for(vendor: Picsi) -> str:
    request = vendor.swap_request(video_url=REQUEST["source_video_url"], face_url=REQUEST["face_image_url"], which=0)
    return vendor.start(request, MARKER, 10)


@pytest.fixture
def script() -> Iterator[Scripted]:
    with scripted() as one:
        yield one


@pytest.fixture
def picsi(script: Scripted) -> Picsi:
    return picsi_at(script.url)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started("vendors", "--folder", tmp_path_factory.mktemp("sandbox"), "--seconds", "0.4") as url:
        yield f"{url}/picsi"


@pytest.fixture
def sandbox(address: str) -> Picsi:
    return picsi_at(address, "sandbox", is_sandbox=True)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=20)


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("face") / "face.png"
    Image.new("RGB", (120, 160), (220, 30, 160)).save(path)
    return path


@pytest.fixture
def swap(sandbox: Picsi, clip: Path, face: Path) -> Callable[..., str]:
    def one(name: str = "clip.mp4") -> str:
        video_url = sandbox.upload(clip, "video/mp4", name, heard)
        face_url = sandbox.upload(face, "image/png", "face.png", heard)
        return sandbox.start(sandbox.swap_request(video_url=video_url, face_url=face_url, which=1), MARKER, 10)

    return one


def over(vendor: Picsi, run_id: str) -> object:
    end = time.monotonic() + 30
    while isinstance(seen := vendor.poll(run_id), Running) and time.monotonic() < end:
        time.sleep(0.1)
    return seen


def test_where_it_is_asked_and_what_its_words_mean_are_settings(script):
    vendor = picsi_at(
        script.url,
        submit_path="/v9/swaps",
        poll_path="/v9/swaps/{id}/state",
        statuses={"fertig": "done", "Abgelehnt": "refused", "weg": "cancelled", "kaputt": "failed"},
        hosts=("files.picsi.example",),
    )
    script.says({"id": "s-7"})
    assert ask_for(vendor) == "s-7" and script.asked[0].path == "/v9/swaps"
    for said, expected in (
        ({"status": "fertig", "url": "https://files.picsi.example/1.mp4"}, Done),
        ({"status": "abgelehnt", "error": "no"}, Failed("no", is_refusal=True)),
        ({"status": "WEG"}, Failed("It was cancelled there.")),
        ({"status": "kaputt"}, Failed("It did not say why.")),
        ({"status": "wartet"}, Running(None)),
        ({}, Running(None)),
    ):
        script.answers[:] = [(200, {"id": "s-7", **said}, {})]
        seen = vendor.poll("s-7")
        assert seen == expected if not isinstance(expected, type) else isinstance(seen, expected)
    assert script.asked[-1].path == "/v9/swaps/s-7/state"


def test_it_asks_as_the_claimed_contract_shows(script, picsi):
    script.says(STARTED)
    assert ask_for(picsi) == "j-1"
    (sent,) = script.asked
    assert (sent.method, sent.path, sent.json) == ("POST", "/video/face-swap", REQUEST)
    assert sent.headers["authorization"] == f"Bearer {KEY}" and KEY not in repr(vars(picsi))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (JOB, Done([File("https://x/1.mp4", "swapped.mp4", "video/mp4")])),
        ({**JOB, "result_url": None}, Done([])),
        ({**JOB, "result_url": ["x"]}, Done([])),
        ({**JOB, "status": "processing", "progress": 40}, Running(0.4)),
        ({**JOB, "status": "processing", "progress": 0.4}, Running(0.4)),
        ({**JOB, "status": "processing", "progress": "NaN"}, Running(None)),
        ({**JOB, "status": "processing", "progress": 1e400}, Running(None)),
        ({**JOB, "status": "failed", "error_message": "no face"}, Failed("no face")),
        ({**JOB, "status": "failed", "error_message": {"odd": 1}}, Failed("{'odd': 1}")),
    ],
    ids=str,
)
def test_what_a_job_says_is_read_with_patience(script, picsi, body, expected):
    script.says(body)
    assert picsi.poll("j-1") == expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"error_message": "x"}, KeyRejected),
        (403, b"<html>", KeyRejected),
        (402, {"error_message": "x"}, OutOfMoney),
        (422, {"error_message": "no face"}, Refused),
        (429, {"message": "later"}, NotStarted),
        (503, {"error": "later"}, NotStarted),
        (503, b"<html>", Doubtful),
        (500, {"error": "x"}, Doubtful),
        (200, b"<html>", Doubtful),
        (200, {"job_id": "../../x"}, Doubtful),
        (302, b"", Doubtful),
    ],
    ids=str,
)
def test_what_goes_wrong_at_a_start_is_told_apart(script, picsi, status, body, expected):
    script.says(body, status)
    with pytest.raises(expected):
        ask_for(picsi)
    assert len(script.asked) == 1, "no client repeats what may cost money"


def test_what_is_no_answer_to_a_poll_is_waited_for_and_a_job_that_is_not_there_is_unknown(script, picsi):
    for status, body in ((200, b"<html>"), (200, {"job_id": "j-2"}), (500, {}), (404, b"<html>"), (401, {})):
        script.answers[:] = [(status, body, {})]
        with pytest.raises(Away):
            picsi.poll("j-1")
    script.answers[:] = [(404, {"error_message": "no such job"}, {})]
    assert picsi.poll("j-1") == Unknown()


def test_nothing_is_known_of_a_list_or_of_a_cancel(picsi):
    assert picsi.find(MARKER) is None and list(picsi.recent()) == [] and picsi.cancel("j-1") is False


def test_its_key_is_tried_as_far_as_that_can_be_done_without_paying(script, picsi):
    script.says({"error_message": "no such job"}, 404)
    assert "contract is not public" in picsi.check()
    for status, expected in ((401, KeyRejected), (402, OutOfMoney), (500, Away), (200, Away), (404, Away)):
        script.answers[:] = [(status, b"<html>", {})]
        with pytest.raises(expected):
            picsi.check()


@pytest.mark.parametrize("url", ["http://x/1.mp4", "https://evil.example/1.mp4", "https://127.0.0.1:443/1.mp4", "x"])
def test_a_result_is_fetched_from_its_own_hosts_only(tmp_path, url):
    vendor = picsi_at("https://api.picsi.example/v1")
    with pytest.raises(VendorFailed, match="not its own"):
        vendor.fetch(File(url, "1.mp4", "video/mp4"), tmp_path / "1.mp4", heard)


# The sandbox


def test_the_sandbox_answers_in_the_claimed_shapes(address, sandbox, swap):
    run = swap()
    shown = requests.get(f"{address}/jobs/{run}", headers={"Authorization": "Bearer sandbox"}, timeout=5).json()
    assert differences({**JOB, "result_url": None}, shown) == [] and shown["status"] in ("queued", "processing")
    assert isinstance(over(sandbox, run), Done)
    shown = requests.get(f"{address}/jobs/{run}", headers={"Authorization": "Bearer sandbox"}, timeout=5).json()
    assert differences(JOB, shown) == []
    account = requests.get(f"{address}/account", headers={"Authorization": "Bearer sandbox"}, timeout=5).json()
    assert differences({"credits": 1, "plan": "x"}, account) == []


def test_a_swap_is_made_fetched_and_billed(address, sandbox, swap, tmp_path):
    run = swap()
    done = over(sandbox, run)
    sandbox.fetch(done.files[0], tmp_path / "swapped.mp4", heard)
    assert (tmp_path / "swapped.mp4").read_bytes()[4:8] == b"ftyp"
    (line,) = [each for each in requests.get(f"{address}/sandbox/bill", timeout=5).json() if each["id"] == run]
    assert (line["billed"], line["marker"], line["over"]) == (True, MARKER, True)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ("refuse", Failed("This face may not be used.", is_refusal=True)),
        ("fail", Failed("The swap failed.")),
        ("nothing", Done([])),
    ],
)
def test_each_end_can_be_asked_for_in_words(sandbox, swap, wish, expected):
    assert over(sandbox, swap(f"clip [sandbox:{wish}].mp4")) == expected


def test_a_result_at_a_private_address_is_not_fetched(sandbox, swap, tmp_path):
    done = over(sandbox, swap("clip [sandbox:elsewhere].mp4"))
    with pytest.raises(VendorFailed, match="not its own"):
        sandbox.fetch(done.files[0], tmp_path / "x.mp4", heard)


@pytest.mark.parametrize(("key", "expected"), [("wrong-key", KeyRejected), ("poor-key", OutOfMoney)])
def test_a_key_that_is_not_taken_is_known_before_anything_is_paid(address, face, key, expected):
    with pytest.raises(expected):
        picsi_at(address, key, is_sandbox=True).upload(face, "image/png", "face.png", heard)
