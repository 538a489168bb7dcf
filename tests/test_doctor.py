"""`flask doctor`: each thing that must work is tried out, and what does not is said with its remedy."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from novai_web import presence
from novai_web.config import Settings
from novai_web.operations import doctor
from tests.commands import flask, named
from tests.small_disk import mounted


@pytest.fixture
def around(app, database: Engine, settings: Settings, tmp_path: Path) -> dict[str, str]:
    """The environment of an installation that is well, with a data folder of its own."""
    for kind in presence.KINDS:
        presence.say(kind, settings)
    (tmp_path / "data").mkdir(mode=0o700)
    return {**named(settings), "NOVAI_DATA": str(tmp_path / "data")}


def troubles(answer) -> dict[str, str]:
    """What it calls trouble, by the name of the check, with the remedy."""
    found: dict[str, str] = {}
    for line in answer.stdout.splitlines():
        kind, rest = line[:8].strip(), line[9:]
        if kind == "trouble":
            name = rest[:11].strip()
            found[name] = rest[11:].strip()
        elif not kind and line.strip().startswith("→"):
            found[name] += " " + line.strip()
    assert answer.returncode == (1 if found else 0), answer.stdout + answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr
    return found


def test_it_finds_nothing_where_everything_works(around):
    answer = flask("doctor", **around)
    assert troubles(answer) == {}
    assert [line.split()[0] for line in answer.stdout.splitlines()] == ["ok"] * len(doctor.ALL)
    assert "a media process works (audio of 1 s seen)" in answer.stdout
    assert "writes and reads" in answer.stdout
    assert not list((Path(around["NOVAI_DATA"]) / "files").glob("doctor*"))


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"NOVAI_PROT": "9000"}, "settings", "There is no setting called NOVAI_PROT. → Compare it with .env.example."),
        ({"NOVAI_FAILPOINTS": "/tmp/x"}, "settings", "→ Take it out of the environment; it is for drills."),
        ({"SECRET_KEY": "secret"}, "secret key", "→ Set it to 32 random characters or more"),
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "redis", "Redis does not answer. → Start Redis, and check REDIS_URL."),
        ({"NOVAI_DISK_FREE_BYTES_MIN": str(2**60)}, "disk", "uploads and jobs are refused. → Free some space"),
        (
            {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "key"},
            "storage",
            "→ Check SUPABASE_URL and its key",
        ),
        (
            {"NOVAI_CREDENTIALS_CHAIN": "/nowhere.pem", "NOVAI_CREDENTIALS_KEY": "/nowhere.key"},
            "credentials",
            "/nowhere.pem cannot be read: No such file or directory. → Check NOVAI_CREDENTIALS_CHAIN",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(around, changes, name, words):
    found = troubles(flask("doctor", **{**around, **changes}))
    assert words in found[name]
    assert set(found) - {name} <= ({"workers"} if name == "redis" else set())


def test_a_database_that_is_away_is_said_and_everything_else_is_looked_at_all_the_same(around):
    answer = flask("doctor", **{**around, "DATABASE_URL": "postgresql://ann:hunter2@127.0.0.1:1/none"})
    assert set(troubles(answer)) == {"database", "clock", "queue"}
    assert "hunter2" not in answer.stdout + answer.stderr


def test_where_nothing_runs_it_says_how_to_start(tmp_path):
    found = troubles(flask("doctor", NOVAI_DATA=str(tmp_path / "data")))
    assert found["database"].startswith("NOVAI is not running on this data folder. → Start it with `make run`")
    assert {"database", "redis", "workers"} <= set(found)


def test_a_key_that_others_can_read_is_trouble(around):
    del around["SECRET_KEY"]
    key = Path(around["NOVAI_DATA"]) / "secret_key"
    key.write_text("k" * 64)
    key.chmod(0o644)
    assert f"→ chmod 600 {key}" in troubles(flask("doctor", **around))["secret key"]
    key.chmod(0o600)
    answer = flask("doctor", **around)
    assert "secret key" not in troubles(answer)
    assert "which no backup contains: keep a copy of it elsewhere" in answer.stdout and "k" * 64 not in answer.stdout


def test_tables_of_another_version_and_silent_workers_are_trouble(around, database, settings, app):
    import redis

    redis.Redis.from_url(settings.redis_url).delete("novai:presence:dispatcher")
    with database.begin() as connection:
        newest = connection.scalar(text("SELECT version_num FROM alembic_version"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    try:
        found = troubles(flask("doctor", **around))
    finally:
        with database.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :newest"), {"newest": newest})
    assert "Run `flask db upgrade`" in found["database"]
    assert "dispatcher" in found["workers"] and "worker-io" not in found["workers"]


def test_a_clock_that_is_wrong_is_trouble(app, settings, monkeypatch):
    monkeypatch.setattr("time.time", lambda real=doctor.time.time: real() + 3600)
    (found,) = doctor.examine(settings, {"clock": doctor.ALL["clock"]})
    assert found.trouble and "3600 seconds apart" in found.said and "NTP" in found.trouble.remedy


def test_a_job_that_nobody_takes_is_trouble(app, alice, settings):
    from novai_web import jobs
    from novai_web.db import session, transaction
    from novai_web.tools import echo

    with transaction():
        jobs.submit(alice, echo.tool, {"copies": 1}, settings)
        session.execute(text("UPDATE jobs SET run_at = now() - interval '10 minutes'"))
    (found,) = doctor.examine(settings, {"queue": doctor.ALL["queue"]})
    assert found.trouble and "due for 10 minutes" in found.said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as disk:
        yield disk


def test_a_store_whose_disk_is_full_is_trouble(settings, small_disk):
    own = settings.model_copy(update={"data": small_disk / "data"})
    (small_disk / "data").mkdir()
    with (small_disk / "filler").open("wb") as filler:
        while True:
            try:
                filler.write(bytes(1024 * 1024))
                filler.flush()
            except OSError:
                break
    for name in ("storage", "media"):
        (found,) = doctor.examine(own, {name: doctor.ALL[name]})
        assert found.trouble and "disk is full" in found.trouble.remedy
    shutil.rmtree(small_disk / "data")
