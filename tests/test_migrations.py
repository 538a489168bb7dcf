"""The migrations make exactly the tables that the code describes, whoever runs them and however often."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from sqlalchemy import Engine, create_engine, text

from novai_web.db import Base
from novai_web.embedded.servers import Addresses, running
from tests.installation import until

ROOT = Path(__file__).parents[1]
BROKEN_INDEXES = text("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
OTHERS = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
Migrate = Callable[..., "subprocess.Popen[bytes]"]


def test_the_migrations_make_what_the_models_describe(app: Flask, database: Engine) -> None:
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Addresses]:
    """Servers of their own with nothing in them."""
    with running(tmp_path / "servers", durable=False) as addresses:
        yield addresses


@pytest.fixture
def empty(fresh: Addresses) -> Iterator[Engine]:
    made = create_engine(fresh.database_url)
    yield made
    made.dispose()


@pytest.fixture
def migrate(fresh: Addresses, tmp_path: Path) -> Migrate:
    own = {
        "DATABASE_URL": fresh.database_url,
        "REDIS_URL": fresh.redis_url,
        "NOVAI_DATA": str(tmp_path / "data"),
        "SECRET_KEY": "for tests only, and long enough to be one",
    }

    def run(*command: str) -> "subprocess.Popen[bytes]":
        flask = [sys.executable, "-m", "flask", "--app", "wsgi", "db", *command]
        return subprocess.Popen(flask, cwd=ROOT, env=os.environ | own, stderr=subprocess.DEVNULL)

    return run


def test_processes_that_migrate_at_once_wait_for_each_other_and_end_well(empty: Engine, migrate: Migrate) -> None:
    """An index built concurrently waits for every statement under way: also for that of one who waits for us."""
    with empty.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(7213001)"))  # until both have come and want it
        connection.commit()
        both = [migrate("upgrade"), migrate("upgrade")]
        until(lambda: others(empty) >= 2, patience_seconds=60)
        connection.execute(text("SELECT pg_advisory_unlock(7213001)"))
        connection.commit()
    assert [each.wait(timeout=120) for each in both] == [0, 0]
    with empty.connect() as connection:
        assert connection.scalars(BROKEN_INDEXES).all() == []


def others(empty: Engine) -> int:
    """How many sit at this database besides us. What Postgres says of that stands still within a transaction."""
    with empty.connect() as connection:
        return int(connection.scalar(OTHERS) or 0) - 1


def test_indexes_whose_building_was_broken_off_are_built_anew(empty: Engine, migrate: Migrate) -> None:
    assert migrate("upgrade", "0004").wait(timeout=120) == 0
    with empty.begin() as connection:  # as a build leaves it that ended half-way, under the name but not what it says
        connection.execute(text("CREATE INDEX ix_entries_at_id ON entries (id)"))
    assert migrate("upgrade").wait(timeout=120) == 0
    with empty.connect() as connection:
        made = connection.scalar(text("SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_entries_at_id'"))
    assert made is not None
    assert made.endswith("(at, id)")
    assert migrate("downgrade", "0004").wait(timeout=120) == 0
    assert migrate("upgrade").wait(timeout=120) == 0
