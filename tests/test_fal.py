"""The client of fal says and hears what fal's contract says, word for word; so does the sandbox in its place."""

import io
import itertools
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

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
    menu,
)
from novai_web.vendors.fal import Fal
from tests import media
from tests.parrot import Parrot, parrot
from tests.things import png

TRAINER, PICTURE = "fal-ai/wan-22-image-trainer", "fal-ai/wan/v2.2-a14b/text-to-image/lora"
ID = "764cabcf-b745-4b3e-ae38-1200304cf45b"
PLACE = f"fal-ai/wan/requests/{ID}"
MARKER = "novai-7-0123456789abcdef-1-89abcdef"
TRAINED = {
    "diffusers_lora_file": {
        "url": "https://v3.fal.media/files/zebra/low.safetensors",
        "content_type": "application/octet-stream",
        "file_name": "pytorch_lora_weights_low.safetensors",
        "file_size": 306807976,
    },
    "high_noise_lora": {
        "url": "https://v3.fal.media/files/zebra/high.safetensors",
        "content_type": "application/octet-stream",
        "file_name": "pytorch_lora_weights_high.safetensors",
        "file_size": 306807976,
    },
    "config_file": {
        "url": "https://v3.fal.media/files/zebra/config.json",
        "content_type": "application/octet-stream",
        "file_name": "config.json",
        "file_size": 1000,
    },
}
FLAGGED = {
    "detail": [
        {
            "loc": ["body", "prompt"],
            "msg": "The content could not be processed because it contained material flagged by a content checker.",
            "type": "content_policy_violation",
            "url": "https://docs.fal.ai/errors/#content_policy_violation",
            "input": {"prompt": "..."},
        }
    ]
}
NO_USER = {"detail": "No user found for Key ID and Secret"}
NO_MONEY = {"detail": "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."}


def heard() -> None:
    """Nobody wants it to stop."""


# The contract's own examples


@pytest.fixture
def fal() -> Iterator[Parrot]:
    with parrot() as one:
        yield one


@pytest.fixture
def real(fal: Parrot) -> Settings:
    """As with a key, but fal's addresses are the parrot's."""
    return Settings(
        _env_file=None,
        fal_key="id:secret",
        fal_queue_url=fal.url,
        fal_rest_url=fal.url,
        fal_api_url=f"{fal.url}/v1",
        public_url="https://studio.example.com",
        secret_key="for tests only, and long enough to be one",
    )


@pytest.fixture
def client(real: Settings) -> Fal:
    return Fal(real, "training")


def submitted(**changes: Any) -> dict[str, Any]:
    url = f"{{here}}/{PLACE}"
    said = {
        "status": "IN_QUEUE",
        "request_id": ID,
        "response_url": url,
        "status_url": f"{url}/status",
        "cancel_url": f"{url}/cancel",
        "queue_position": 0,
    }
    return {**said, **changes}


def ask_for_a_picture(client: Fal) -> str:
    request = client.picture_request(
        prompt="a cat", low_url="https://v3.fal.media/files/a/low.safetensors", high_url="", size=(512, 512), seed=7
    )
    return client.start(request, MARKER, timeout=5)


def test_a_submit_sends_the_bare_input_and_keeps_the_path_that_fal_gives_which_is_shorter_than_its_own(fal, client):
    fal.say("POST", f"/{PICTURE}", 200, submitted())
    assert ask_for_a_picture(client) == PLACE
    (asked,) = fal.asked
    assert asked.headers["Authorization"] == "Key id:secret" and asked.headers["Content-Type"] == "application/json"
    assert asked.json["prompt"] == "a cat" and asked.json["image_size"] == {"width": 512, "height": 512}
    assert asked.json["loras"] == [
        {
            "path": f"https://v3.fal.media/files/a/low.safetensors?novai={MARKER}",
            "transformer": "both",
            "scale": 1.0,
        }
    ]
    (bell,) = parse_qs(urlsplit(asked.path).query)["fal_webhook"]
    assert bell.startswith("https://studio.example.com/webhooks/fal?")
    assert parse_qs(urlsplit(bell).query)["run"] == [MARKER]


def test_a_training_has_the_names_of_the_contract_and_no_webhook_where_nobody_could_call_us(fal, real):
    fal.say("POST", f"/{TRAINER}", 200, submitted())
    client = Fal(real.model_copy(update={"public_url": "http://localhost:8000"}), "training")
    url = "https://v3.fal.media/files/a/photos.zip"
    given = {"trigger": "ohwx", "steps": 1000, "learning_rate": 0.0007, "is_style": False}
    client.start(client.training_request(zip_url=url, **given), MARKER, 5)
    (asked,) = fal.asked
    assert asked.path == f"/{TRAINER}"
    assert asked.json == {
        "training_data_url": f"{url}?novai={MARKER}",
        "trigger_phrase": "ohwx",
        "steps": 1000,
        "learning_rate": 0.0007,
        "is_style": False,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"response_url": "https://elsewhere.example.com/x"},
        {"status_url": ""},
        {"response_url": "{here}/../x", "status_url": "{here}/../x/status", "cancel_url": "{here}/../x/cancel"},
    ],
    ids=str,
)
def test_our_key_is_sent_to_no_address_but_the_queues_and_what_began_is_not_lost(fal, client, changes):
    fal.say("POST", f"/{PICTURE}", 200, submitted(**changes))
    assert ask_for_a_picture(client) == PLACE


def test_addresses_of_another_kind_are_used_as_they_are(fal, client):
    fal.say("POST", f"/{PICTURE}", 200, submitted(status_url="{here}/fal-ai/wan/seen/abc"))
    external_id = ask_for_a_picture(client)
    fal.say("GET", "/fal-ai/wan/seen/abc", 202, {"status": "IN_QUEUE", "request_id": ID})
    assert client.poll(external_id) == Running(None)


@pytest.mark.parametrize(
    ("status", "body", "headers", "error"),
    [
        (401, NO_USER, {}, KeyRejected),
        (401, {"detail": "Invalid Key Authorization header format. Expected '<id>:<secret>'."}, {}, KeyRejected),
        (403, NO_MONEY, {}, OutOfMoney),
        (403, {"detail": "Forbidden"}, {}, KeyRejected),
        (403, b"<html>Access denied</html>", {}, Doubtful),
        (404, {"detail": "Application 'nobody/nothing' not found"}, {}, Refused),
        (422, FLAGGED, {}, Refused),
        (429, {"detail": "Too many requests"}, {"Retry_After": "7"}, NotStarted),
        (503, {"detail": "No runner", "error_type": "runner_scheduling_failure"}, {}, NotStarted),
        (503, b"<html>Bad gateway</html>", {}, Doubtful),
        (504, {"detail": "Request timed out", "error_type": "request_timeout"}, {}, Doubtful),
        (500, {"detail": "Internal error", "error_type": "internal_error"}, {}, Doubtful),
        (200, b"<html>Welcome</html>", {}, Doubtful),
        (200, {"status": "IN_QUEUE"}, {}, Doubtful),
        (302, b"", {"Location": "http://169.254.169.254/"}, Doubtful),
    ],
    ids=str,
)
def test_no_money_is_no_wrong_key_and_only_fals_own_no_means_that_nothing_began(
    fal, client, status, body, headers, error
):
    fal.say("POST", f"/{PICTURE}", status, body, **headers)
    with pytest.raises(error) as said:
        ask_for_a_picture(client)
    assert "secret" not in str(said.value)
    if error is NotStarted:
        assert said.value.retry_after == (7 if headers else None)
    assert len(fal.asked) == 1, "a paid request is never repeated"


def test_a_queue_that_nobody_answers_at_has_started_nothing(real):
    client = Fal(real.model_copy(update={"fal_queue_url": "http://127.0.0.1:9"}), "pictures")
    with pytest.raises(NotStarted):
        ask_for_a_picture(client)


@pytest.mark.parametrize(
    ("status", "body", "seen"),
    [
        (202, {"status": "IN_QUEUE", "request_id": ID, "queue_position": 3}, Running(None)),
        (
            202,
            {
                "status": "IN_PROGRESS",
                "request_id": ID,
                "logs": [{"message": "step 120/1000", "level": "INFO", "source": "USER"}],
            },
            Running(0.12),
        ),
        (202, {"status": "IN_PROGRESS", "request_id": ID, "logs": None}, Running(None)),
        (202, {"status": "IN_PROGRESS", "request_id": ID, "logs": [{"message": "step 1/0"}, 7]}, Running(None)),
        (200, {"status": "SOMETHING_NEW", "request_id": ID}, Running(None)),
        (
            200,
            {"status": "COMPLETED", "request_id": ID, "error": "gone", "error_type": "client_cancelled"},
            Failed("It was cancelled there.", is_billed=False),
        ),
        (
            200,
            {"status": "COMPLETED", "request_id": ID, "error": "Oh", "error_type": "runner_disconnected"},
            Failed("Its machine went away.", is_billed=False),
        ),
        (404, {"detail": "Request not found"}, Unknown()),
    ],
    ids=str,
)
def test_what_a_status_means(fal, client, status, body, seen):
    fal.say("GET", f"/{PLACE}/status", status, body)
    assert client.poll(PLACE) == seen
    assert fal.asked[0].path == f"/{PLACE}/status?logs=1"


@pytest.mark.parametrize(
    ("status", "body"), [(401, NO_USER), (403, NO_MONEY), (200, b"<html>Welcome</html>"), (500, b"")], ids=str
)
def test_a_status_that_is_none_says_nothing_about_the_run(fal, client, status, body):
    fal.say("GET", f"/{PLACE}/status", status, body)
    with pytest.raises(Away) as away:
        client.poll(PLACE)
    reasons = {401: KeyRejected, 403: OutOfMoney}
    assert type(away.value.__cause__) is reasons.get(status, type(None))


def completed(fal: Parrot, place: str = PLACE, **more: Any) -> None:
    fal.say("GET", f"/{place}/status", 200, {"status": "COMPLETED", "request_id": ID, "logs": None, **more})


def test_a_training_gives_its_low_and_its_high_noise_weights_and_the_steps_that_are_billed(fal, client):
    place = f"{TRAINER}/requests/{ID}"
    completed(fal, place, metrics={"inference_time": 412.7})
    fal.say("GET", f"/{place}", 200, TRAINED, x_fal_billable_units="1000")
    done = client.poll(place)
    assert isinstance(done, Done) and done.units == 1000
    assert [(file.part, file.name) for file in done.files] == [
        ("low", "low.safetensors"),
        ("high", "high.safetensors"),
        ("config", "config.json"),
    ]
    assert done.files[0].url == "https://v3.fal.media/files/zebra/low.safetensors"


@pytest.mark.parametrize(
    ("output", "files"),
    [
        (
            {"image": {"url": "https://v3.fal.media/files/lion/abc.jpeg", "content_type": "image/jpeg"}, "seed": 1},
            [File("https://v3.fal.media/files/lion/abc.jpeg", "abc.jpeg", "image/jpeg", "image")],
        ),
        (
            {"video": {"url": "https://v3b.fal.media/files/a/out.mp4"}, "processing_time_ms": 4},
            [File("https://v3b.fal.media/files/a/out.mp4", "out.mp4", "", "video")],
        ),
        ({"seed": 3}, []),
    ],
    ids=str,
)
def test_of_a_file_only_the_address_is_certain(fal, client, output, files):
    completed(fal)
    fal.say("GET", f"/{PLACE}", 200, output, x_fal_billable_units="7")
    assert client.poll(PLACE) == Done(files), "units are known of a training only"


@pytest.mark.parametrize(
    ("status", "body", "headers", "seen"),
    [
        (
            422,
            FLAGGED,
            {},
            Failed(FLAGGED["detail"][0]["msg"], is_refusal=True, is_billed=True),
        ),
        (
            422,
            {"detail": [{"loc": ["body"], "msg": "Not an archive.", "type": "invalid_archive"}]},
            {"x_fal_billable_units": "0"},
            Failed("Not an archive.", is_refusal=True, is_billed=False),
        ),
        (
            500,
            {"detail": [{"loc": [], "msg": "Internal server error", "type": "internal_server_error"}]},
            {"X_Fal_Retryable": "true"},
            Failed("Internal server error", is_billed=False),
        ),
        (422, {"detail": "Prompt too long"}, {}, Failed("Prompt too long", is_refusal=True, is_billed=True)),
        (400, {"detail": "Request is still in progress"}, {}, Running(None)),
        (404, {"detail": "Request not found"}, {}, Failed("It no longer has what it made.", is_billed=True)),
    ],
    ids=str,
)
def test_a_completed_request_may_have_failed_and_its_result_says_so(fal, client, status, body, headers, seen):
    completed(fal)
    fal.say("GET", f"/{PLACE}", status, body, **headers)
    assert client.poll(PLACE) == seen


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"[]", b"7", b"{"], ids=str)
def test_a_result_that_is_none_is_asked_for_again(fal, client, body):
    completed(fal)
    fal.say("GET", f"/{PLACE}", 200, body)
    with pytest.raises(Away):
        client.poll(PLACE)


@pytest.mark.parametrize(
    ("answer", "status", "is_cancelled"),
    [
        ((202, {"status": "CANCELLATION_REQUESTED"}), {"status": "COMPLETED", "error_type": "client_cancelled"}, True),
        ((202, {"status": "CANCELLATION_REQUESTED"}), {"status": "IN_PROGRESS", "logs": None}, None),
        ((202, {"status": "CANCELLATION_REQUESTED"}), {"status": "COMPLETED"}, False),
        ((400, {"status": "ALREADY_COMPLETED"}), {"status": "COMPLETED"}, False),
        ((400, {"status": "ALREADY_COMPLETED"}), {"status": "COMPLETED", "error_type": "client_cancelled"}, True),
        ((200, {"status": "OK"}), {"status": "COMPLETED", "error": "x", "error_type": "client_cancelled"}, True),
        ((404, {"status": "NOT_FOUND"}), None, None),
        ((401, NO_USER), None, None),
    ],
    ids=str,
)
def test_a_cancel_is_only_a_wish_and_what_became_of_it_is_looked_at(fal, client, answer, status, is_cancelled):
    fal.say("PUT", f"/{PLACE}/cancel", *answer)
    if status:
        fal.say("GET", f"/{PLACE}/status", 200, {"request_id": ID, **status})
    if is_cancelled is None:
        with pytest.raises(Away):
            client.cancel(PLACE)
    else:
        assert client.cancel(PLACE) is is_cancelled


def test_a_request_whose_answer_was_lost_is_found_among_the_finished_ones_by_what_it_was_given(fal, client):
    given = {"training_data_url": f"https://v3.fal.media/a.zip?novai={MARKER}"}
    items = [{"request_id": "other", "json_input": {"prompt": "a cat"}}, {"request_id": ID, "json_input": given}]
    fal.say("GET", "/v1/models/requests/by-endpoint", 200, {"items": items, "has_more": False, "next_cursor": None})
    assert client.find(MARKER) is not None and client.find("novai-8") is None
    assert {each.marker for each in client.recent()} == {MARKER}
    asked = parse_qs(urlsplit(fal.asked[0].path).query)
    assert asked["expand"] == ["payloads"] and asked["limit"] == ["100"]


@pytest.mark.parametrize(("status", "body"), [(403, {"detail": "no"}), (404, b""), (401, NO_USER)], ids=str)
def test_a_key_that_may_not_see_the_list_finds_nothing_and_says_so(fal, client, status, body):
    fal.say("GET", "/v1/models/requests/by-endpoint", status, body)
    assert client.find(MARKER) is None and list(client.recent()) == [] and not client.has_list


@pytest.mark.parametrize(
    ("placed", "error"),
    [
        ({"upload_url": "{here}/put", "file_url": "https://v3.fal.media/files/a.zip"}, Away),  # no https
        ({"upload_url": "https://127.0.0.1/put", "file_url": "https://v3.fal.media/files/a.zip"}, Away),
        ({"upload_url": "https://s3.example.com/put", "file_url": "https://elsewhere.example.com/a.zip"}, Away),
        ({"upload_url": "file:///etc/passwd", "file_url": "https://v3.fal.media/files/a.zip"}, Away),
        (NO_USER, KeyRejected),
        (NO_MONEY, OutOfMoney),
    ],
    ids=str,
)
def test_a_file_goes_nowhere_but_to_a_public_address_and_comes_to_lie_nowhere_but_at_fal(
    fal, client, tmp_path, placed, error
):
    status = {"KeyRejected": 401, "OutOfMoney": 403}.get(error.__name__, 200)
    fal.say("POST", "/storage/upload/initiate", status, placed)
    path = tmp_path / "photos.zip"
    path.write_bytes(b"PK")
    with pytest.raises(error):
        client.upload(path, "application/zip", "photos.zip", heard)
    assert [each.method for each in fal.asked] == ["POST"]
    assert fal.asked[0].json == {"file_name": "photos.zip", "content_type": "application/zip"}


@pytest.mark.parametrize(
    "url",
    [
        "https://v3.fal.media.evil.example.com/a",
        "http://v3.fal.media/a",
        "https://someone@v3.fal.media/a",
        "https://v3.fal.media:8443/a",
        "http://169.254.169.254/latest",
        "store:jobs/1/run-1-0.bin",
        "file:///etc/passwd",
    ],
)
def test_a_file_is_fetched_from_fals_own_hosts_only(client, tmp_path, url):
    with pytest.raises(VendorFailed, match="not its own"):
        client.fetch(File(url, "a", ""), tmp_path / "a", heard)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "body", "error"), [(200, {"token": "t"}, None), (401, NO_USER, KeyRejected), (403, NO_MONEY, OutOfMoney)]
)
def test_the_key_is_tried_with_something_that_costs_nothing(fal, client, status, body, error):
    fal.say("POST", "/storage/auth/token", status, body)
    if error:
        with pytest.raises(error):
            client.check()
    else:
        assert client.check() == "The key is accepted."
    assert [urlsplit(each.path).path for each in fal.asked] == ["/storage/auth/token"]


# The sandbox speaks the same


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started("vendors", "--folder", tmp_path_factory.mktemp("sandbox"), "--seconds", "0.4") as url:
        yield url


@pytest.fixture
def stand_in(sandbox: str) -> Iterator[Fal]:
    settings = Settings(_env_file=None, sandbox_url=sandbox, secret_key="for tests only, and long enough to be one")
    yield menu.fal("training", settings)
    requests.delete(f"{sandbox}/fal-queue/sandbox/faults", timeout=5)


def until_over(client: Fal, external_id: str, seconds: float = 20) -> Done | Failed | Unknown:
    end = time.monotonic() + seconds
    while isinstance(seen := client.poll(external_id), Running) and time.monotonic() < end:
        time.sleep(0.05)
    assert not isinstance(seen, Running)
    return seen


def photos(folder: Path, name: str = "photos.zip", content: bytes | None = None) -> Path:
    path, packed = folder / name, io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("1.png", png(1, 16, 16))
    path.write_bytes(packed.getvalue() if content is None else content)
    return path


def train(client: Fal, folder: Path, *, trigger: str = "ohwx", steps: int = 100, **more: Any) -> str:
    path = photos(folder, **more)
    url = client.upload(path, "application/zip", path.name, heard)
    request = client.training_request(zip_url=url, trigger=trigger, steps=steps, learning_rate=0.0007, is_style=False)
    return client.start(request, MARKER, 5)


def draw(client: Fal, prompt: str = "a cat") -> str:
    request = client.picture_request(
        prompt=prompt, low_url="https://v3.fal.media/files/a/low.safetensors", high_url="", size=(256, 320), seed=7
    )
    return client.start(request, MARKER, 5)


def test_the_sandbox_answers_in_the_shapes_of_the_contract(sandbox, stand_in):
    headers = {"Authorization": "Key id:secret"}
    answer = requests.post(f"{sandbox}/fal-queue/{PICTURE}", json={"prompt": "a cat"}, headers=headers, timeout=5)
    said = answer.json()
    assert answer.status_code == 200 and set(said) == set(submitted())
    assert urlsplit(said["response_url"]).path == f"/fal-queue/fal-ai/wan/requests/{said['request_id']}"
    early = requests.get(said["response_url"], headers=headers, timeout=5)
    assert (early.status_code, early.json()) == (400, {"detail": "Request is still in progress"})
    seen = requests.get(said["status_url"], headers=headers, timeout=5)
    assert seen.status_code == 202 and seen.json()["status"] in ("IN_QUEUE", "IN_PROGRESS")
    until_over(stand_in, f"fal-ai/wan/requests/{said['request_id']}")
    seen = requests.get(said["status_url"], headers=headers, timeout=5)
    assert seen.status_code == 200 and seen.json()["status"] == "COMPLETED" and seen.json()["logs"] is None
    output = requests.get(said["response_url"], headers=headers, timeout=5)
    assert set(output.json()) == {"image", "seed"} and output.headers["x-fal-billable-units"] == "1"
    late = requests.put(said["cancel_url"], headers=headers, timeout=5)
    assert (late.status_code, late.json()) == (400, {"status": "ALREADY_COMPLETED"})
    none = requests.put(f"{sandbox}/fal-queue/fal-ai/wan/requests/nobody/cancel", headers=headers, timeout=5)
    assert (none.status_code, none.json()) == (404, {"status": "NOT_FOUND"})


@pytest.mark.parametrize(
    ("key", "status", "words"),
    [
        ("Key wrong:key", 401, "No user found for Key ID and Secret"),
        ("Key nonsense", 401, "Invalid Key Authorization header format. Expected '<key_id>:<key_secret>'."),
        ("Key poor:key", 403, NO_MONEY["detail"]),
    ],
)
def test_the_sandbox_knows_a_wrong_key_from_an_empty_purse(sandbox, key, status, words):
    answer = requests.post(f"{sandbox}/fal-queue/{PICTURE}", json={}, headers={"Authorization": key}, timeout=5)
    assert (answer.status_code, answer.json()) == (status, {"detail": words})


def test_a_training_in_the_sandbox_gives_weights_that_parse_and_differ_and_the_same_for_the_same_seed(
    stand_in, tmp_path
):
    done = until_over(stand_in, train(stand_in, tmp_path))
    assert isinstance(done, Done) and done.units == 100
    contents = {}
    for file in done.files:
        stand_in.fetch(file, tmp_path / file.name, heard)
        contents[file.part] = (tmp_path / file.name).read_bytes()
    low, high = tensors(contents["low"]), tensors(contents["high"])
    assert low.keys() == high.keys() and contents["low"] != contents["high"] and len(low) > 40
    assert json.loads(contents["config"])["trigger_phrase"] == "ohwx"


def tensors(content: bytes) -> dict[str, Any]:
    """The tensors of a file, each within it and none over another."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    assert "SANDBOX" in header.pop("__metadata__")["novai_sandbox"]
    spans = sorted(each["data_offsets"] for each in header.values())
    assert spans[0][0] == 0 and spans[-1][1] == len(content) - 8 - size
    assert all(one[1] == other[0] for one, other in itertools.pairwise(spans))
    return header


def test_a_picture_in_the_sandbox_is_one_of_the_size_that_was_asked_for(stand_in, tmp_path):
    done = until_over(stand_in, draw(stand_in))
    assert isinstance(done, Done)
    stand_in.fetch(done.files[0], tmp_path / "a.png", heard)
    data = (tmp_path / "a.png").read_bytes()
    assert data.startswith(b"\x89PNG") and data[16:24] == (256).to_bytes(4, "big") + (320).to_bytes(4, "big")


def test_a_swap_in_the_sandbox_is_a_video_that_plays(stand_in, tmp_path):
    clip = media.video(tmp_path / "clip.mp4", frames=30)
    (tmp_path / "face.png").write_bytes(png(3, 64, 64))
    video = stand_in.upload(clip, "video/mp4", "clip.mp4", heard)
    face = stand_in.upload(tmp_path / "face.png", "image/png", "face.png", heard)
    begun = stand_in.start(stand_in.swap_request(video_url=video, face_url=face, which=0), MARKER, 5)
    done = until_over(stand_in, begun)
    assert isinstance(done, Done) and done.files[0].part == "video"
    stand_in.fetch(done.files[0], tmp_path / "out.mp4", heard)
    assert (tmp_path / "out.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("[sandbox:refuse]", (True, True)),
        ("[sandbox:broken]", (False, False)),
        ("[sandbox:slow]", (False, False)),
        ("[sandbox:fail]", (False, False)),
        ("[sandbox:expired]", (False, True)),
    ],
)
def test_each_way_to_fail_is_heard_as_what_it_is(stand_in, words, seen):
    failed = until_over(stand_in, draw(stand_in, f"a cat {words}"))
    assert isinstance(failed, Failed) and (failed.is_refusal, failed.is_billed) == seen


def test_an_archive_that_is_none_is_refused_by_the_model_and_not_billed(stand_in, tmp_path):
    failed = until_over(stand_in, train(stand_in, tmp_path, content=b"no archive"))
    assert failed == Failed("The file is not a valid archive.", is_refusal=True, is_billed=False)


@pytest.mark.parametrize("steps", [9, 6001])
def test_a_number_out_of_bounds_is_refused_by_the_model(stand_in, tmp_path, steps):
    failed = until_over(stand_in, train(stand_in, tmp_path, steps=steps))
    assert isinstance(failed, Failed) and failed.is_refusal and "ensure this value" in failed.words


@pytest.mark.parametrize("words", ["[sandbox:moved]", "[sandbox:gone]", "[sandbox:elsewhere]"])
def test_a_file_that_is_elsewhere_or_nowhere_is_not_to_be_had(stand_in, tmp_path, words):
    done = until_over(stand_in, draw(stand_in, words))
    assert isinstance(done, Done)
    with pytest.raises(VendorFailed):
        stand_in.fetch(done.files[0], tmp_path / "a.png", heard)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_cancelled_in_the_sandbox_is_not_billed_unless_it_is_stubborn(sandbox, stand_in):
    gone, stubborn = draw(stand_in, "[sandbox:never]"), draw(stand_in, "[sandbox:stubborn]")
    assert stand_in.cancel(gone) is True
    assert stand_in.poll(gone) == Failed("It was cancelled there.", is_billed=False)
    with pytest.raises(Away):
        stand_in.cancel(stubborn)
    until_over(stand_in, stubborn)
    assert stand_in.cancel(stubborn) is False
    bill = {each["id"]: each["billed"] for each in requests.get(f"{sandbox}/fal-queue/sandbox/bill", timeout=5).json()}
    assert [bill[each.rpartition("/")[2]] for each in (gone, stubborn)] == [False, True]


def test_the_sandbox_lists_what_has_finished_and_finds_our_marker_there(stand_in, tmp_path):
    marker = f"novai-9-{time.time_ns():016x}-1-00000000"
    url = stand_in.upload(photos(tmp_path), "application/zip", "photos.zip", heard)
    request = stand_in.training_request(zip_url=url, trigger="a", steps=100, learning_rate=0.001, is_style=True)
    begun = stand_in.start(request, marker, 5)
    assert stand_in.find(marker) is None, "what runs is not listed yet"
    until_over(stand_in, begun)
    end = time.monotonic() + 10
    while (found := stand_in.find(marker)) is None and time.monotonic() < end:
        time.sleep(0.1)
    assert found == begun
