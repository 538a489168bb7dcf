"""A vendor's key is in the header of a request and nowhere else: no page, log, error, table or command line."""

import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import text

from novai_web import choices, consents, jobs
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.errors import NovaiError
from novai_web.library.assets import Library
from novai_web.tools import character_diagram, face_swap
from novai_web.vendors import Doubtful, NotStarted, Vendor, menu
from tests.commands import flask, named
from tests.things import mp4, png, put

KEYS = {
    "fal_key": "fal0123456789abc:fal9876543210def",
    "gemini_key": "gemini0123456789abcdef",
    "wavespeed_key": "wavespeed0123456789abcdef",
    "picsi_key": "picsi0123456789abcdef",
}
SECRETS = [half for key in KEYS.values() for half in key.split(":")]
STATUSES = (200, 400, 401, 402, 403, 404, 422, 429, 500, 503)


@pytest.fixture
def parrot() -> Iterator[tuple[str, list[int]]]:
    """A server that says back all that it is told, its headers too, with the status that stands in the list."""
    status = [400]

    class Parrot(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = " ".join(f"{name}: {value}" for name, value in self.headers.items()).replace('"', "")
            body = (
                f'{{"detail": "{said}", "error": {{"code": {status[0]}, "message": "{said}", "status": "{said}"}},'
                f' "code": {status[0]}, "message": "{said}", "data": {{"id": "x", "status": "failed",'
                f' "error": "{said}"}}, "job_id": "x", "status": "failed", "error_message": "{said}"}}'
            ).encode()
            self.send_response(status[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  (the names that http.server calls)

        def log_message(self, *_: object) -> None:
            """Nothing: the terminal is for the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Parrot)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", status
    server.shutdown()
    server.server_close()


@pytest.fixture
def keyed(settings: Settings, parrot: tuple[str, list[int]]) -> Settings:
    """Every key is set, and every vendor is the parrot."""
    url = parrot[0]
    places = ("fal_queue_url", "fal_rest_url", "fal_api_url", "gemini_url", "wavespeed_url", "picsi_url")
    given = Settings(_env_file=None, **KEYS, **dict.fromkeys(places, url))  # type: ignore[arg-type]
    return settings.model_copy(update={name: getattr(given, name) for name in (*KEYS, *places)})


def has_a_key(said: object) -> list[str]:
    return [secret for secret in SECRETS if secret in str(said)]


def told(error: BaseException) -> str:
    """All that an error says, and those it came from: what a log would have of it."""
    return "".join(traceback.format_exception(error)) + repr(vars(error))


def outcome(call: Callable[[], object]) -> str:
    """What it gives back, or what it raises: either is about to be told somebody."""
    try:
        return repr(call())
    except (NovaiError, NotStarted, Doubtful) as error:
        return told(error)


def calls(vendor: Vendor) -> dict[str, Callable[[], object]]:
    request = {"model": "owner/model/of", "input": {"prompt": "a cat", "contents": []}}
    return {
        "start": lambda: vendor.start(request, "novai-1-0123456789abcdef-1-01234567", 5),
        "poll": lambda: vendor.poll("owner/model/requests/x"),
        "find": lambda: vendor.find("novai-1-0123456789abcdef-1-01234567"),
        "cancel": lambda: vendor.cancel("owner/model/requests/x"),
        "recent": vendor.recent,
        "check": vendor.check,
    }


@pytest.mark.parametrize("name", ["fal", "gemini", "wavespeed", "picsi"])
@pytest.mark.parametrize("status", STATUSES)
def test_a_vendor_that_says_our_key_back_is_not_repeated(keyed, parrot, name, status):
    parrot[1][0] = status
    vendor = menu.named(name, keyed)
    assert vendor and not vendor.is_sandbox
    assert has_a_key(repr(vendor)) == [] and has_a_key(vendor) == []
    for what, call in calls(vendor).items():
        assert has_a_key(outcome(call)) == [], what


@pytest.mark.parametrize("status", [400, 401, 402, 403, 422, 500])
@pytest.mark.parametrize("name", ["gemini", "fal", "wavespeed", "picsi"])
def test_a_job_that_a_vendor_says_no_to_has_no_key_in_its_rows_on_its_page_or_in_the_log(
    app, client, alice, charlie, keyed, parrot, name, status, sign_in, capfd
):
    parrot[1][0] = status
    picture = put(alice, keyed, png(1, 200, 200), kind="image", mime="image/png")
    video = put(alice, keyed, mp4())
    with transaction():
        if name == "gemini":
            jobs.submit(alice, character_diagram.tool, {"picture": picture.id}, keyed)
        else:
            choices.choose("faces", name, by=charlie)
            consent = consents.give(Library(alice.id), is_synthetic=True)
            given = {"videos": [video.id], "face": picture.id, "consent": consent.id}
            jobs.submit(alice, face_swap.tool, given, keyed)
    store = open_store(keyed)
    for _ in range(4):
        with transaction():
            session.execute(text("UPDATE jobs SET run_at = now() WHERE state IN ('queued', 'waiting')"))
        jobs.run_slice("io", store, keyed)
    rows = []
    for table in ("jobs", "runs", "vendor_errors", "vendors", "outputs"):
        rows += session.execute(text(f"SELECT row_to_json(t)::text FROM {table} t")).scalars().all()
    assert any("parrot" in row or "vendor_" in row for row in rows), "the vendor was asked, and that was noted"
    sign_in(client, alice)
    shown = client.get("/jobs").text
    sign_in(client, charlie)
    shown += client.get("/admin/vendors").text
    log = "".join(capfd.readouterr())
    assert has_a_key(shown) == [] and has_a_key(rows) == [] and has_a_key(log) == []


@pytest.mark.parametrize("name", ["FAL_KEY", "GEMINI_API_KEY", "WAVESPEED_API_KEY", "PICSI_KEY"])
def test_a_key_that_cannot_be_one_ends_the_start_and_is_not_said(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, "two words of 0123456789abcdef")
    with pytest.raises(SystemExit) as ended:
        Settings.read()
    assert name in str(ended.value) and "copy it anew" in str(ended.value)
    assert "0123456789abcdef" not in str(ended.value)


def test_settings_do_not_show_keys_when_they_are_shown(keyed):
    assert has_a_key(repr(keyed)) == [] and has_a_key(keyed.model_dump_json()) == []


def test_the_doctor_finds_a_key_that_is_wrong_and_does_not_say_it(app, settings, parrot, tmp_path: Path):
    parrot[1][0] = 401
    given = {**named(settings), "FAL_KEY": KEYS["fal_key"]}
    given |= {f"NOVAI_FAL_{part}_URL": parrot[0] for part in ("QUEUE", "REST", "API")}
    answer = flask("doctor", **given)
    said = answer.stdout + answer.stderr
    assert answer.returncode == 1 and "fal: " in said and "→ Check FAL_KEY" in said
    assert has_a_key(said) == []
