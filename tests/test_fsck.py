"""`flask fsck`: what is wrong with the books and with the files is found, said, and mended where that costs nobody."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from novai_web import jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.engines.store import Store, open_store
from novai_web.library.models import Asset
from novai_web.operations import fsck, known
from novai_web.tools import echo
from tests import things
from tests.commands import flask, named

HOURS_AGO = 2 * known.YOUNG_SECONDS


@pytest.fixture
def store(app, settings: Settings) -> Store:
    return open_store(settings)


@pytest.fixture
def clip(alice: Account, settings: Settings) -> Asset:
    return things.put(alice, settings, b"the bytes of a clip", name="Beach")


@pytest.fixture
def leave(settings: Settings, tmp_path: Path, store: Store) -> Callable[[str], None]:
    """`leave("assets/7/thumb.webp")`: a file of long ago that no row speaks of."""

    def leave(key: str, age_seconds: float = HOURS_AGO) -> None:
        left = tmp_path / "left"
        left.write_bytes(b"left behind")
        store.put(key, left, "image/webp")
        left.unlink()  # it is linked, and the next one must be another
        then = time.time() - age_seconds
        os.utime(store.local_path(key), (then, then))

    return leave


def sayings(store: Store, **options: bool) -> list[str]:
    return [finding.said for finding in fsck.look(store, **options).findings]


def change(statement: str, **given: object) -> None:
    with transaction():
        session.execute(text(statement), given)


def start(alice: Account, settings: Settings, **given: object) -> jobs.Job:
    with transaction():
        return jobs.submit(alice, echo.tool, {"copies": 1, **given}, settings).jobs[0]


# --- As an operator runs it ----------------------------------------------------------------------------------------


def test_it_says_that_nothing_is_wrong_when_nothing_is(alice, clip, settings, work):
    start(alice, settings, copies=3, credits=2)
    work()
    answer = flask("fsck", "--deep", **named(settings))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "Nothing is wrong." in answer.stdout and "4 files that rows speak of, 4 files there" in answer.stdout


def test_what_is_wrong_is_said_and_mended_and_then_nothing_is_wrong(alice, clip, settings, store, leave):
    store.delete([clip.store_key])
    leave("jobs/999999/0-1.wav")
    answer = flask("fsck", **named(settings))
    assert answer.returncode == 1
    assert f"There is no file for the original of asset {clip.id} of account {alice.id}" in answer.stdout
    assert "There is no row for the file jobs/999999/0-1.wav (11 bytes)." in answer.stdout
    assert "2 things are wrong." in answer.stdout and "`flask fsck --repair` mends this." in answer.stdout

    answer = flask("fsck", "--repair", **named(settings))
    assert (answer.returncode, answer.stdout.splitlines()[-1]) == (0, "2 mended, 0 left.")
    assert flask("fsck", **named(settings)).returncode == 0
    session.expire_all()
    assert (
        session.get_one(Asset, clip.id).status == "failed"
        and "Upload it again" in session.get_one(Asset, clip.id).error
    )
    assert list(store.list("")) == []


def test_money_that_does_not_add_up_is_said_and_never_mended(alice, settings):
    change("UPDATE wallets SET available = available + 7 WHERE account_id = :id", id=alice.id)
    answer = flask("fsck", "--repair", **named(settings))
    assert answer.returncode == 1 and "0 mended, 1 left." in answer.stdout
    assert "It should hold that a wallet equals the sum of its entries, but it does not" in answer.stdout
    assert "adjusting entry" in answer.stdout
    assert session.scalar(text("SELECT available FROM wallets")) == settings.starting_credits + 7


def test_a_database_that_is_away_is_said_in_a_sentence(settings):
    answer = flask("fsck", **{**named(settings), "DATABASE_URL": "postgresql://nobody:hunter2@127.0.0.1:1/none"})
    assert answer.returncode == 1 and "The database does not answer" in answer.stderr
    assert "Traceback" not in answer.stderr and "hunter2" not in answer.stdout + answer.stderr


# --- Rows and files ------------------------------------------------------------------------------------------------


def test_a_file_of_another_size_is_found_at_once_and_one_of_other_bytes_when_it_looks_deeply(clip, store, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"THE BYTES OF A CLIP")
    store.put(clip.store_key, other, "video/mp4")
    assert sayings(store) == []
    (said,) = sayings(store, deep=True)
    assert "The bytes are not those that were stored" in said
    other = tmp_path / "shorter"
    other.write_bytes(b"short")
    store.put(clip.store_key, other, "video/mp4")
    for deep in (False, True):
        (said,) = sayings(store, deep=deep)
        assert said.startswith("There are 5 bytes instead of 19")


def test_a_lost_preview_is_forgotten_and_the_asset_stays(clip, store, alice, settings):
    change('UPDATE assets SET previews = \'{"thumb": "assets/1/thumb.webp"}\' WHERE id = :id', id=clip.id)
    (finding,) = fsck.look(store).findings
    assert "There is no file for the thumb of asset" in finding.said
    with transaction():
        finding.mend()
    session.expire_all()
    kept = session.get_one(Asset, clip.id)
    assert (kept.status, kept.previews) == ("ready", {})
    assert sayings(store) == []


def test_a_lost_output_expires_so_that_it_can_be_made_again(alice, settings, store, work):
    job = start(alice, settings)
    work()
    key = session.scalars(text("SELECT store_key FROM assets")).one()
    store.delete([key])
    (finding,) = fsck.look(store).findings
    with transaction():
        finding.mend()
    from novai_web.jobs.housekeeping import keep_house

    keep_house(store, settings)
    assert session.scalars(text("SELECT state FROM outputs WHERE job_id = :id"), {"id": job.id}).one() == "expired"
    assert sayings(store) == []


def test_a_row_that_is_going_may_be_without_its_file(clip, store):
    store.delete([clip.store_key])
    change("UPDATE assets SET deleting_at = now() WHERE id = :id", id=clip.id)
    assert sayings(store) == []


def test_a_file_that_is_still_to_get_its_row_is_no_stray(alice, settings, store, leave):
    job = start(alice, settings)
    leave(f"jobs/{job.id}/0-1.wav")  # its job is under way
    leave("assets/900001/original.mp4")
    change(
        "INSERT INTO uploads (id, account_id, name, size_bytes, reserved_id, expires_at)"
        " VALUES ('u', :account, 'n', 1, 900001, now() + interval '1 day')",
        account=alice.id,
    )
    leave("assets/900002/original.mp4", age_seconds=10)  # written a moment ago
    assert sayings(store) == []
    change("DELETE FROM uploads")
    assert sayings(store) == ["There is no row for the file assets/900001/original.mp4 (11 bytes)."]


def test_the_file_of_a_job_that_ended_within_the_hour_is_no_stray_yet(alice, settings, store, leave, work):
    job = start(alice, settings)
    work()
    leave(f"jobs/{job.id}/0-7.wav")
    assert sayings(store) == []
    change("UPDATE jobs SET ended_at = now() - interval '2 hours'")
    assert sayings(store) == [f"There is no row for the file jobs/{job.id}/0-7.wav (11 bytes)."]


def test_a_preview_of_an_asset_that_is_there_but_does_not_speak_of_it_is_a_stray(clip, store, leave):
    leave(f"assets/{clip.id}/clip.mp4")
    assert sayings(store) == []
    change("UPDATE assets SET created_at = now() - interval '2 hours'")
    assert sayings(store) == [f"There is no row for the file assets/{clip.id}/clip.mp4 (11 bytes)."]


def test_a_file_that_is_kept_while_it_looks_is_not_taken_for_a_lost_one(clip, store, alice, settings):
    """The files are listed before the rows are read."""

    class Slow:
        """A store in which a file and its row appear right after the list was made."""

        def __init__(self) -> None:
            self.late: Asset | None = None

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def list(self, prefix: str):
            found = list(store.list(prefix))
            self.late = things.put(alice, settings, b"late")
            return iter(found)

    slow = Slow()
    assert sayings(slow) == [] and slow.late is not None
    assert store.size(slow.late.store_key) == 4


def test_every_invariant_is_asked(store):
    from novai_web.credits.invariants import INVARIANTS

    assert fsck.look(store).invariants == len(INVARIANTS)
