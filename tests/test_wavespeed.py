"""WaveSpeed: our client, and the sandbox that stands in for it, against what its contract shows."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import av
import pytest
import requests
from PIL import Image
from pydantic import SecretStr

from novai_web.sandbox import started
from novai_web.vendors import (
    AccountTrouble,
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
from novai_web.vendors.wavespeed import SANDBOX_SECRET, WaveSpeed, is_authentic
from tests import media
from tests.scripted import Scripted, differences, scripted

MODEL = "wavespeed-ai/video-face-swap"
KEY = "ws_not-a-key"
MARKER = "novai-17-0123456789abcdef-1-89abcdef"
OURS = ("d1q70pf5vjeyhc.cloudfront.net",)

# What the contract shows
REQUEST = {"video": "https://x/y.mp4", "face_image": "https://x/y.jpg", "target_index": 0, "target_gender": "all"}
RUN = "e7a2c1f0b6c94a1d8a3f"
STARTED = {
    "code": 200,
    "message": "success",
    "data": {
        "id": RUN,
        "model": MODEL,
        "outputs": [],
        "urls": {"get": f"https://api.wavespeed.ai/api/v3/predictions/{RUN}/result"},
        "has_nsfw_contents": [],
        "status": "created",
        "created_at": "2026-11-21T08:01:02.345Z",
        "error": "",
        "timings": {"inference": 0},
    },
}
COMPLETED = {
    **STARTED,
    "data": {
        **STARTED["data"],
        "outputs": [f"https://d1q70pf5vjeyhc.cloudfront.net/predictions/{RUN}/1.mp4"],
        "has_nsfw_contents": [False],
        "status": "completed",
        "timings": {"inference": 61234},
    },
}
REFUSED = {
    "code": 200,
    "message": "success",
    "data": {"id": RUN, "status": "failed", "code": 1200, "error": "content policy …", "outputs": []},
}
UPLOAD = {
    "code": 200,
    "message": "success",
    "data": {
        "type": "image",
        "download_url": "https://x/y.png",
        "filename": "y.png",
        "size": 10,
        "upload": {"method": "PUT", "url": "https://x?sig", "headers": {"Content-Type": "image/png"}},
    },
}
BALANCE = {"code": 200, "message": "success", "data": {"balance": 12.34}}
PRICE = {"price": 0.05, "discounted_price": 0.05, "discount_rate": 1, "currency": "USD"}
LISTED = {"code": 200, "message": "success", "data": {"page": 1, "total": 1, "items": [COMPLETED["data"]]}}


def task(**changed: object) -> dict[str, object]:
    return {**COMPLETED, "data": {**COMPLETED["data"], **changed}}


def heard() -> None:
    """Nobody wants it to stop."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with started("vendors", "--folder", folder, "--seconds", "0.4") as url:
        yield f"{url}/wavespeed"


@pytest.fixture
def sandbox(address: str) -> Iterator[WaveSpeed]:
    yield WaveSpeed(address, SecretStr("sandbox"), model=MODEL, hosts=OURS, is_sandbox=True)
    requests.delete(f"{address}/sandbox/faults", timeout=5)


@pytest.fixture
def script() -> Iterator[Scripted]:
    with scripted() as one:
        yield one


@pytest.fixture
def wavespeed(script: Scripted) -> WaveSpeed:
    return WaveSpeed(script.url, SecretStr(KEY), model=MODEL, hosts=OURS)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=30)


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("face") / "face.png"
    Image.new("RGB", (120, 160), (220, 30, 160)).save(path)
    return path


@pytest.fixture
def swap(sandbox: WaveSpeed, clip: Path, face: Path) -> Callable[..., str]:
    """Starts a swap of a clip of that name, and gives its id."""

    def one(name: str = "clip.mp4", which: int = 0) -> str:
        video_url = sandbox.upload(clip, "video/mp4", name, heard)
        face_url = sandbox.upload(face, "image/png", "face.png", heard)
        request = sandbox.swap_request(video_url=video_url, face_url=face_url, which=which)
        return sandbox.start(request, MARKER, 10)

    return one


def over(vendor: WaveSpeed, run_id: str) -> object:
    end = time.monotonic() + 30
    while isinstance(seen := vendor.poll(run_id), Running) and time.monotonic() < end:
        time.sleep(0.1)
    return seen


def ask_for(vendor: WaveSpeed) -> str:
    request = vendor.swap_request(video_url=REQUEST["video"], face_url=REQUEST["face_image"], which=0)
    return vendor.start(request, MARKER, 10)


# The client against the contract


def test_it_asks_as_the_contract_shows_and_reads_the_id(script, wavespeed):
    script.says(STARTED)
    assert ask_for(wavespeed) == RUN
    (sent,) = script.asked
    assert (sent.method, sent.path) == ("POST", f"/api/v3/{MODEL}") and sent.json == REQUEST
    assert sent.headers["authorization"] == f"Bearer {KEY}" and sent.headers["x-novai-run"] == MARKER
    assert KEY not in repr(vars(wavespeed))


def test_the_webhook_is_a_parameter_of_the_address_and_carries_our_marker(script):
    vendor = WaveSpeed(script.url, SecretStr(KEY), model=MODEL, hosts=OURS, webhook_url="https://novai.example/bell")
    script.says(STARTED)
    ask_for(vendor)
    (webhook,) = parse_qs(urlsplit(script.asked[0].path).query)["webhook"]
    assert webhook == f"https://novai.example/bell?run={MARKER}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (STARTED, Running(None)),
        (task(status="processing"), Running(None)),
        (task(status="reticulating splines"), Running(None)),
        (COMPLETED, Done([File(COMPLETED["data"]["outputs"][0], "1.mp4", "video/mp4")])),
        (task(outputs=[{"url": "https://x/2.mp4"}]), Done([File("https://x/2.mp4", "2.mp4", "video/mp4")])),
        (task(outputs=[]), Done([])),
        (task(outputs=None), Done([])),
        (task(outputs=["AAAA", 3, None]), Done([])),
        (REFUSED, Failed("Its rules forbid this content.", is_refusal=True, is_billed=False)),
        (task(status="failed", code=1402), Failed("It could not fetch a file that it was given.", is_billed=False)),
        (task(status="failed", code=None, error="out of memory"), Failed("out of memory", is_billed=False)),
        (task(status="failed", error=None), Failed("It did not say why.", is_billed=False)),
        (task(status="cancelled"), Failed("It was cancelled there.", is_billed=True)),
        (task(status="timeout"), Failed("It took too long.", is_billed=True)),
        (task(status="deleted"), Failed("It was cancelled there.", is_billed=True)),
    ],
)
def test_what_a_prediction_says_is_read_by_its_status_and_not_by_its_envelope(script, wavespeed, body, expected):
    script.says(body)
    assert wavespeed.poll(RUN) == expected
    assert script.asked[0].path == f"/api/v3/predictions/{RUN}/result"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, {"code": 200}),
        (200, {"code": 200, "data": {"id": "another", "status": "completed"}}),
        (200, {"code": 5003, "message": "unavailable"}),
        (200, {"code": 200, "data": {"id": ["x"], "status": "completed"}}),
        (500, {"code": 500, "message": "internal"}),
        (404, b"<html>"),
        (302, b""),
    ],
    ids=str,
)
def test_what_is_no_answer_to_a_poll_is_waited_for(script, wavespeed, status, body):
    script.says(body, status)
    with pytest.raises(Away):
        wavespeed.poll(RUN)


def test_a_prediction_that_is_not_there_is_unknown(script, wavespeed):
    script.says({"code": 404, "message": "prediction not found"}, 404)
    assert wavespeed.poll(RUN) == Unknown()


def test_a_key_that_is_not_taken_any_more_loses_no_run(script, wavespeed):
    script.says({"code": 401, "message": "Invalid API key"}, 401)
    with pytest.raises(Away) as away:
        wavespeed.poll(RUN)
    assert isinstance(away.value.__cause__, KeyRejected)


@pytest.mark.parametrize(
    ("status", "body", "expected", "words"),
    [
        (401, {"code": 401, "message": "Invalid API key"}, KeyRejected, "WaveSpeed is not accepted"),
        (401, b"no", KeyRejected, "WaveSpeed"),
        (402, {"code": 402, "message": "x"}, OutOfMoney, "WaveSpeed is out of money"),
        (400, {"code": 400, "message": "Insufficient balance"}, OutOfMoney, "out of money"),
        (200, {"code": 402, "message": "x"}, OutOfMoney, "out of money"),
        (400, {"code": 400, "message": "video is required"}, Refused, "video is required"),
        (404, {"code": 404, "message": "model not found"}, Refused, "model not found"),
        (413, {"code": 413, "message": "too large"}, Refused, "too large"),
        (200, {"code": 400, "message": "bad"}, Refused, "bad"),
        (429, {"code": 429, "message": "balance your requests"}, NotStarted, None),
        (503, {"code": 503, "message": "later"}, NotStarted, None),
        (503, b"<html>", Doubtful, None),
        (500, {"code": 500, "message": "x"}, Doubtful, None),
        (400, b"<html>", Doubtful, None),
        (200, b"<html>", Doubtful, None),
        (200, {"code": 200, "data": {"id": ""}}, Doubtful, None),
        (302, b"", Doubtful, None),
    ],
    ids=str,
)
def test_what_goes_wrong_at_a_start_is_told_apart(script, wavespeed, status, body, expected, words):
    script.says(body, status)
    with pytest.raises(expected, match=words):
        ask_for(wavespeed)
    assert len(script.asked) == 1, "no client repeats what may cost money"


def test_a_run_is_found_by_its_marker_only_if_the_list_shows_it(script, wavespeed):
    script.says(LISTED)
    assert wavespeed.find(MARKER) is None and wavespeed.recent()[0].is_over
    assert (
        differences({"page": 1, "page_size": 100, "created_after": "2026-11-20T00:00:00Z"}, script.asked[0].json) == []
    )
    shown = {**COMPLETED["data"], "webhook": f"https://novai.example/bell?run={MARKER}"}
    script.answers[:] = [(200, {**LISTED, "data": {"page": 1, "items": [{"odd": 1}, shown]}}, {})]
    assert wavespeed.find(MARKER) == RUN


def test_all_pages_of_the_list_are_read(script, wavespeed):
    script.says({"code": 200, "data": {"items": [COMPLETED["data"]] * 100}})
    script.says({"code": 200, "data": {"items": [COMPLETED["data"]]}})
    assert len(wavespeed.recent()) == 101 and [each.json["page"] for each in script.asked] == [1, 2]


def test_a_cancel_is_told_and_nobody_believes_that_it_is_not_billed(script, wavespeed):
    script.says({"code": 200, "message": "success", "data": {"deleted_count": 1}})
    assert wavespeed.cancel(RUN) is False
    assert (script.asked[0].path, script.asked[0].json) == ("/api/v3/predictions/delete", {"ids": [RUN]})
    script.answers[:] = [(404, b"no such page", {}), (200, {"code": 200, "data": {"id": RUN, "status": "deleted"}}, {})]
    assert wavespeed.cancel(RUN) is False
    assert (script.asked[-1].method, script.asked[-1].path) == ("DELETE", f"/api/v3/predictions/{RUN}")
    script.answers[:] = [(500, {"code": 500, "message": "x"}, {})]
    with pytest.raises(Away):
        wavespeed.cancel(RUN)


def test_a_key_is_tried_by_asking_for_the_balance(script, wavespeed):
    script.says(BALANCE)
    assert "12.34" in wavespeed.check() and script.asked[0].path == "/api/v3/balance"
    for body, status, expected in (
        ({"code": 200, "data": {"balance": 0}}, 200, OutOfMoney),
        ({"code": 401, "message": "x"}, 401, KeyRejected),
        (b"<html>", 200, Away),
    ):
        script.answers[:] = [(status, body, {})]
        with pytest.raises(expected):
            wavespeed.check()


@pytest.mark.parametrize(
    "url",
    [
        "http://d1q70pf5vjeyhc.cloudfront.net/1.mp4",
        "https://d1q70pf5vjeyhc.cloudfront.net:8443/1.mp4",
        "https://me@d1q70pf5vjeyhc.cloudfront.net/1.mp4",
        "https://d1q70pf5vjeyhc.cloudfront.net.evil.example/1.mp4",
        "https://evil.example/d1q70pf5vjeyhc.cloudfront.net",
        "https://127.0.0.1/1.mp4",
        "http://169.254.169.254/latest/meta-data",
        "https://[::1]/1.mp4",
        "file:///etc/passwd",
        "https://d1q70pf5vjeyhc.cloudfront.net\\@evil.example/1.mp4",
        "//d1q70pf5vjeyhc.cloudfront.net/1.mp4",
        "",
    ],
)
def test_a_result_is_fetched_from_its_own_hosts_only(wavespeed, tmp_path, url):
    with pytest.raises(VendorFailed, match="not its own"):
        wavespeed.fetch(File(url, "1.mp4", "video/mp4"), tmp_path / "1.mp4", heard)
    assert not any(tmp_path.iterdir())


def test_a_file_is_not_sent_to_just_anybody(script, wavespeed, face):
    for url in (f"{script.url}/upload", "http://example.com/upload", "https://me@example.com/", "ftp://example.com/"):
        upload = {"url": url, "headers": {}}
        script.answers[:] = [(200, {"code": 200, "data": {"upload": upload, "download_url": "https://x/y"}}, {})]
        with pytest.raises(Refused, match="none for files"):
            wavespeed.upload(face, "image/png", "face.png", heard)
    assert {each.path for each in script.asked} == {"/api/v3/media/uploads"}


def test_a_file_that_is_too_large_is_not_sent(script, wavespeed, tmp_path):
    with (tmp_path / "long.mp4").open("wb") as file:
        file.truncate(201 * 1024 * 1024)
    with pytest.raises(Refused, match="200 MB"):
        wavespeed.upload(tmp_path / "long.mp4", "video/mp4", "long.mp4", heard)
    assert script.asked == []


# Webhooks


def signed(secret: str, webhook_id: str, sent_at: str, body: bytes) -> str:
    """As the contract shows it."""
    key = secret.removeprefix("whsec_").encode()
    message = f"{webhook_id}.{sent_at}.".encode() + body
    return "v3," + hmac.new(key, message, hashlib.sha256).hexdigest()


def test_a_webhook_is_believed_when_it_is_signed_and_fresh():
    body, now = json.dumps(COMPLETED["data"]).encode(), 1_800_000_000.0
    good = {
        "webhook_id": "msg_1",
        "sent_at": "1800000000",
        "signature": signed("whsec_abc", "msg_1", "1800000000", body),
        "body": body,
        "now": now,
    }
    assert is_authentic("whsec_abc", **good) and is_authentic("whsec_abc", **{**good, "now": now + 299})
    for changed in (
        {"now": now + 301},
        {"now": now - 301},
        {"body": body + b" "},
        {"webhook_id": "msg_2"},
        {"sent_at": "1800000001"},
        {"sent_at": "nan"},
        {"sent_at": "٣"},
        {"sent_at": "1" * 400},
        {"signature": good["signature"].removeprefix("v3,")},
        {"signature": good["signature"].replace("v3", "v1")},
        {"signature": "v3,é"},
        {"signature": ""},
    ):
        assert not is_authentic("whsec_abc", **{**good, **changed}), changed
    assert not is_authentic("whsec_abd", **good) and not is_authentic("", **good)


def test_the_sandbox_signs_its_webhooks_as_the_contract_shows(address, clip, face):
    rung: list[tuple[str, dict[str, str], bytes]] = []

    class Bell(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            rung.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Bell) as server:
        bell = f"http://127.0.0.1:{server.server_port}/webhooks/wavespeed"
        vendor = WaveSpeed(address, SecretStr("sandbox"), model=MODEL, hosts=OURS, webhook_url=bell, is_sandbox=True)
        video_url = vendor.upload(clip, "video/mp4", "clip.mp4", heard)
        face_url = vendor.upload(face, "image/png", "face.png", heard)
        threading.Thread(target=server.handle_request, daemon=True).start()
        run = vendor.start(vendor.swap_request(video_url=video_url, face_url=face_url, which=0), MARKER, 10)
        end = time.monotonic() + 20
        while not rung and time.monotonic() < end:
            time.sleep(0.1)
    ((path, headers, body),) = rung
    assert path == f"/webhooks/wavespeed?run={MARKER}" and json.loads(body)["id"] == run
    assert differences(COMPLETED["data"], json.loads(body)) == [] and json.loads(body)["status"] == "completed"
    assert is_authentic(
        SANDBOX_SECRET,
        webhook_id=headers["webhook-id"],
        sent_at=headers["webhook-timestamp"],
        signature=headers["webhook-signature"],
        body=body,
        now=time.time(),
    )


# The sandbox against the contract


def call(address: str, method: str, path: str, body: object = None, key: str = "sandbox") -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return requests.request(method, f"{address}/api/v3{path}", json=body, headers=headers, timeout=10)


def test_the_sandbox_answers_in_the_shapes_of_the_contract(address, sandbox, swap):
    upload = call(address, "POST", "/media/uploads", {"filename": "y.png", "size": 10, "content_type": "image/png"})
    assert upload.status_code == 200 and differences(UPLOAD, upload.json()) == []
    run = swap()
    assert differences(STARTED, call(address, "GET", f"/predictions/{run}/result").json()) == []
    assert isinstance(over(sandbox, run), Done)
    for path in (f"/predictions/{run}/result", f"/predictions/{run}"):
        assert differences(COMPLETED, call(address, "GET", path).json()) == []
    assert differences(LISTED, call(address, "POST", "/predictions", {"page": 1, "page_size": 1}).json()) == []
    assert differences(BALANCE, call(address, "GET", "/balance").json()) == []
    price = call(address, "POST", "/model/price", {"model_id": MODEL, "inputs": REQUEST}).json()
    assert (
        differences(PRICE, price["data"]) == [] and "secret" in call(address, "GET", "/webhook/secret").json()["data"]
    )
    assert call(address, "GET", "/models").json()["data"][0]["model_id"] == MODEL


@pytest.mark.parametrize(
    ("method", "path", "body", "key", "status"),
    [
        ("GET", "/balance", None, "wrong", 401),
        ("POST", f"/{MODEL}", REQUEST, "poor", 402),
        ("POST", "/wavespeed-ai/no-such-model", REQUEST, "sandbox", 404),
        ("GET", "/predictions/nothing/result", None, "sandbox", 404),
        ("POST", f"/{MODEL}", {**REQUEST, "target_index": 11}, "sandbox", 400),
        ("POST", f"/{MODEL}", {"video": "https://x/y.mp4"}, "sandbox", 400),
        ("POST", f"/{MODEL}", {**REQUEST, "target_gender": "any"}, "sandbox", 400),
        ("POST", "/predictions", {"page": 1, "page_size": 101}, "sandbox", 400),
        ("POST", "/media/uploads", {"filename": "x", "size": 2**40, "content_type": "video/mp4"}, "sandbox", 413),
    ],
)
def test_the_sandbox_says_no_in_the_envelope(address, method, path, body, key, status):
    answer = call(address, method, path, body, key)
    assert answer.status_code == status and answer.json()["code"] == status and answer.json()["message"]


def test_the_sandbox_takes_a_file_only_as_it_was_announced_and_without_a_key(address):
    wanted = {"filename": "y.png", "size": 10, "content_type": "image/png"}
    upload = call(address, "POST", "/media/uploads", wanted).json()["data"]["upload"]
    for headers, body in (
        ({"Content-Type": "image/png", "Authorization": "Bearer sandbox"}, b"0123456789"),
        ({"Content-Type": "image/jpeg"}, b"0123456789"),
        ({"Content-Type": "image/png"}, b"012345678"),
    ):
        assert requests.put(upload["url"], data=body, headers=headers, timeout=5).status_code in (400, 403)
    assert requests.put(upload["url"], data=b"0123456789", headers=upload["headers"], timeout=5).ok


def test_the_older_way_of_sending_a_file_is_there_too(address, clip):
    with clip.open("rb") as file:
        answer = requests.post(
            f"{address}/api/v3/media/upload/binary",
            files={"file": ("clip.mp4", file, "video/mp4")},
            headers={"Authorization": "Bearer sandbox"},
            timeout=10,
        )
    url = answer.json()["data"]["download_url"]
    assert requests.get(url, timeout=5).content == clip.read_bytes()


# The client at the sandbox


def test_a_swapped_video_plays_as_long_as_its_source_and_the_face_is_another(sandbox, swap, clip, tmp_path):
    run = swap()
    assert isinstance(sandbox.poll(run), Running)
    done = over(sandbox, run)
    assert isinstance(done, Done) and len(done.files) == 1
    sandbox.fetch(done.files[0], tmp_path / "swapped.mp4", heard)
    with av.open(str(tmp_path / "swapped.mp4")) as made, av.open(str(clip)) as source:
        assert (made.streams.video[0].width, made.streams.video[0].height) == (180, 320)
        assert abs(made.duration - source.duration) < 100_000 and made.streams.audio
        pictures = [frame.to_image() for frame in made.decode(video=0)]
    assert len(pictures) == 30
    red, green, blue = pictures[0].getpixel((90, 60))
    assert red > 150 and green < 110 and blue > 100, "the face that was sent"
    assert max(pictures[0].getpixel((10, 200))) - min(pictures[0].getpixel((10, 200))) < 30, "the rest is grey still"


def test_the_same_swap_comes_out_the_same(sandbox, swap, tmp_path):
    for name in ("one", "two"):
        done = over(sandbox, swap())
        sandbox.fetch(done.files[0], tmp_path / name, heard)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ("refuse", Failed("Its rules forbid this content.", is_refusal=True, is_billed=False)),
        ("fail", Failed("task failed", is_billed=False)),
        ("lost", Failed("It could not fetch a file that it was given.", is_billed=False)),
        ("nothing", Done([])),
    ],
)
def test_each_end_of_a_task_can_be_asked_for_in_words(sandbox, swap, wish, expected):
    assert over(sandbox, swap(f"clip [sandbox:{wish}].mp4")) == expected


def test_a_status_that_nobody_knows_is_still_running(sandbox, swap):
    run = swap("clip [sandbox:odd].mp4")
    assert sandbox.poll(run) == Running(None) and isinstance(over(sandbox, run), Done)


@pytest.mark.parametrize(
    ("wish", "words"),
    [("elsewhere", "not its own"), ("moved", "elsewhere"), ("gone", "no longer there")],
)
def test_a_result_that_lies_where_it_should_not_is_not_fetched(sandbox, swap, tmp_path, wish, words):
    done = over(sandbox, swap(f"clip [sandbox:{wish}].mp4"))
    with pytest.raises(VendorFailed, match=words):
        sandbox.fetch(done.files[0], tmp_path / "x.mp4", heard)
    assert not any(tmp_path.iterdir())


def test_a_video_that_cannot_be_read_and_one_from_nowhere_fail_there(sandbox, face, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video at all")
    face_url = sandbox.upload(face, "image/png", "face.png", heard)
    video_url = sandbox.upload(tmp_path / "clip.mp4", "video/mp4", "clip.mp4", heard)
    for url in (video_url, "https://example.com/clip.mp4"):
        request = sandbox.swap_request(video_url=url, face_url=face_url, which=0)
        seen = over(sandbox, sandbox.start(request, MARKER, 10))
        assert seen == Failed("It could not fetch a file that it was given.", is_billed=False)


def test_busy_is_not_started(swap):
    with pytest.raises(NotStarted):
        swap("clip [sandbox:busy].mp4")


def test_a_deleted_task_is_gone_and_billed_all_the_same(sandbox, swap, address):
    run = swap()
    assert sandbox.cancel(run) is False and sandbox.poll(run) == Unknown() and sandbox.cancel(run) is False
    (line,) = [each for each in requests.get(f"{address}/sandbox/bill", timeout=5).json() if each["id"] == run]
    assert (line["billed"], line["marker"]) == (True, MARKER)


@pytest.mark.parametrize(("key", "expected"), [("wrong-key", KeyRejected), ("poor-key", OutOfMoney)])
def test_a_key_that_is_not_taken_is_known_before_anything_is_sent(address, face, key, expected):
    vendor = WaveSpeed(address, SecretStr(key), model=MODEL, hosts=OURS, is_sandbox=True)
    for act in (lambda: vendor.upload(face, "image/png", "face.png", heard), vendor.check):
        with pytest.raises(expected) as trouble:
            act()
        assert isinstance(trouble.value, AccountTrouble) and key not in str(trouble.value)


def test_a_killed_sandbox_goes_on_with_what_it_had_begun(tmp_path, clip, face):
    with started("vendors", "--folder", tmp_path / "s", "--seconds", "0.5") as url:
        vendor = WaveSpeed(f"{url}/wavespeed", SecretStr("sandbox"), model=MODEL, hosts=OURS, is_sandbox=True)
        video_url = vendor.upload(clip, "video/mp4", "clip.mp4", heard)
        face_url = vendor.upload(face, "image/png", "face.png", heard)
        run = vendor.start(vendor.swap_request(video_url=video_url, face_url=face_url, which=0), MARKER, 10)
    with started("vendors", "--folder", tmp_path / "s", "--seconds", "0.5") as url:
        vendor = WaveSpeed(f"{url}/wavespeed", SecretStr("sandbox"), model=MODEL, hosts=OURS, is_sandbox=True)
        done = over(vendor, run)
        assert isinstance(done, Done)
        vendor.fetch(done.files[0], tmp_path / "swapped.mp4", heard)
