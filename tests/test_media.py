"""Files as they are served: in ranges, under safe names, to nobody but their owner."""

import re

import pytest
from werkzeug.http import parse_options_header

from novai_web.accounts import Account
from novai_web.db import session, transaction
from novai_web.library import editing, trash
from novai_web.library.assets import Library
from tests import things

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def asset(alice, settings):
    return things.put(alice, settings, CONTENT, name="Clip", previews={"thumb": 1})


def get(client, who, asset, part="original", query="", **headers):
    return client.get(f"/media/{asset.id}/{part}{query}", headers={**who, **headers})


def test_the_original_comes_with_its_type_its_length_and_a_tag(client, as_alice, asset):
    answer = get(client, as_alice, asset)
    assert answer.status_code == 200 and answer.data == CONTENT
    assert answer.mimetype == "video/mp4" and answer.content_length == len(CONTENT)
    assert answer.headers["Accept-Ranges"] == "bytes" and answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "private" in answer.headers["Cache-Control"] and "sandbox" in answer.headers["Content-Security-Policy"]
    assert "attachment" not in answer.headers.get("Content-Disposition", "")
    assert get(client, as_alice, asset, **{"If-None-Match": answer.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=10000-", 10000, None),
        ("bytes=-5", -5, None),
        ("bytes=0-999999", 0, None),
    ],
)
def test_a_range_is_exactly_those_bytes(client, as_alice, asset, asked, start, stop):
    answer = get(client, as_alice, asset, Range=asked)
    assert answer.status_code == 206 and answer.data == CONTENT[start:stop]
    assert answer.headers["Content-Range"].endswith(f"/{len(CONTENT)}")


@pytest.mark.parametrize(
    "asked",
    ["bytes=999999-", "bytes=5-1", "bytes=x-y", "items=0-1", "bytes=" + ",".join(f"{n}-{n}" for n in range(2000))],
)
def test_a_range_that_is_none_harms_nobody(client, as_alice, asset, asked):
    answer = get(client, as_alice, asset, Range=asked)
    assert answer.status_code in (200, 416)


def test_a_range_of_an_older_file_is_answered_whole(client, as_alice, asset):
    answer = get(client, as_alice, asset, Range="bytes=0-9", **{"If-Range": '"another"'})
    assert answer.status_code == 200 and answer.data == CONTENT


@pytest.mark.parametrize(
    "name",
    ['a"; filename="evil.exe', "über ⭐", "a\r\nX-Evil: 1", "../../x", "عربي", "x" * 200, "...", "a;b=c%0d%0a"],
)
def test_a_name_cannot_break_out_of_its_header(client, alice, as_alice, settings, name):
    asset = things.put(alice, settings, CONTENT)
    with transaction():
        editing.rename(asset, name)
    answer = get(client, as_alice, asset, query="?download=1")
    assert answer.status_code == 200 and "X-Evil" not in answer.headers
    said = answer.headers["Content-Disposition"]
    assert said.startswith("attachment") and said.isascii() and "\n" not in said and "/" not in said
    found = parse_options_header(said)[1]
    assert set(found) == {"filename"} and found["filename"].endswith(".mp4")


def address(page, asset, part="thumb"):
    """Under which address a page shows it."""
    found = re.search(rf'"(/media/{asset.id}/{part}\?v=\w+)"', page.get("/videos").text)
    assert found
    return found[1]


def test_what_a_page_shows_is_kept_by_the_browser_and_what_nobody_named_is_asked_for_anew(
    client, alice, sign_in, asset
):
    sign_in(client, alice)
    kept = client.get(address(client, asset))
    assert kept.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert address(client, asset) == address(client, asset), "or a second visit would load it anew"
    for other in (f"/media/{asset.id}/thumb", f"/media/{asset.id}/thumb?v=", f"/media/{asset.id}/thumb?v=ü" + "0" * 24):
        assert client.get(other).headers["Cache-Control"] == "private, no-cache"
    saved = client.get(address(client, asset) + "&download=1")
    assert saved.headers["Cache-Control"] == "private, no-cache"


def test_nobody_else_can_name_what_the_browser_keeps_and_the_key_opens_nothing(app, client, alice, bob, sign_in, asset):
    sign_in(client, alice)
    alices = address(client, asset)
    with transaction():
        session.get_one(Account, alice.id).session_version += 1  # "sign out everywhere"
        session.flush()
    assert client.get(alices).status_code == 401 or client.get(alices).status_code == 303
    sign_in(client, session.get_one(Account, alice.id))
    assert address(client, asset) != alices
    visitor = app.test_client()
    sign_in(visitor, bob)
    assert visitor.get(alices).status_code == 404


def test_a_preview_is_served_and_a_missing_one_is_not_there(client, as_alice, asset):
    answer = get(client, as_alice, asset, "thumb")
    assert answer.status_code == 200 and answer.mimetype == "image/webp"
    for part in ("clip", "waveform", "original.mp4", "..%2f..%2fsecret_key", "recipe"):
        assert get(client, as_alice, asset, part).status_code == 404


def test_an_unknown_kind_of_file_is_never_shown_in_the_page(client, alice, as_alice, settings):
    asset = things.put(alice, settings, b"<script>alert(1)</script>", mime="text/html")
    answer = get(client, as_alice, asset)
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_nobody_else_gets_it_in_any_shape(client, bob, charlie, bearer, asset, settings):
    missing = client.get("/media/999999/original", headers=bearer(bob))
    for who in (bob, charlie):
        for part in ("original", "thumb", "clip"):
            answer = get(client, bearer(who), asset, part, Range="bytes=0-1")
            assert answer.status_code == 404 == missing.status_code
    assert client.get(f"/media/{asset.id}/original").status_code in (302, 303, 401)
    assert client.get(f"/media/{asset.id}/original", headers={"Authorization": "Bearer nonsense"}).status_code != 200


def test_what_is_in_the_trash_can_still_be_looked_at(client, alice, as_alice, asset):
    library = Library(alice.id)
    with transaction():
        trash.throw_away(library, editing.chosen(library, [asset.id]))
    assert get(client, as_alice, asset, "thumb").status_code == 200


def test_an_id_beyond_the_database_is_not_there(client, as_alice):
    assert client.get(f"/media/{10**30}/original", headers=as_alice).status_code == 404
    assert client.get(f"/api/v1/videos/{2**63}", headers=as_alice).status_code == 404
