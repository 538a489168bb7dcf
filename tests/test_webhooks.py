"""A vendor's doorbell: whoever rings authentically has the job look now, once or ten times, and nothing else."""

import base64
import hashlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import session
from novai_web.sandbox import started
from novai_web.vendors import doorbells, menu
from novai_web.vendors.wavespeed import SANDBOX_SECRET, sign
from tests.parrot import Parrot, parrot
from tests.till import Till

MODEL = "fal-ai/wan/v2.2-a14b/text-to-image/lora"
HOUR = 3600


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started("vendors", "--folder", tmp_path_factory.mktemp("sandbox"), "--seconds", "0.3") as url:
        yield url


@pytest.fixture
def listening() -> int:
    """A port at which nobody listens: vendors may ring there."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def trying(settings: Settings, sandbox: str, listening: int) -> Settings:
    return settings.model_copy(update={"sandbox_url": sandbox, "port": listening})


@pytest.fixture
def till(app: Flask, alice: Account, trying: Settings) -> Till:
    return Till(alice, trying)


@pytest.fixture
def door(make_app: Callable[..., Flask], trying: Settings) -> FlaskClient:
    return make_app(sandbox_url=trying.sandbox_url, port=trying.port).test_client()


def ask(till: Till, prompt: str = "a cat") -> dict[str, Any]:
    client = menu.fal("pictures", till.settings)
    return client.picture_request(
        prompt=prompt, low_url="https://v3.fal.media/files/a/low.safetensors", high_url="", size=(64, 64), seed=1
    )


def begun(till: Till, prompt: str = "a cat") -> tuple[str, str]:
    """A run that waits at the vendor: its marker and what fal calls it. Its job is not due for an hour."""
    till.pay(menu.fal("pictures", till.settings), ask(till, prompt))
    (run,) = till.runs()
    till.change("UPDATE jobs SET run_at = now() + interval '1 hour' WHERE id = :job")
    return run.marker, str(run.external_id)


def due_in(till: Till) -> float:
    session.rollback()
    query = text("SELECT extract(epoch FROM run_at - now()) FROM jobs WHERE id = :job")
    return float(session.scalars(query, {"job": till.job.id}).one())


class Fal:
    """Somebody who signs as fal does."""

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()

    @property
    def jwks(self) -> dict[str, Any]:
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(raw).decode().rstrip("=")}]}

    def headers(self, body: bytes, *, at: float | None = None, request_id: str = "r") -> dict[str, str]:
        stamp = str(int(time.time() if at is None else at))
        said = "\n".join((request_id, "user", stamp, hashlib.sha256(body).hexdigest())).encode()
        return {
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": "user",
            "X-Fal-Webhook-Timestamp": stamp,
            "X-Fal-Webhook-Signature": self.key.sign(said).hex(),
            "Content-Type": "application/json",
        }


@pytest.fixture
def fal() -> Iterator[tuple[Fal, Parrot]]:
    with parrot() as one:
        fal = Fal()
        one.say("GET", "/jwks.json", 200, fal.jwks)
        yield fal, one


@pytest.fixture
def real_door(make_app: Callable[..., Flask], fal: tuple[Fal, Parrot]) -> FlaskClient:
    """As with a key of fal's, whose keys the parrot publishes."""
    changes = {"fal_key": "id:secret-of-ours", "fal_jwks_url": f"{fal[1].url}/jwks.json"}
    known = Settings.model_validate({**changes, "secret_key": "x"}, strict=False)
    return make_app(fal_key=known.fal_key, fal_jwks_url=known.fal_jwks_url).test_client()


def said(request_id: str = "764cabcf", status: str = "OK") -> bytes:
    return json.dumps({"request_id": request_id, "gateway_request_id": request_id, "status": status}).encode()


def address(settings: Settings, marker: str, place: str = "fal-ai/wan") -> str:
    by = doorbells.signature(settings, "fal", marker, place)
    return "/webhooks/fal?" + urlencode({"run": marker, "at": place, "by": by})


# The sandbox rings


def test_the_sandbox_rings_when_a_run_is_over_with_a_signature_that_is_believed(till, door, listening):
    with parrot(listening) as bell:
        bell.say("POST", "/webhooks/fal", 200, {})
        marker, _ = begun(till)
        path, headers, body = rung(bell)
    assert due_in(till) > HOUR / 2
    answer = door.post(path, data=body, headers=dict(headers))
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok"})
    assert due_in(till) < 1, "the job is due now"
    assert dict(parse_qsl(urlsplit(path).query))["run"] == marker
    assert till.states() == ["running"], "a doorbell decides nothing"


def test_ringing_again_changes_nothing(till, door, listening):
    with parrot(listening) as bell:
        bell.say("POST", "/webhooks/fal", 200, {})
        begun(till)
        path, headers, body = rung(bell)
    for _ in range(3):
        assert door.post(path, data=body, headers=dict(headers)).status_code == 200
    till.paid(menu.fal("pictures", till.settings), ask(till))
    till.change("UPDATE jobs SET run_at = now() + interval '1 hour' WHERE id = :job")
    before = [(run.state, run.external_id, run.cost_credits) for run in till.runs()]
    assert door.post(path, data=body, headers=dict(headers)).status_code == 200
    assert [(run.state, run.external_id, run.cost_credits) for run in till.runs()] == before


def test_a_run_whose_answer_was_lost_is_known_again_when_its_vendor_rings_and_is_not_started_twice(
    till, door, listening
):
    url = f"{till.settings.sandbox_url}/fal-queue"
    requests.post(f"{url}/sandbox/faults", json=[{"fault": "lost", "method": "POST"}], timeout=5).raise_for_status()
    with parrot(listening) as bell:
        bell.say("POST", "/webhooks/fal", 200, {})
        till.pay(menu.fal("training", till.settings), ask(till))
        assert till.states() == ["submitting"]
        path, headers, body = rung(bell)
    assert door.post(path, data=body, headers=dict(headers)).status_code == 200
    (run,) = till.runs()
    assert run.state == "running" and run.external_id and json.loads(body)["request_id"] in run.external_id
    done = till.paid(menu.fal("training", till.settings), ask(till))
    assert done.files and till.states() == ["done"]


# Who is not believed


def test_somebody_who_signs_as_fal_and_knows_our_address_is_believed(till, trying, real_door, fal):
    marker, _ = begun(till, "[sandbox:never]")
    body = said()
    answer = real_door.post(address(trying, marker), data=body, headers=fal[0].headers(body))
    assert answer.status_code == 200 and due_in(till) < 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path, body, headers: (path, body + b" ", headers),
        lambda path, body, headers: (path, body, {**headers, "X-Fal-Webhook-Signature": "00" * 64}),
        lambda path, body, headers: (path, body, {**headers, "X-Fal-Webhook-Signature": "no hex"}),
        lambda path, body, headers: (path, body, {**headers, "X-Fal-Webhook-Request-Id": "another"}),
        lambda path, body, headers: (path, body, {**headers, "X-Fal-Webhook-Timestamp": str(int(time.time()) + 1)}),
        lambda path, body, headers: (path, body, {**headers, "X-Fal-Webhook-Timestamp": "٣٣٣"}),
        lambda path, body, headers: (path, body, {}),
        lambda path, body, headers: (path.replace("run=novai-", "run=novai-1"), body, headers),
        lambda path, body, headers: (path.replace("at=", "at=x"), body, headers),
        lambda path, body, headers: (path.partition("?")[0], body, headers),
    ],
    ids=["body", "signature", "no hex", "request", "time", "digits", "unsigned", "marker", "place", "no address"],
)
def test_what_was_altered_is_refused_and_wakes_nobody(till, trying, real_door, fal, spoil):
    marker, _ = begun(till, "[sandbox:never]")
    body = said()
    path, body, headers = spoil(address(trying, marker), body, fal[0].headers(body))
    answer = real_door.post(path, data=body, headers=headers)
    assert (answer.status_code, answer.get_json()) == (401, {"status": "refused"})
    assert due_in(till) > HOUR / 2


@pytest.mark.parametrize("seconds", [-310, 310])
def test_what_is_older_than_five_minutes_or_from_the_future_is_refused(trying, real_door, fal, seconds):
    body = said()
    headers = fal[0].headers(body, at=time.time() + seconds)
    assert real_door.post(address(trying, "novai-1"), data=body, headers=headers).status_code == 401


def test_new_keys_are_fetched_when_the_old_ones_do_not_fit_but_not_for_every_stranger(trying, real_door, fal):
    signer, published = fal
    body, path = said(), address(trying, "novai-1")
    assert real_door.post(path, data=body, headers=signer.headers(body)).status_code == 200
    stranger = Fal()
    for _ in range(5):
        assert real_door.post(path, data=body, headers=stranger.headers(body)).status_code == 401
    assert len(published.asked) == 1


def test_when_nobody_publishes_keys_nobody_is_believed(make_app, trying, fal):
    known = Settings(_env_file=None, fal_key="id:secret-of-ours")
    door = make_app(fal_key=known.fal_key, fal_jwks_url="http://127.0.0.1:9/jwks.json").test_client()
    body = said()
    answer = door.post(address(trying, "novai-1"), data=body, headers=fal[0].headers(body))
    assert answer.status_code == 401


@pytest.mark.parametrize("body", [said("nobody"), b"{}", b"[1]", b"\xff", b'{"request_id": "../../x"}'], ids=str)
def test_an_authentic_bell_about_nothing_of_ours_is_thanked_for_and_forgotten(trying, real_door, fal, body):
    answer = real_door.post(address(trying, "novai-1"), data=body, headers=fal[0].headers(body))
    assert answer.status_code == 200


def test_a_bell_that_is_too_large_is_not_read(real_door, fal):
    assert real_door.post("/webhooks/fal", data=bytes(2 * 1024 * 1024)).status_code == 413


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_a_doorbell_can_only_be_rung(door, method):
    assert getattr(door, method)("/webhooks/fal").status_code == 405


def test_ringing_needs_no_session_and_gives_none(real_door, fal, trying):
    body = said()
    answer = real_door.post(address(trying, "novai-1"), data=body, headers=fal[0].headers(body))
    assert "Set-Cookie" not in answer.headers


# WaveSpeed


def ring(door: FlaskClient, marker: str, body: bytes, secret: str = SANDBOX_SECRET, at: float = 0) -> TestResponse:
    sent_at = str(int(time.time() + at))
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": sent_at,
        "webhook-signature": f"v3,{sign(secret, 'msg_1', sent_at, body)}",
    }
    return door.post(f"/webhooks/wavespeed?run={marker}", data=body, headers=headers)


def test_wavespeed_is_believed_when_it_signs_with_our_secret_and_then_only(door):
    body = json.dumps({"id": "task-1", "status": "completed"}).encode()
    assert ring(door, "novai-1", body).status_code == 200
    assert ring(door, "novai-1", body, "whsec_another").status_code == 401
    assert ring(door, "novai-1", body, at=-400).status_code == 401
    assert door.post("/webhooks/wavespeed", data=body).status_code == 401


def test_without_a_secret_nobody_is_wavespeed(make_app):
    known = Settings(_env_file=None, wavespeed_key="ours-and-nobody-elses")
    door = make_app(wavespeed_key=known.wavespeed_key, sandbox_url="").test_client()
    for secret in ("", SANDBOX_SECRET):
        assert ring(door, "novai-1", b'{"id": "task-1"}', secret).status_code == 401


# Waiting


def rung(bell: Parrot, seconds: float = 15) -> tuple[str, dict[str, str], bytes]:
    """Where the vendor rang, with which headers of its own, and what it said."""
    end = time.monotonic() + seconds
    while not bell.asked:
        assert time.monotonic() < end, "nobody rang"
        time.sleep(0.05)
    asked = bell.asked[0]
    wanted = ("X-Fal", "Content-Type")
    return asked.path, {name: value for name, value in asked.headers.items() if name.startswith(wanted)}, asked.body
