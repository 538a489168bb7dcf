"""`flask backup` and `flask restore`: everything comes back as it was, and a hostile file changes nothing."""

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, event, text

from novai_web import accounts, db, jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.credits.invariants import INVARIANTS
from novai_web.db import session, transaction
from novai_web.embedded import servers
from novai_web.engines.store import Store, open_store
from novai_web.errors import Conflict, DiskFull, NovaiError
from novai_web.jobs.leases import claim
from novai_web.operations import archive, backup, fsck, known, restore, schema, tables
from novai_web.operations.archive import NotABackup
from novai_web.sandbox import started
from novai_web.sandbox.supabase_storage import project_key
from novai_web.tools import echo
from tests import backups, things
from tests.commands import flask, named

# What a restore changes on purpose; everything else is as it was.
CHANGED = {
    "accounts": {"session_version"},
    "refresh_tokens": {"revoked_at"},
    "uploads": {"expires_at"},
    "assets": {"expires_at"},
    "jobs": {"state", "lease_until", "lease_token", "run_at", "deadline_at", "doubtful_since"},
}


# --- Two installations: a full one, and one that is new ------------------------------------------------------------


@pytest.fixture
def store(app, settings: Settings) -> Store:
    return open_store(settings)


@pytest.fixture
def full(alice: Account, bob: Account, settings: Settings, work) -> None:
    """Something of everything: what is over, what is under way in each state, what is in the trash, what was paid."""
    clip = things.put(alice, settings, b"a clip\0with\nany\\bytes\t" * 1000, previews={"thumb": 1, "poster": 1})
    made = things.put(bob, settings, b"made", name='odd "name" \\N \t \n ünïcode ＝', type="variant")
    things.made_from(made, clip)
    with transaction():
        accounts.issue(alice, settings)
        jobs.submit(alice, echo.tool, {"copies": 3, "credits": 2}, settings, key="monday")
        jobs.submit(bob, echo.tool, {"copies": 1, "trouble": "refuse", "credits": 5}, settings)
    work()
    with transaction():
        for _ in range(3):
            jobs.submit(alice, echo.tool, {"copies": 2, "credits": 3}, settings, key=None)
    with transaction():
        lease = claim("io", settings)
        waiting = session.scalars(text("SELECT max(id) FROM jobs")).one()
        session.execute(text("UPDATE jobs SET state = 'waiting' WHERE id = :id"), {"id": waiting})
        session.execute(text("UPDATE assets SET trashed_at = now() WHERE id = :id"), {"id": made.id})
        session.execute(
            text(
                "INSERT INTO uploads (id, account_id, name, size_bytes, expires_at)"
                " VALUES ('half', :account, 'half a file', 10, now() + interval '1 day')"
            ),
            {"account": alice.id},
        )
        for job_id, state, external in ((lease.job_id, "submitting", None), (waiting, "running", "external-7")):
            session.execute(
                text(
                    "INSERT INTO runs (job_id, n, vendor, request, marker, external_id, state)"
                    " VALUES (:job, 1, 'sandbox', 'r', 'novai-' || :job, :external, :state)"
                ),
                {"job": job_id, "state": state, "external": external},
            )
        session.execute(text("INSERT INTO vendors (name, failures) VALUES ('sandbox', 2)"))
        session.execute(text("INSERT INTO periodic (task, slot) VALUES ('housekeeping', 1)"))


@pytest.fixture
def written(full: None, settings: Settings, store: Store, database: Engine, tmp_path: Path) -> Path:
    target = tmp_path / "everything.tar"
    backup.write(target, database, store, settings)
    return target


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[Settings]:
    """Another Postgres, and a folder for files; nothing has been started there yet."""
    with servers.running(tmp_path_factory.mktemp("elsewhere"), durable=False) as addresses:
        own = {"database_url": addresses.database_url, "redis_url": addresses.redis_url}
        yield settings.model_copy(update={**own, "data": tmp_path_factory.mktemp("elsewhere-data")})


@pytest.fixture
def fresh(app, elsewhere: Settings) -> Iterator[Settings]:
    """A new installation, in whose context the rest of the test runs. It has not even tables."""
    engine = create_engine(elsewhere.database_url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    store = open_store(elsewhere)
    store.delete([key for key, _ in store.list("")])
    other = db.bare_app(elsewhere)
    db.migrations(other, schema.FOLDER)
    with other.app_context():
        yield elsewhere
        session.remove()
        db.db.engine.dispose()


def put_back(path: Path, settings: Settings) -> None:
    with archive.opened(path) as found:
        restore.put_back(found, db.db.engine, open_store(settings), settings)


def rows(engine: Engine, *, without: dict[str, set[str]] | None = None) -> dict[str, list[str]]:
    """Every row of every table as JSON, in a fixed order."""
    found = {}
    with engine.connect() as connection:
        for table in tables.present(connection):
            kept = [column for column in table.columns if column not in (without or {}).get(table.name, ())]
            columns = ", ".join(f'"{column}"' for column in kept)
            shown = connection.scalars(text(f"SELECT row_to_json(t)::text FROM (SELECT {columns} FROM {table.name}) t"))
            found[table.name] = sorted(shown)
    return found


def hashes(store: Store) -> dict[str, str]:
    return {key: hashlib.sha256(b"".join(store.read(key))).hexdigest() for key, _ in store.list("")}


def is_untouched(settings: Settings) -> bool:
    """Nobody is in there, and no file."""
    with db.db.engine.connect() as connection:
        present = {table.name for table in tables.present(connection)}
        nobody = "accounts" not in present or not connection.scalar(text("SELECT count(*) FROM accounts"))
    return nobody and not [*open_store(settings).list("")]


# --- What comes back -----------------------------------------------------------------------------------------------


def test_every_row_and_every_byte_comes_back_as_it_was(written, fresh, store, database):
    assert is_untouched(fresh)
    put_back(written, fresh)
    before, after = rows(database, without=CHANGED), rows(db.db.engine, without=CHANGED)
    assert before == after
    assert {name for name, found in before.items() if found} >= {
        "accounts", "assets", "asset_sources", "batches", "entries", "holds", "jobs", "outputs", "periodic",
        "refresh_tokens", "runs", "submissions", "uploads", "vendors", "wallets",
    }  # fmt: skip
    assert hashes(open_store(fresh)) == hashes(store) and len(hashes(store)) >= 7
    assert fsck.look(open_store(fresh), deep=True).findings == []


def test_what_is_written_while_a_backup_is_taken_is_in_it_whole_or_not_at_all(
    full, settings, store, database, tmp_path
):
    """An account and its wallet, written after the moment of the backup and before the tables are copied."""

    def sign_up(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "k.contype = 'f'" not in statement:
            return
        with create_engine(settings.database_url).begin() as beside:
            late = "INSERT INTO accounts (email, name, password_hash, role, session_version)"
            beside.execute(text(f"{late} VALUES ('late@example.com', 'Late', 'x', 'user', 1)"))

    event.listen(database, "before_cursor_execute", sign_up)
    try:
        backup.write(tmp_path / "b.tar", database, store, settings)
    finally:
        event.remove(database, "before_cursor_execute", sign_up)
    assert b"late@example.com" not in backups.contents(tmp_path / "b.tar")["tables/accounts"]
    assert session.scalar(text("SELECT count(*) FROM accounts WHERE email = 'late@example.com'")) == 1


def test_a_backup_knows_every_table_there_is(written, database):
    said = backups.manifest(written)
    assert set(said["tables"]) == set(db.Base.metadata.tables)
    assert all(
        set(said["tables"][name]["columns"]) == set(db.Base.metadata.tables[name].c.keys()) for name in said["tables"]
    )
    with database.connect() as connection:
        assert set(said["sequences"]) == set(tables.sequences(connection))


def test_ids_go_on_where_they_were_also_those_of_what_is_gone(written, fresh, database):
    with database.connect() as connection:
        numbers = tables.sequences(connection)
    put_back(written, fresh)
    with db.db.engine.connect() as connection:
        assert tables.sequences(connection) == numbers
        following = connection.scalar(text("SELECT nextval(pg_get_serial_sequence('jobs', 'id'))"))
    assert following > numbers["jobs_id_seq"]


def test_jobs_that_were_under_way_go_on_and_are_charged_once(written, fresh):
    put_back(written, fresh)
    states = dict(session.execute(text("SELECT state, count(*) FROM jobs GROUP BY state")).tuples().all())
    assert states["queued"] == 2 and states["waiting"] == 1 and "running" not in states
    session.execute(text("DELETE FROM runs"))  # no vendor is asked by this test: see the one with an installation
    session.execute(text("UPDATE jobs SET run_at = now()"))
    session.commit()
    store = open_store(fresh)
    while jobs.run_slice("io", store, fresh):
        pass
    after = dict(session.execute(text("SELECT state, count(*) FROM jobs GROUP BY state")).tuples().all())
    assert set(after) == {"succeeded", "failed"} and after["failed"] == states["failed"]
    for name, query in INVARIANTS.items():
        assert session.execute(text(query)).all() == [], name
    assert fsck.look(store, deep=True).findings == []


def test_what_was_asked_of_vendors_is_kept_and_every_open_job_looks_for_its_runs_first(written, fresh):
    put_back(written, fresh)
    runs = session.execute(text("SELECT state, external_id FROM runs ORDER BY state")).tuples().all()
    assert runs == [("running", "external-7"), ("submitting", None)]
    doubtful = "SELECT bool_and((doubtful_since IS NOT NULL) = (ended_at IS NULL)) FROM jobs"
    assert session.scalars(text(doubtful)).one() is True


def test_the_same_key_makes_nothing_twice_after_a_restore(written, fresh):
    put_back(written, fresh)
    alice = session.scalars(db.db.select(Account).where(Account.email == "alice@example.com")).one()
    before = session.scalar(text("SELECT count(*) FROM jobs"))
    with transaction():
        jobs.submit(alice, echo.tool, {"copies": 3, "credits": 2}, fresh, key="monday")
    assert session.scalar(text("SELECT count(*) FROM jobs")) == before


def test_time_that_stood_still_does_not_count(written, fresh, tmp_path):
    """A backup of ten days ago: its jobs have the time they had left, and its files do not vanish at once."""

    def ten_days_ago(members: backups.Members, said: dict[str, Any]) -> None:
        said["taken_at"] = "2026-01-01T00:00:00Z"

    old = backups.remade(written, tmp_path / "old.tar", ten_days_ago)
    left = (
        "SELECT extract(epoch FROM deadline_at - started_at) FROM jobs"
        " WHERE ended_at IS NULL AND started_at IS NOT NULL"
    )
    put_back(old, fresh)
    gap = session.scalars(text("SELECT extract(epoch FROM now() - '2026-01-01T00:00:00Z'::timestamptz)")).one()
    assert float(session.scalars(text(left)).one()) == pytest.approx(900 + float(gap), abs=60)
    soonest = session.scalars(text("SELECT extract(epoch FROM min(expires_at) - now()) FROM assets")).one()
    assert float(soonest) > float(gap)


def test_who_was_signed_in_before_is_not_any_more(written, fresh, alice, settings, bearer):
    version = alice.session_version
    put_back(written, fresh)
    assert accounts.by_session(alice.id, version) is None
    assert session.scalar(text("SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL")) == 0


def test_half_an_upload_has_lapsed_and_everything_else_is_as_open_as_it_was(written, fresh):
    put_back(written, fresh)
    assert session.scalars(text("SELECT expires_at <= now() FROM uploads WHERE id = 'half'")).one() is True


def test_triggers_keep_their_rules_afterwards(written, fresh):
    put_back(written, fresh)
    with pytest.raises(Exception, match="append-only"):
        session.execute(text("UPDATE entries SET delta_spent = 0"))
    session.rollback()


def test_a_file_deleted_while_the_backup_is_written_is_deleted_in_it_too(
    full, settings, store, database, tmp_path, fresh
):
    with database.begin() as connection:
        asset_id, key = connection.execute(text("SELECT id, store_key FROM assets ORDER BY id LIMIT 1")).one()

    class Quick:
        """A store in which somebody deletes an asset for good between the rows and the files."""

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def fetch(self, wanted: str, path: Path) -> None:
            with database.begin() as connection:
                connection.execute(text("UPDATE assets SET deleting_at = now() WHERE id = :id"), {"id": asset_id})
            store.delete([key])
            store.fetch(wanted, path)

    written = backup.write(tmp_path / "b.tar", database, Quick(), settings)
    assert written.lost == () and backups.manifest(tmp_path / "b.tar")["missing"] == [key]
    put_back(tmp_path / "b.tar", fresh)
    assert session.scalars(text("SELECT deleting_at IS NOT NULL FROM assets WHERE id = :id"), {"id": asset_id}).one()
    assert fsck.look(open_store(fresh)).findings == []


def test_an_older_backup_is_brought_up_to_date(full, settings, store, tmp_path, fresh):
    """The tables as they were before paid runs."""
    schema_then = "0002"
    with db.db.engine.connect() as connection:
        schema.move(connection, schema_then)
    session.execute(
        text(
            "INSERT INTO accounts (email, name, password_hash, role, session_version)"
            " VALUES ('a@b.de', 'A', 'x', 'admin', 1)"
        )
    )
    session.execute(text("INSERT INTO wallets (account_id, available, held) SELECT id, 0, 0 FROM accounts"))
    session.commit()
    old = tmp_path / "old.tar"
    backup.write(old, db.db.engine, open_store(fresh), fresh)
    assert backups.manifest(old)["revision"] == schema_then
    with db.db.engine.begin() as connection:
        connection.execute(text("TRUNCATE accounts CASCADE"))
    put_back(old, fresh)
    with db.db.engine.connect() as connection:
        assert schema.current(connection) == schema.newest()
        assert connection.scalars(text("SELECT email FROM accounts")).all() == ["a@b.de"]


def test_files_may_move_from_a_disk_into_supabase_and_back(written, fresh, store, tmp_path):
    with started("supabase_storage", "--data", tmp_path / "supabase") as url:
        there = fresh.model_copy(update={"supabase_url": url, "supabase_key": SecretStr(project_key())})
        put_back(written, there)
        supabase = open_store(there)
        assert hashes(supabase) == hashes(store)
        left = tmp_path / "left"
        left.write_bytes(b"left behind")
        supabase.put("jobs/999999/0-1.wav", left, "audio/wav")
        (finding,) = fsck.look(supabase, deep=True).findings
        assert "There is no row for the file jobs/999999/0-1.wav" in finding.said
        with transaction():
            finding.mend()
        assert fsck.look(supabase).findings == []
        backup.write(tmp_path / "again.tar", db.db.engine, supabase, there)
    assert backups.manifest(tmp_path / "again.tar")["files"] == backups.manifest(written)["files"]


# --- As an operator runs them --------------------------------------------------------------------------------------


def test_from_one_installation_into_another_one_that_was_never_started(full, settings, store, database, tmp_path):
    target = tmp_path / "novai.tar"
    answer = flask("backup", target, **named(settings))
    assert answer.returncode == 0, answer.stderr
    assert f"{target}: " in answer.stdout and "The secret key and the settings are not in it." in answer.stdout
    assert target.stat().st_mode & 0o077 == 0
    assert settings.secret.encode() not in target.read_bytes()

    new = {"NOVAI_DATA": str(tmp_path / "new"), "NOVAI_DISK_FREE_BYTES_MIN": "0"}
    answer = flask("restore", target, **new)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "Everybody signs in anew." in answer.stdout and "Nothing is wrong." in answer.stdout
    assert flask("fsck", "--deep", **new).stdout.endswith("Nothing is wrong.\n")
    assert hashes(open_store(Settings(_env_file=None, data=tmp_path / "new"))) == hashes(store)
    with servers.running(tmp_path / "new") as addresses:
        engine = create_engine(addresses.database_url)
        assert rows(engine, without=CHANGED) == rows(database, without=CHANGED)
        engine.dispose()

    again = flask("restore", target, **new)
    assert again.returncode == 1 and "This installation is not empty: it has accounts." in again.stderr
    assert "Traceback" not in again.stderr


def test_a_backup_is_never_written_over_and_half_a_one_is_never_seen(full, settings, tmp_path):
    target = tmp_path / "novai.tar"
    target.write_bytes(b"older")
    answer = flask("backup", target, **named(settings))
    assert answer.returncode == 1 and "is there already" in answer.stderr and target.read_bytes() == b"older"
    answer = flask("backup", tmp_path / "nowhere" / "novai.tar", **named(settings))
    assert answer.returncode == 1 and "There is no folder" in answer.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["novai.tar"]


def test_a_backup_says_when_a_file_is_lost_and_ends_with_an_error(full, settings, store, tmp_path):
    key = session.scalars(text("SELECT store_key FROM assets ORDER BY id LIMIT 1")).one()
    store.delete([key])
    answer = flask("backup", tmp_path / "novai.tar", **named(settings))
    assert answer.returncode == 1 and f"A row speaks of {key}, but it is not there." in answer.stderr
    assert (tmp_path / "novai.tar").exists()


def test_a_file_that_is_no_backup_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "novai.tar").write_bytes(b"\0" * 5000)
    answer = flask("restore", tmp_path / "novai.tar", NOVAI_DATA=str(tmp_path / "new"))
    assert answer.returncode == 1 and "This is no backup of NOVAI" in answer.stderr
    assert "Traceback" not in answer.stderr


# --- Where it may go -----------------------------------------------------------------------------------------------


def test_an_installation_with_people_or_files_is_not_restored_into(written, fresh, settings, tmp_path):
    left = tmp_path / "left"
    left.write_bytes(b"somebody's")
    store = open_store(fresh)
    store.put("assets/1/original.mp4.txt", left, "text/plain")
    with pytest.raises(Conflict, match=r"it has files, such as assets/1/original\.mp4\.txt"):
        put_back(written, fresh)
    store.delete(["assets/1/original.mp4.txt"])
    put_back(written, fresh)
    before = rows(db.db.engine)
    with pytest.raises(Conflict, match="it has accounts"):
        put_back(written, fresh)
    assert rows(db.db.engine) == before


def test_what_broke_off_can_be_begun_again(written, fresh):
    key = next(iter(backups.manifest(written)["files"]))
    store = open_store(fresh)

    class Breaks:
        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def put(self, wanted: str, path: Path, content_type: str) -> None:
            if wanted != key:
                raise KeyboardInterrupt
            store.put(wanted, path, content_type)

    with archive.opened(written) as found, pytest.raises(KeyboardInterrupt):
        restore.put_back(found, db.db.engine, Breaks(), fresh)
    assert session.scalar(text("SELECT count(*) FROM accounts")) == 0
    session.rollback()
    put_back(written, fresh)
    assert fsck.look(store, deep=True).findings == []


def test_a_disk_without_room_is_said_before_anything_is_touched(
    written, fresh, full, settings, store, database, tmp_path
):
    with pytest.raises(DiskFull, match="Nothing was restored"):
        put_back(written, fresh.model_copy(update={"disk_free_bytes_min": 2**60}))
    assert is_untouched(fresh)
    with database.begin() as connection:
        connection.execute(text("UPDATE assets SET size_bytes = 1::bigint << 60"))
    with pytest.raises(DiskFull, match="Nothing was written"):
        backup.write(tmp_path / "b.tar", database, store, settings)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("b.tar")]


def test_a_backup_of_a_newer_novai_is_refused_with_the_remedy(written, fresh, tmp_path):
    def newer(members: backups.Members, said: dict[str, Any]) -> None:
        said["revision"] = "9999"

    with pytest.raises(Conflict, match="made by a newer NOVAI"):
        put_back(backups.remade(written, tmp_path / "newer.tar", newer), fresh)
    assert is_untouched(fresh)


# --- Hostile and damaged files -------------------------------------------------------------------------------------


def _alter(name: str, content: bytes | None) -> Callable[[backups.Members, dict[str, Any]], None]:
    def change(members: backups.Members, said: dict[str, Any]) -> None:
        if content is None:
            del members[name]
        else:
            members[name] = content

    return change


def _say(path: str, value: Any) -> Callable[[backups.Members, dict[str, Any]], None]:
    """Put `value` at this place of the manifest."""

    def change(members: backups.Members, said: dict[str, Any]) -> None:
        *way, last = path.split(" ")
        for step in way:
            said = said[step]
        said[last] = value

    return change


def _file_called(key: str) -> Callable[[backups.Members, dict[str, Any]], None]:
    def change(members: backups.Members, said: dict[str, Any]) -> None:
        members[f"files/{key}"] = b"x"
        said["files"][key] = {}

    return change


LIES = {
    "a table less": (_alter("tables/jobs", None), True),
    "a table more": (_alter("tables/pg_authid", b""), True),
    "a changed byte": (_alter("tables/jobs", b"1\n"), False),
    "a file more": (_alter("files/assets/9/original.mp4", b"x"), True),
    "a key that climbs": (_file_called("../../etc/cron.d/x"), True),
    "a key from the root": (_file_called("/etc/passwd"), True),
    "a hidden key": (_file_called(".incoming/x"), True),
    "a key with a line break": (_file_called("a\nb"), True),
    "a missing file that climbs": (_say("missing", ["../x"]), True),
    "a size that is none": (_say("tables jobs size_bytes", -1), False),
    "a size too large for a number": (_say("tables jobs size_bytes", 2**70), False),
    "a hash that is none": (_say("tables jobs sha256", "0" * 63), False),
    "another format": (_say("format", 2), True),
    "a time without a zone": (_say("taken_at", "2026-01-01T00:00:00"), True),
    "a name with SQL in it": (_say("tables jobs columns", ['id") FROM STDIN; DROP TABLE accounts; --']), True),
    "something that nobody knows": (_say("also", 1), True),
    "a revision that is a path": (_say("revision", "../../x"), True),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_backup_that_lies_is_refused_before_anything_is_touched(lie, written, fresh, tmp_path):
    change, sign = LIES[lie]
    hostile = backups.remade(written, tmp_path / "hostile.tar", change, sign=sign)
    with pytest.raises(NotABackup):
        put_back(hostile, fresh)
    assert is_untouched(fresh)


def _one_more_table(members: backups.Members, said: dict[str, Any]) -> None:
    members["tables/pg_authid"] = b""
    said["tables"]["pg_authid"] = {**said["tables"]["periodic"], "rows": 0}


ROWS_THAT_ARE_NONE = {
    "a table of the server's own": _one_more_table,
    "a column less": _say("tables jobs columns", ["id"]),
    "a column twice": _say("tables periodic columns", ["task", "task", "slot", "at"]),
    "more rows than there are": _say("tables periodic rows", 7),
    "a row that nobody is the parent of": _alter("tables/wallets", b"999999\t0\t0\n"),
    "a number that is none": _alter("tables/wallets", b"one\t0\t0\n"),
    "a word for a number": _alter("tables/vendors", b"sandbox\tminus\t\\N\t\\N\n"),
    "bytes that are no text": _alter("tables/vendors", b"\xff\xfe\t0\t\\N\t\\N\n"),
    "an end before the end": _alter("tables/vendors", b"\\.\n"),
    "a sequence less": _say("sequences", {}),
    "a file that rows speak of less": lambda members, said: [
        (members.pop(name), said["files"].pop(name.removeprefix("files/")))
        for name in sorted(members)
        if name.startswith("files/")
    ],
}


@pytest.mark.parametrize("rows_of", ROWS_THAT_ARE_NONE)
def test_rows_that_the_database_does_not_take_leave_nobody_in_it(rows_of, written, fresh, tmp_path):
    hostile = backups.remade(written, tmp_path / "hostile.tar", ROWS_THAT_ARE_NONE[rows_of])
    with pytest.raises(NotABackup):
        put_back(hostile, fresh)
    assert session.scalar(text("SELECT count(*) FROM accounts")) == 0


HEADERS: dict[str, dict[str, Any]] = {
    "a symbolic link": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "a hard link": {"type": tarfile.LNKTYPE, "linkname": "manifest.json"},
    "a device": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5},
    "a pipe": {"type": tarfile.FIFOTYPE},
    "a folder": {"type": tarfile.DIRTYPE},
    "a sparse file": {"type": tarfile.GNUTYPE_SPARSE},
    "an unknown kind": {"type": b"Z"},
}


@pytest.mark.parametrize("header", HEADERS)
def test_only_plain_files_are_read_from_a_backup(header, written, tmp_path):
    members = backups.contents(written)
    with tarfile.open(tmp_path / "hostile.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        backups.add(tar, "files/assets/1/original.mp4", **HEADERS[header])
        for name, content in members.items():
            backups.add(tar, name, content)
    with pytest.raises(NotABackup, match="something other than plain files"), archive.opened(tmp_path / "hostile.tar"):
        pass


def test_a_header_that_announces_gigabytes_of_names_is_refused_unread(written, tmp_path):
    with tarfile.open(tmp_path / "hostile.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        backups.add(tar, "x" * 5000)
    with pytest.raises(NotABackup, match="plain files"), archive.opened(tmp_path / "hostile.tar"):
        pass


def test_a_size_below_zero_does_not_lead_round_in_a_circle(tmp_path):
    member = tarfile.TarInfo("manifest.json")
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"  # -1024 as GNU writes it
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
    (tmp_path / "hostile.tar").write_bytes(bytes(header) + bytes(10240))
    with pytest.raises(NotABackup), archive.opened(tmp_path / "hostile.tar"):
        pass


def test_a_name_that_is_there_twice_is_refused(written, tmp_path):
    with tarfile.open(tmp_path / "hostile.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in [*backups.contents(written).items(), ("tables/jobs", b"")]:
            backups.add(tar, name, content)
    with pytest.raises(NotABackup, match="twice"), archive.opened(tmp_path / "hostile.tar"):
        pass


def test_a_backup_that_was_cut_off_anywhere_is_refused(written, fresh, tmp_path):
    whole = written.read_bytes()
    cut = tmp_path / "cut.tar"
    with tarfile.open(written) as tar:
        last = tar.getmembers()[-1]
    for length in (
        0,
        1,
        511,
        512,
        1000,
        len(whole) // 2,
        last.offset,
        last.offset_data,
        last.offset_data + last.size - 1,
    ):
        cut.write_bytes(whole[:length])
        with pytest.raises(NotABackup):
            put_back(cut, fresh)
    assert is_untouched(fresh)


def test_a_damaged_byte_anywhere_is_noticed(written, fresh, tmp_path):
    whole = bytearray(written.read_bytes())
    with tarfile.open(written) as tar:
        places = [member.offset_data for member in tar if member.size]
    for place in places:
        whole[place] ^= 1
        (tmp_path / "damaged.tar").write_bytes(whole)
        whole[place] ^= 1
        with pytest.raises(NovaiError):
            put_back(tmp_path / "damaged.tar", fresh)
    assert is_untouched(fresh)


def test_a_manifest_is_only_so_long(written, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MANIFEST_BYTES_MAX", 100)
    with pytest.raises(NotABackup, match="too long"), archive.opened(written):
        pass
    nested = tmp_path / "nested.tar"
    backups.write(nested, {"manifest.json": b"[" * 100_000})
    monkeypatch.undo()
    with pytest.raises(NotABackup), archive.opened(nested):
        pass


def test_what_is_known_of_files_is_a_plain_list(full, database):
    """Originals and previews, each once."""
    with database.connect() as connection:
        keys = [one.key for one in known.files(connection)]
    assert len(keys) == len(set(keys)) and any("thumb" in key for key in keys)
    assert json.dumps(keys) and os.sep not in keys[0][:1]
