"""Restore: a backup becomes the content of an empty installation, whose jobs then go on where they were.

The files come first, then all rows in one transaction: whoever looks meanwhile sees nothing, and when it breaks off
it can be begun again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import redis
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from novai_web import presence
from novai_web.config import GIGABYTE, Settings
from novai_web.engines.store import Store
from novai_web.engines.store.durable import disk_errors
from novai_web.errors import Conflict, DiskFull, Unavailable
from novai_web.library.files import mime_of
from novai_web.operations import known, schema, tables
from novai_web.operations.archive import Archive, Manifest, NotABackup
from novai_web.operations.tables import Table

NOT_EMPTY = (
    "This installation is not empty: it has {what}. A backup is restored into a new one only; "
    "set NOVAI_DATA to a new folder, or DATABASE_URL to an empty database."
)

# What a backup cannot know is what happened after it was written, and how long ago that was. So time that stood still
# does not count: jobs get as much of it as they had left, and files that were to expire stay that much longer.
AFTERWARDS = {
    "no worker has any job": """
        UPDATE jobs SET state = 'queued', lease_until = NULL, lease_token = lease_token + 1, run_at = clock_timestamp()
        WHERE state = 'running'""",
    "jobs have the time they had left": """
        UPDATE jobs SET deadline_at = deadline_at + (clock_timestamp() - CAST(:taken_at AS timestamptz))
        WHERE state IN ('queued', 'waiting') AND deadline_at IS NOT NULL""",
    "files stay as long as they would have": """
        UPDATE assets SET expires_at = expires_at + (clock_timestamp() - CAST(:taken_at AS timestamptz))
        WHERE expires_at IS NOT NULL""",
    "what was deleted while the backup was written goes": """
        UPDATE assets SET deleting_at = clock_timestamp() WHERE store_key = ANY(:missing) AND deleting_at IS NULL""",
    "half a file on its way in stayed where it was": """
        UPDATE uploads SET expires_at = clock_timestamp() WHERE finished_at IS NULL""",
    # Sessions and tokens that were ended after the backup was written would be good again.
    "everybody signs in anew": """
        UPDATE accounts SET session_version = greatest(session_version + 1, extract(epoch FROM clock_timestamp()))""",
    "no token of before is good any more": """
        UPDATE refresh_tokens SET revoked_at = clock_timestamp() WHERE revoked_at IS NULL""",
}

# Not known before a vendor was ever paid; while it is set, a job looks for its runs at the vendor before it starts any.
DOUBTFUL = """
    UPDATE jobs SET doubtful_since = clock_timestamp() WHERE state IN ('queued', 'waiting')"""


def put_back(archive: Archive, engine: Engine, store: Store, settings: Settings) -> None:
    """Raises NotABackup, Conflict or DiskFull, and then nobody sees anything of it."""
    manifest = archive.manifest
    archive.check()
    _check_version(manifest, settings)
    _check_room(manifest, store, settings)
    _check_store_is_empty(manifest, store)
    with engine.connect() as connection:
        if schema.current(connection) is not None:
            _check_nobody_is_here(connection)
        schema.move(connection, manifest.revision)
    _put_files(archive, store, settings)
    with engine.begin() as connection, _explained():
        _put_rows(archive, connection)
        _settle(manifest, connection)
    with engine.connect() as connection:
        schema.move(connection, schema.newest())


def _check_version(manifest: Manifest, settings: Settings) -> None:
    if manifest.revision not in schema.known():
        raise Conflict(
            f"This backup was made by a newer NOVAI (tables of version {manifest.revision}; this one knows up to "
            f"{schema.newest()}). Restore it with that one."
        )
    if manifest.revision != schema.newest() and (busy := _at_work(settings)):
        raise Conflict(
            f"This backup was made by an older NOVAI, so the tables change twice while it is restored. First stop "
            f"what is running ({', '.join(sorted(busy))}): nobody may work on them meanwhile."
        )


def _at_work(settings: Settings) -> set[presence.Kind]:
    try:
        return presence.heard(settings)
    except (redis.RedisError, ValueError):  # without it, or its address, no worker hears of anything
        return set()


def _check_room(manifest: Manifest, store: Store, settings: Settings) -> None:
    needed = sum(content.size_bytes for content in manifest.files.values()) + settings.disk_free_bytes_min
    free = store.free_bytes()
    if free is not None and free < needed:
        raise DiskFull(
            f"This backup needs {needed / GIGABYTE:.1f} GB, and the storage has {free / GIGABYTE:.1f} GB left. "
            "Nothing was restored; free some space first."
        )


def _check_store_is_empty(manifest: Manifest, store: Store) -> None:
    """Files of this same backup are fine: an earlier attempt broke off after them."""
    for key, _ in store.list(""):
        if key not in manifest.files and not known.is_of_the_house(key):
            raise Conflict(NOT_EMPTY.format(what=f"files, such as {key}"))


def _check_nobody_is_here(connection: Connection) -> None:
    if connection.scalar(text("SELECT EXISTS (SELECT 1 FROM accounts)")):
        raise Conflict(NOT_EMPTY.format(what="accounts"))


def _put_files(archive: Archive, store: Store, settings: Settings) -> None:
    settings.scratch_folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=settings.scratch_folder, prefix="restore-") as scratch:
        path = Path(scratch) / "file"
        for key in archive.manifest.files:
            with disk_errors("There is no room for all files of this backup. Nothing was restored."):
                archive.take_out(key, path)
            store.put(key, path, mime_of(key))
            path.unlink()


def _put_rows(archive: Archive, connection: Connection) -> None:
    manifest = archive.manifest
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    present = tables.present(connection)
    if {table.name: set(table.columns) for table in present} != {
        name: set(content.columns) for name, content in manifest.tables.items()
    }:
        raise NotABackup("This backup has other tables than NOVAI had in that version. Nothing was restored.")
    tables.lock(connection, present)
    _check_nobody_is_here(connection)
    tables.clear(connection, present)
    for table in present:
        content = manifest.tables[table.name]
        found = tables.put_rows(connection, Table(table.name, content.columns), archive.rows(table.name))
        if found != content.rows:
            raise NotABackup(f"This backup is damaged: {table.name} has {found} rows, not {content.rows}.")
    _check_files(manifest, connection)
    _set_sequences(manifest, connection)


def _check_files(manifest: Manifest, connection: Connection) -> None:
    """A row must not speak of a file that is not in the backup, whatever its key may look like."""
    there = {*manifest.files, *manifest.missing}
    for one in known.files(connection):
        if not one.is_leaving and one.key not in there:
            raise NotABackup(f"This backup is not whole: it lacks {one}. Nothing was restored.")


def _set_sequences(manifest: Manifest, connection: Connection) -> None:
    """Ids go on after those that were given away, also to what is gone by now."""
    if set(tables.sequences(connection)) != set(manifest.sequences):
        raise NotABackup("This backup counts other things than NOVAI did in that version. Nothing was restored.")
    for name, last in manifest.sequences.items():
        tables.set_sequence(connection, name, last)


def _settle(manifest: Manifest, connection: Connection) -> None:
    """Let what was under way go on in its new place, in the transaction that brings it there."""
    given = {"taken_at": manifest.taken_at, "missing": list(manifest.missing)}
    for statement in AFTERWARDS.values():
        connection.execute(text(statement), given)
    if "doubtful_since" in manifest.tables["jobs"].columns:
        connection.execute(text(DOUBTFUL))


@contextmanager
def _explained() -> Iterator[None]:
    """What the database does not take is a backup that is not one of ours."""
    try:
        yield
    except (psycopg.OperationalError, OperationalError) as away:
        raise Unavailable("The database did not answer, or its tables are in use. Nothing was restored.") from away
    except (psycopg.Error, DBAPIError) as refused:
        said = str(getattr(refused, "orig", refused)).splitlines()[0]
        raise NotABackup(f"The database refused this backup: {said}. Nothing was restored.") from refused
