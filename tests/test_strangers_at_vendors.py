"""A stranger at the paid tools: prices that rise unseen, clips that lie about their length, markers and bells that are
none, and vendors whose words can be read in two ways."""

import json
import re
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import boxes
import matrix
import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import func, select, update

from novai_web import jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.engines import ffmpeg
from novai_web.errors import DailyLimitReached
from novai_web.jobs import Job
from novai_web.jobs.reconciling import reconcile
from novai_web.prices import Price
from novai_web.tools import character_diagram, face_swap
from novai_web.vendors import Away, Done, Refused, menu
from novai_web.vendors.picsi import Picsi
from novai_web.vendors.wavespeed import SANDBOX_SECRET, WaveSpeed, sign
from tests.parrot import Parrot, parrot
from tests.scripted import talking
from tests.studio import Studio
from tests.test_lying_vendors import DEFAULTS, http
from tests.till import Till

KEY = SecretStr("a-key-that-is-none")


@pytest.fixture
def vendor():
    with parrot() as one:
        yield one


# --- The price is known before -------------------------------------------------------------------------------------


@pytest.fixture
def dearer(charlie: Account, settings: Settings) -> Callable[[], None]:
    """An administrator raises the price of a diagram tenfold."""

    def raise_it() -> None:
        session.rollback()
        with transaction():
            of_it = Price.model == settings.gemini_image_model
            tenfold = update(Price).where(of_it).values(microusd=Price.microusd * 10)
            session.execute(tenfold.execution_options(synchronize_session=False))

    return raise_it


def jobs_of(account: Account) -> int:
    session.rollback()
    mine = (Job.account_id == account.id, Job.tool_slug == character_diagram.tool.slug)
    return session.scalar(select(func.count(Job.id)).where(*mine)) or 0


def test_a_price_that_rose_since_it_stood_on_the_button_is_not_charged(studio, make_app, sign_in, alice, dearer):
    page: FlaskClient = make_app(sandbox_url=studio.settings.sandbox_url).test_client()
    sign_in(page, alice)
    form = {"picture": studio.picture().id, "aspect": "16:9", "notes": "", "prompt": ""}
    quote = page.post("/tools/character-diagram/quote", data=form).text
    (shown,) = re.findall(r'name="credits_shown" value="(\d+)"', quote)
    assert f"{shown} credits" in quote
    dearer()
    answer = page.post("/tools/character-diagram/jobs", data={**form, "credits_shown": shown})
    assert answer.status_code == 409 and f"and {shown} were shown" in answer.text and jobs_of(alice) == 0
    (now,) = re.findall(
        r'name="credits_shown" value="(\d+)"', page.post("/tools/character-diagram/quote", data=form).text
    )
    assert int(now) > int(shown)
    answer = page.post("/tools/character-diagram/jobs", data={**form, "credits_shown": now})
    assert answer.status_code == 303 and jobs_of(alice) == 1


def test_a_client_says_what_it_agrees_to_pay(studio, make_app, as_alice, alice, dearer):
    api: FlaskClient = make_app(sandbox_url=studio.settings.sandbox_url).test_client()
    given = {"picture": studio.picture().id}
    price = api.post("/api/v1/tools/character-diagram/quote", json=given, headers=as_alice).json["credits"]
    dearer()
    for path in ("/api/v1/tools/character-diagram/jobs", "/api/v1/character-diagrams"):
        answer = api.post(path, json=given, headers=as_alice | {"Credits-Max": str(price)})
        assert (answer.status_code, answer.json["code"]) == (409, "price_changed"), path
        answer = api.post(path, json=given, headers=as_alice | {"Credits-Max": "many"})
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "Credits-Max")
    assert jobs_of(alice) == 0
    agreed = as_alice | {"Credits-Max": str(10 * price + 10)}
    assert api.post("/api/v1/character-diagrams", json=given, headers=agreed).status_code == 202


def test_what_another_try_costs_stands_on_its_button(studio, make_app, sign_in, alice):
    page: FlaskClient = make_app(sandbox_url=studio.settings.sandbox_url).test_client()
    sign_in(page, alice)
    asked = {"picture": studio.picture().id, "notes": "[sandbox:refuse]"}
    single = studio.finish(studio.submit(character_diagram.tool, **asked).jobs[0])
    clips = [studio.video("Clip [sandbox:face]").id, studio.video("Clip").id]
    asked = {"videos": clips, "face": studio.picture().id, "consent": studio.consent().id}
    bad, good = (studio.finish(job) for job in studio.submit(face_swap.tool, **asked).jobs)
    assert (single.state, bad.state, good.state) == ("failed", "failed", "succeeded")
    assert f"Retry · {single.price} credits" in page.get("/jobs").text
    assert f"Retry 1 · {bad.price} credits" in page.get(f"/batches/{bad.batch_id}").text
    page.post(f"/batches/{bad.batch_id}/retry")
    session.rollback()
    assert session.scalars(select(Job.price).where(Job.retry_of_id == bad.id)).one() == bad.price


def test_whoever_starts_dear_runs_and_cancels_them_comes_to_the_limit_of_the_day(studio, alice, bob, tmp_path):
    """Nobody is charged for what is cancelled; vendors that cannot stop take their money all the same."""
    asked = {"picture": studio.picture().id, "notes": "[sandbox:refuse]"}
    job = studio.finish(studio.submit(character_diagram.tool, **asked).jobs[0])
    studio.change("UPDATE runs SET booked_to_house = true, is_sandbox = false, cost_microusd = 10000000")
    with pytest.raises(DailyLimitReached, match="cancelled too late"):
        studio.submit(character_diagram.tool, **asked)
    job = studio.fresh(job)
    with pytest.raises(DailyLimitReached), transaction():
        jobs.retry(studio.account, job, studio.settings)
    others = Studio(studio.app, bob, studio.settings, tmp_path)
    assert others.submit(character_diagram.tool, picture=others.picture().id).jobs, "another account is another's"
    others.settings = studio.settings.model_copy(update={"daily_cost_limit_cents": 1000})
    with pytest.raises(DailyLimitReached):
        others.submit(character_diagram.tool, picture=others.picture().id)
    studio.change("UPDATE runs SET created_at = created_at - interval '1 day'")
    assert studio.submit(character_diagram.tool, **asked).jobs


def test_a_clip_that_says_it_is_shorter_than_it_is_costs_what_it_is(studio: Studio, tmp_path):
    """Its header says one second; whoever swaps it is paid for ten."""
    honest = matrix.Clip(options={"g": "15", "bf": "0"}, frames=300).make(tmp_path / "honest.mp4")
    movie = boxes.Movie(honest)
    (header,) = boxes.find(movie.data, "mdia.mdhd", movie.video.trak)
    data = bytearray(movie.data)
    ticks = struct.unpack_from(">I", data, header.body + 12)
    struct.pack_into(">I", data, header.body + 16, *ticks)
    (tmp_path / "lying.mp4").write_bytes(data)
    assert ffmpeg.probe(tmp_path / "lying.mp4", ffmpeg.Limits()).duration_seconds == pytest.approx(10, abs=0.1)
    given = {"face": studio.picture().id, "consent": studio.consent().id}
    whole, lying = (
        studio.submit(face_swap.tool, videos=[studio.known(tmp_path / f"{name}.mp4", name).id], **given).jobs[0]
        for name in ("honest", "lying")
    )
    assert lying.price == whole.price > 0


# --- Markers -------------------------------------------------------------------------------------------------------


def test_what_somebody_writes_into_a_prompt_hides_no_run_and_is_nobodys_marker(address):
    fal = menu.fal("pictures", DEFAULTS.model_copy(update={"sandbox_url": address}))
    low = f"{address}/fal-media/files/{'0' * 32}/low.safetensors"
    mine, hers = "novai-17-0123456789abcdef-1-89abcdef", "novai-1-fedcba9876543210-1-01234567"
    words = f"a cat https://x/?novai={hers} &novai=nonsense"
    asked = {"prompt": words, "negative": f"http://y?novai={hers}", "low_url": low, "high_url": ""}
    begun = fal.start(fal.picture_request(**asked, size=(64, 64), seed=1), mine, 10)
    until = time.monotonic() + 20
    while not (found := fal.find(mine)):
        assert time.monotonic() < until, "the run is never found by its own marker"
        time.sleep(0.2)
    assert found == begun and fal.find(hers) is None


def test_a_run_that_is_listed_under_a_shorter_name_is_not_taken_for_a_second_one(vendor: Parrot, alice, settings):
    ours = {f"fal_{part}_url": vendor.url for part in ("queue", "api")}
    till = Till(alice, settings.model_copy(update={**ours, "fal_key": KEY}))
    model, place = settings.fal_swap_model, settings.fal_swap_model.rpartition("/")[0]
    long = f"{{here}}/{model}/requests/1b2c"
    urls = {"response_url": long, "status_url": f"{long}/status", "cancel_url": f"{long}/cancel"}
    vendor.say("POST", f"/{model}", 200, {"request_id": "1b2c", "status": "IN_QUEUE", **urls})
    fal = menu.fal("faces", till.settings)
    till.pay(fal, fal.swap_request(video_url="https://v3.fal.media/files/a/v.mp4", face_url="https://x/f.png", which=0))
    (run,) = till.runs()
    assert run.external_id == f"{model}/requests/1b2c" and place in run.external_id
    given = {"target_video_url": f"https://v3.fal.media/files/a/v.mp4?novai={run.marker}"}
    vendor.say("GET", "/models/requests/by-endpoint", 200, {"items": [{"request_id": "1b2c", "json_input": given}]})
    session.rollback()
    reconcile(till.settings)
    assert till.states() == ["running"]


# --- Words that can be read in two ways ----------------------------------------------------------------------------


def picsi(url: str) -> Picsi:
    return Picsi(
        url,
        KEY,
        model="m",
        submit_path=DEFAULTS.picsi_submit_path,
        poll_path=DEFAULTS.picsi_poll_path,
        statuses=DEFAULTS.picsi_statuses,
        hosts=("files.example",),
    )


def test_an_id_that_is_a_number_is_an_id_and_nothing_is_paid_for_anew(vendor: Parrot):
    client = picsi(vendor.url)
    vendor.say("POST", DEFAULTS.picsi_submit_path, 200, {"job_id": 4711, "status": "queued"})
    vendor.say("GET", DEFAULTS.picsi_poll_path.replace("{id}", "4711"), 200, {
        "job_id": 4711, "status": "completed", "result_url": "https://files.example/1.mp4"})  # fmt: skip
    started = client.start(client.swap_request(video_url="v", face_url="f", which=0), "novai-1", 5)
    assert started == "4711" and isinstance(client.poll("4711"), Done)


@pytest.mark.parametrize(
    ("headers", "download_url"), [({}, "https://x/a\0b"), ({"X-Name": "€"}, "https://x/a"), ({"é": "a"}, "https://x/a")]
)
def test_a_place_for_a_file_that_nobody_can_write_down_is_refused(vendor: Parrot, tmp_path, headers, download_url):
    client = WaveSpeed(vendor.url, KEY, model="m", hosts=())
    place = {"upload": {"url": "https://storage.example/x", "headers": headers}, "download_url": download_url}
    vendor.say("POST", "/api/v3/media/uploads", 200, {"code": 200, "message": "success", "data": place})
    (tmp_path / "clip.mp4").write_bytes(b"clip")
    with pytest.raises(Refused):
        client.upload(tmp_path / "clip.mp4", "video/mp4", "clip.mp4", lambda: None)


@pytest.mark.slow
def test_a_list_without_an_end_that_comes_page_by_page_keeps_nobody_who_cancels_waiting():
    """The lease of whoever asks is a minute long."""
    items = [{"id": str(n), "status": "processing"} for n in range(100)]
    page = json.dumps({"code": 200, "message": "success", "data": {"items": items}}).encode()

    def tell(connection: socket.socket) -> None:
        time.sleep(3)
        connection.sendall(http(200, page))

    began = time.monotonic()
    with talking(tell) as url, pytest.raises(Away):
        WaveSpeed(url, KEY, model="m", hosts=()).recent()
    assert time.monotonic() - began < 30


# --- Bells ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("marker", ["%00", "novai-1%00", "%ff%fe", "%ed%a0%80", "a" * 5000, "%F0%9F%98%80", ""])
def test_a_bell_about_a_marker_that_no_database_keeps_is_thanked_for_and_forgotten(make_app, address, marker):
    """Without a key the secret is the sandbox's, which everybody knows."""
    door = make_app(sandbox_url=address).test_client()
    body, at = json.dumps({"id": "task-1"}).encode(), str(int(time.time()))
    headers = {
        "webhook-id": "m",
        "webhook-timestamp": at,
        "webhook-signature": f"v3,{sign(SANDBOX_SECRET, 'm', at, body)}",
    }
    assert door.post(f"/webhooks/wavespeed?run={marker}", data=body, headers=headers).status_code == 200


def test_a_stranger_who_rings_has_us_ask_nobody_for_keys(make_app, vendor: Parrot):
    changes: dict[str, Any] = {"fal_key": SecretStr("id:secret-of-ours"), "fal_jwks_url": f"{vendor.url}/strange.json"}
    door = make_app(**changes).test_client()
    headers = {
        "X-Fal-Webhook-Request-Id": "r",
        "X-Fal-Webhook-User-Id": "u",
        "X-Fal-Webhook-Timestamp": str(int(time.time())),
        "X-Fal-Webhook-Signature": "00" * 64,
    }
    for path in ("/webhooks/fal", "/webhooks/fal?run=novai-1&at=fal-ai/wan&by=" + "0" * 32):
        assert door.post(path, data=b"{}", headers=headers).status_code == 401
    assert vendor.asked == []
