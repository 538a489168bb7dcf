"""The tables' version: which one the database has, which ones this code knows, and how to get from one to another."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from novai_web.errors import Conflict

FOLDER = Path(__file__).parents[2] / "migrations"


def newest() -> str:
    """The version this code works with."""
    return known()[-1]


@cache
def known() -> tuple[str, ...]:
    """Every version this code can make, oldest first."""
    return tuple(script.revision for script in reversed(list(ScriptDirectory(str(FOLDER)).walk_revisions())))


def current(connection: Connection) -> str | None:
    """The version of this database; None when it has no tables of ours."""
    return MigrationContext.configure(connection).get_current_revision()


def move(connection: Connection, wanted: str) -> None:
    """Bring the tables to the version `wanted`, newer or older, through the application's own migrations.

    `connection` only says which one they have, and lets go of it: a migration has a connection of its own.
    """
    found = current(connection)
    connection.rollback()
    if found == wanted:
        return
    if found is not None and found not in known():
        raise Conflict("A newer NOVAI has worked with this database. Use that one.")
    is_newer = found is not None and known().index(found) > known().index(wanted)
    (command.downgrade if is_newer else command.upgrade)(_config(), wanted)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config
