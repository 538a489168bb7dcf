"""Gemini: our client, and the sandbox that stands in for it, against what its contract shows."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from PIL import Image
from pydantic import SecretStr

from novai_web.errors import TooLarge, UnusableMedia
from novai_web.sandbox import started
from novai_web.vendors import (
    Away,
    Doubtful,
    KeyRejected,
    NotStarted,
    OutOfMoney,
    Refused,
    Unknown,
    VendorFailed,
)
from novai_web.vendors.gemini import ASPECTS, Gemini
from tests.scripted import Scripted, differences, scripted

MODEL = "gemini-nano-banana-2.1"
PROMPT = "Put this woman in a red dress, studio light"
KEY = "AIza-not-a-key"

# What the contract shows, word for word but for the pictures
REQUEST = {
    "contents": [
        {
            "role": "user",
            "parts": [{"text": PROMPT}, {"inlineData": {"mimeType": "image/jpeg", "data": "<base64>"}}],
        }
    ],
    "generationConfig": {
        "responseModalities": ["TEXT", "IMAGE"],
        "imageConfig": {"aspectRatio": "9:16", "imageSize": "2K"},
    },
    "safetySettings": [{"category": "HARM_CATEGORY_SEXUALLY_EXPLICIT", "threshold": "BLOCK_ONLY_HIGH"}],
}
USAGE = {
    "promptTokenCount": 270,
    "candidatesTokenCount": 1120,
    "totalTokenCount": 1390,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}, {"modality": "IMAGE", "tokenCount": 258}],
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
}
BLOCKED = {
    "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
    "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
    "modelVersion": MODEL,
    "responseId": "x",
}
UNSHOWN = {
    "candidates": [
        {
            "finishReason": "IMAGE_SAFETY",
            "index": 0,
            "finishMessage": "Unable to show the generated image. ...",
        }
    ],
    "usageMetadata": {"promptTokenCount": 20, "totalTokenCount": 20},
    "modelVersion": MODEL,
}
NOT_VALID = {
    "error": {
        "code": 400,
        "message": "API key not valid. Please pass a valid API key.",
        "status": "INVALID_ARGUMENT",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }
        ],
    }
}
RETRY_IN = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "41s"}


def quota(quota_id: str) -> dict[str, object]:
    violation = {"quotaMetric": "m", "quotaId": quota_id, "quotaDimensions": {}, "quotaValue": "10"}
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}


def wrong(code: int, status: str, message: str = "It said so.", *details: object) -> dict[str, object]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def drawn(kind: str = "PNG", colour: str = "red") -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (60, 80), colour).save(written, kind)
    return written.getvalue()


def inline(data: bytes, mime: str = "image/png") -> dict[str, object]:
    return {"inlineData": {"mimeType": mime, "data": base64.b64encode(data).decode()}}


def answered(*parts: object, reason: str = "STOP") -> dict[str, object]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": reason, "index": 0}
    return {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": MODEL, "responseId": "abc123"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started("vendors", "--folder", tmp_path_factory.mktemp("sandbox"), "--seconds", "0") as url:
        yield f"{url}/gemini"


@pytest.fixture
def sandbox(address: str) -> Iterator[Gemini]:
    yield Gemini(address, SecretStr("sandbox"), model=MODEL, is_sandbox=True)
    requests.delete(f"{address}/sandbox/faults", timeout=5)


@pytest.fixture
def script() -> Iterator[Scripted]:
    with scripted() as one:
        yield one


@pytest.fixture
def gemini(script: Scripted) -> Gemini:
    return Gemini(script.url, SecretStr(KEY), model=MODEL)


@pytest.fixture
def face(tmp_path: Path) -> Path:
    path = tmp_path / "face.jpg"
    path.write_bytes(drawn("JPEG"))
    return path


def asked(vendor: Gemini, prompt: str = PROMPT, *pictures: Path, aspect: str = "9:16"):
    return vendor.start(vendor.picture_request(prompt=prompt, pictures=pictures, aspect=aspect), "novai-1-a-1", 10)


# The client against the contract


def test_it_asks_as_the_contract_shows_with_the_key_in_the_header_only(script, gemini, face):
    script.says(answered(inline(drawn())))
    asked(gemini, PROMPT, face)
    (sent,) = script.asked
    assert sent.path == f"/v1beta/models/{MODEL}:generateContent" and sent.headers["x-goog-api-key"] == KEY
    assert sent.headers["content-type"] == "application/json" and sent.headers["x-novai-run"] == "novai-1-a-1"
    assert differences(REQUEST, sent.json) == [] and differences(sent.json, REQUEST) == []
    part = sent.json["contents"][0]["parts"][1]["inlineData"]
    assert part["mimeType"] == "image/jpeg" and base64.b64decode(part["data"]) == face.read_bytes()
    assert KEY not in sent.path and KEY not in sent.body.decode() and KEY not in repr(vars(gemini))


def test_a_model_that_must_not_be_told_a_size_is_not_told_one(face):
    lite = Gemini("https://example.com", SecretStr(KEY), model="gemini-3.1-flash-lite-image")
    config = lite.picture_request(prompt="x", pictures=[face], aspect="1:1")["input"]["generationConfig"]
    assert config["imageConfig"] == {"aspectRatio": "1:1"}


def test_the_pictures_of_an_answer_are_taken_without_drafts_and_called_what_they_are(script, gemini):
    draft = {**inline(drawn(colour="blue")), "thought": True}
    script.says(
        answered({"text": "Here is the picture."}, draft, {**inline(drawn("JPEG")), "thoughtSignature": "b3A="})
    )
    finished = asked(gemini)
    (content,) = finished.contents
    assert finished.external_id == "abc123" and content.data == drawn("JPEG")
    assert (content.mime, content.name) == ("image/jpeg", "picture 1.jpg")
    assert finished.cost_microusd == 270 * 1.5 + 1120 * 30


def test_what_it_costs_is_not_guessed_for_a_model_without_known_rates(script):
    script.says(answered(inline(drawn())))
    assert asked(Gemini(script.url, SecretStr(KEY), model="another-model")).cost_microusd is None


@pytest.mark.parametrize(
    "usage", [None, "much", {"candidatesTokenCount": -3}, {"candidatesTokenCount": "many"}], ids=str
)
def test_nonsense_about_tokens_loses_no_picture(script, gemini, usage):
    script.says({**answered(inline(drawn())), "usageMetadata": usage, "responseId": ["odd"]})
    finished = asked(gemini)
    assert finished.cost_microusd is None and finished.external_id == "novai-1-a-1" and finished.contents


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (BLOCKED, "It makes no pictures of this kind."),
        (UNSHOWN, "Its safety rules forbid this."),
        ({"promptFeedback": {"blockReason": "OTHER"}}, "It did not say why."),
        (answered(reason="PROHIBITED_CONTENT"), "It makes no pictures of this kind."),
        (answered(inline(drawn()), reason="IMAGE_RECITATION"), "too close to somebody else's work"),
        ({"candidates": [{"finishReason": "SPII"}]}, "somebody's personal data"),
        ({"candidates": [{"finishReason": "SAFETY", "content": {}}]}, "Its safety rules forbid this."),
        ({"candidates": [{"finishReason": "BLOCKLIST", "content": {"parts": None}}]}, "There is a word"),
    ],
)
def test_a_block_comes_with_status_200_and_is_a_refusal_in_plain_words(script, gemini, body, words):
    script.says(body)
    with pytest.raises(Refused, match=words) as refusal:
        asked(gemini)
    assert str(refusal.value).endswith("You were not charged.") and len(script.asked) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (answered({"text": "I would rather not."}), "It answered in words instead of a picture: I would rather not."),
        (answered(reason="NO_IMAGE"), "It finished and gave no picture back."),
        ({"candidates": [{"finishReason": "IMAGE_OTHER"}]}, "It finished and gave no picture back."),
        ({"candidates": [{"finishReason": "MALFORMED_RESPONSE"}]}, "It finished and gave no picture back."),
        (answered({**inline(drawn()), "thought": True}), "It finished and gave no picture back."),
        (answered(inline(b"<html>no picture</html>")), "What it sent as a picture is none."),
        (answered({"inlineData": {"mimeType": "image/png", "data": "%%%"}}), "cannot be read"),
    ],
)
def test_an_answer_without_a_picture_is_a_failure_that_may_be_tried_again(script, gemini, body, words):
    script.says(body)
    with pytest.raises(VendorFailed, match=words):
        asked(gemini)
    assert len(script.asked) == 1, "no client repeats what may cost money"


def test_a_second_try_is_another_request_and_sends_the_same(script, gemini):
    script.says(answered(inline(drawn())))
    request = gemini.picture_request(prompt=PROMPT, pictures=(), aspect="1:1")
    gemini.start(request, "one", 10)
    gemini.start({**request, "try": 2}, "two", 10)
    assert script.asked[0].body == script.asked[1].body


@pytest.mark.parametrize(
    ("status", "body", "expected", "words"),
    [
        (400, NOT_VALID, KeyRejected, "The key that NOVAI has for Google Gemini is not accepted"),
        (403, wrong(403, "PERMISSION_DENIED", "unregistered callers"), KeyRejected, "not accepted"),
        (400, wrong(400, "FAILED_PRECONDITION", "Please enable billing on project x."), OutOfMoney, "out of money"),
        (400, wrong(400, "FAILED_PRECONDITION", "User location is not supported."), Refused, "location"),
        (400, wrong(400, "INVALID_ARGUMENT", "Bad aspect."), Refused, "Bad aspect."),
        (404, wrong(404, "NOT_FOUND", "models/x is not found"), Refused, "NOVAI_GEMINI_IMAGE_MODEL"),
        (429, wrong(429, "RESOURCE_EXHAUSTED", "q", quota("GenerateRequestsPerDayPerProjectPerModel")), Refused, "day"),
        (500, wrong(500, "INTERNAL"), Doubtful, None),
        (504, wrong(504, "DEADLINE_EXCEEDED"), Doubtful, None),
        (500, b"<html>", Doubtful, None),
        (403, b"<html>", Doubtful, None),
        (302, b"", Doubtful, None),
    ],
)
def test_what_goes_wrong_there_is_told_apart(script, gemini, status, body, expected, words):
    script.says(body, status, Location="http://127.0.0.1:9/")
    with pytest.raises(expected, match=words):
        asked(gemini)
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "headers", "seconds"),
    [
        (429, wrong(429, "RESOURCE_EXHAUSTED", "q", quota("GenerateRequestsPerMinute"), RETRY_IN), {}, 41),
        (429, wrong(429, "RESOURCE_EXHAUSTED"), {"Retry_After": "7"}, 7),
        (503, wrong(503, "UNAVAILABLE", "The model is overloaded."), {}, None),
    ],
)
def test_who_is_busy_has_not_begun_and_says_when_to_come_back(script, gemini, status, body, headers, seconds):
    script.says(body, status, **headers)
    with pytest.raises(NotStarted) as busy:
        asked(gemini)
    assert busy.value.retry_after == seconds


def test_a_run_of_gemini_has_no_afterlife(gemini):
    assert gemini.find("novai-1-a-1") is None and list(gemini.recent()) == [] and not gemini.has_list
    assert isinstance(gemini.poll("abc123"), Unknown) and gemini.cancel("abc123") is False


def test_what_it_would_not_take_is_not_sent(tmp_path, face, gemini, script):
    text = tmp_path / "face.png"
    text.write_text("<svg>")
    with pytest.raises(UnusableMedia):
        gemini.picture_request(prompt="x", pictures=[text], aspect="1:1")
    with pytest.raises(TooLarge, match="14"):
        gemini.picture_request(prompt="x", pictures=[face] * 15, aspect="1:1")
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(21 * 1024 * 1024)
    with pytest.raises(TooLarge, match="20 MB"):
        gemini.picture_request(prompt="x", pictures=[huge], aspect="1:1")
    with pytest.raises(ValueError, match="aspect"):
        gemini.picture_request(prompt="x", pictures=[], aspect="7:5")
    assert script.asked == []


def test_a_key_is_tried_without_paying(script, gemini):
    script.says({"name": f"models/{MODEL}"})
    assert "accepts the key" in gemini.check() and script.asked[0].method == "GET"
    script.answers[:] = [(400, NOT_VALID, {})]
    with pytest.raises(KeyRejected):
        gemini.check()
    script.answers[:] = [(404, wrong(404, "NOT_FOUND"), {})]
    assert "NOVAI_GEMINI_IMAGE_MODEL" in gemini.check()
    script.answers[:] = [(200, b"<html>", {})]
    with pytest.raises(Away):
        gemini.check()


# The sandbox against the contract


def generate(address: str, body: object, key: str = "sandbox", model: str = MODEL) -> requests.Response:
    url = f"{address}/v1beta/models/{model}:generateContent"
    return requests.post(url, json=body, headers={"x-goog-api-key": key} if key else {}, timeout=30)


def wanted(prompt: str = PROMPT, **config: object) -> dict[str, object]:
    body = json.loads(json.dumps(REQUEST))
    body["contents"][0]["parts"] = [{"text": prompt}, inline(drawn("JPEG"), "image/jpeg")]
    body["generationConfig"]["imageConfig"] = {"aspectRatio": "9:16", "imageSize": "1K", **config}
    return body


def test_the_sandbox_takes_the_request_of_the_contract_and_answers_as_it_shows(address):
    answer = generate(address, wanted(imageSize="2K"))
    example = answered({"text": "Here is the picture."}, {**inline(drawn()), "thoughtSignature": "b3A="})
    assert answer.status_code == 200 and differences(example, answer.json()) == []
    data = base64.b64decode(answer.json()["candidates"][0]["content"]["parts"][1]["inlineData"]["data"])
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG" and picture.width / picture.height == pytest.approx(9 / 16, rel=0.02)
        assert max(picture.size) > 2000


@pytest.mark.parametrize(("wish", "example"), [("block", BLOCKED), ("refuse", UNSHOWN)])
def test_the_sandbox_blocks_as_the_contract_shows(address, wish, example):
    answer = generate(address, wanted(f"{PROMPT} [sandbox:{wish}]"))
    assert answer.status_code == 200 and differences(example, answer.json()) == []


@pytest.mark.parametrize(
    ("case", "status", "said"),
    [
        ({"key": "wrong"}, 400, NOT_VALID),
        ({"key": ""}, 403, wrong(403, "PERMISSION_DENIED")),
        ({"key": "poor"}, 400, wrong(400, "FAILED_PRECONDITION")),
        ({"model": "imagen-4"}, 404, wrong(404, "NOT_FOUND")),
        ({"body": wanted(imageSize="512")}, 400, wrong(400, "INVALID_ARGUMENT")),
        ({"body": wanted(imageSize="2k")}, 400, wrong(400, "INVALID_ARGUMENT")),
        ({"body": wanted(aspectRatio="7:5")}, 400, wrong(400, "INVALID_ARGUMENT")),
        ({"body": wanted(outputMimeType="image/png")}, 400, wrong(400, "INVALID_ARGUMENT")),
        ({"body": {"contents": [{"parts": [inline(b"no picture")]}]}}, 400, wrong(400, "INVALID_ARGUMENT")),
        ({"body": wanted("[sandbox:busy]")}, 429, wrong(429, "RESOURCE_EXHAUSTED", "x", quota("x"), RETRY_IN)),
        ({"body": wanted("[sandbox:today]")}, 429, wrong(429, "RESOURCE_EXHAUSTED", "x", quota("x"), RETRY_IN)),
        ({"body": wanted("[sandbox:down]")}, 503, wrong(503, "UNAVAILABLE")),
    ],
    ids=str,
)
def test_the_sandbox_says_no_in_the_envelope_of_the_contract(address, case, status, said):
    answer = generate(address, case.get("body", wanted()), case.get("key", "sandbox"), case.get("model", MODEL))
    assert answer.status_code == status and answer.json()["error"]["code"] == status
    details = [] if not said["error"]["details"] else said["error"]["details"]
    assert answer.json()["error"]["status"] == said["error"]["status"]
    assert differences(details, answer.json()["error"].get("details", [])) == []


def test_what_google_has_shut_down_is_not_here_either(address):
    for model in ("gemini-2.0-flash-exp", "gemini-2.5-flash-image-preview", "imagen-4"):
        assert generate(address, wanted(), model=model).status_code == 404


# The client at the sandbox


def test_the_same_request_makes_the_same_picture_and_another_another(sandbox, face):
    first, again, other = (asked(sandbox, words, face) for words in ("a sheet", "a sheet", "another sheet"))
    assert first.contents[0].data == again.contents[0].data != other.contents[0].data
    assert first.external_id != again.external_id and first.cost_microusd > 33_000


@pytest.mark.parametrize("aspect", ASPECTS)
def test_it_draws_in_every_shape(sandbox, aspect):
    across, down = map(int, aspect.split(":"))
    with Image.open(io.BytesIO(asked(sandbox, "x", aspect=aspect).contents[0].data)) as picture:
        assert picture.width / picture.height == pytest.approx(across / down, rel=0.04)


@pytest.mark.parametrize(
    ("wish", "expected", "words"),
    [
        ("refuse", Refused, "Its safety rules forbid this."),
        ("block", Refused, "It makes no pictures of this kind."),
        ("words", VendorFailed, "in words instead of a picture"),
        ("nothing", VendorFailed, "gave no picture back"),
        ("garbage", VendorFailed, "is none"),
        ("html", Doubtful, None),
        ("today", Refused, "used up"),
        ("busy", NotStarted, None),
        ("down", NotStarted, None),
        ("bad", Refused, "invalid argument"),
    ],
)
def test_each_trouble_of_the_contract_can_be_asked_for_in_words(sandbox, wish, expected, words):
    with pytest.raises(expected, match=words):
        asked(sandbox, f"a sheet [sandbox:{wish}]")


def test_a_draft_is_passed_over_and_a_jpeg_that_says_it_is_a_png_is_seen_through(sandbox):
    plain, draft = asked(sandbox, "one"), asked(sandbox, "one [sandbox:draft]")
    assert len(plain.contents) == len(draft.contents) == 1
    assert asked(sandbox, "one [sandbox:jpeg]").contents[0].mime == "image/jpeg"


@pytest.mark.parametrize(("key", "expected"), [("wrong-key", KeyRejected), ("poor-key", OutOfMoney)])
def test_the_sandbox_also_has_keys_that_are_not_taken(address, key, expected):
    with pytest.raises(expected, match="Gemini"):
        asked(Gemini(address, SecretStr(key), model=MODEL, is_sandbox=True))


def test_its_bill_names_our_marker_and_what_was_blocked_is_not_on_it(sandbox, address):
    asked(sandbox, "for the bill")
    with pytest.raises(Refused):
        asked(sandbox, "for the bill [sandbox:refuse]")
    lines = requests.get(f"{address}/sandbox/bill", timeout=5).json()[-2:]
    assert [(each["marker"], each["billed"]) for each in lines] == [("novai-1-a-1", True), ("novai-1-a-1", False)]
