"""Backup: all tables as they are at one moment, and the files they speak of, in one file."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

from sqlalchemy import Connection, Engine, text

from novai_web.config import GIGABYTE, Settings
from novai_web.engines.store import Store
from novai_web.engines.store.durable import disk_errors, sync
from novai_web.errors import Conflict, DiskFull, NotFound, Unavailable
from novai_web.operations import known, schema, tables
from novai_web.operations.archive import FILES, MANIFEST, TABLES, Content, Manifest, TableContent, Writer

FULL = "There is no room for this backup. Nothing was kept; choose another disk, or free some space."

# What the tables take on the disk is about what they take as text, and the largest of them is there twice for a while.
SIZE = text("""
    SELECT 2 * coalesce((SELECT sum(pg_table_size(oid)) FROM pg_class
                         WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace), 0)
         + coalesce((SELECT sum(size_bytes) FROM assets WHERE deleting_at IS NULL), 0)""")


@dataclass(frozen=True)
class Written:
    """What a backup holds. `lost` are files that rows still speak of although they are not there."""

    rows: int
    files: int
    size_bytes: int
    lost: tuple[str, ...]


def write(target: Path, engine: Engine, store: Store, settings: Settings) -> Written:
    """Write everything to `target`, which appears whole or not at all. Raises Conflict, NotFound, DiskFull."""
    if target.exists():
        raise Conflict(f"{target} is there already. Choose another name: a backup is never written over.")
    if not target.parent.is_dir():
        raise NotFound(f"There is no folder {target.parent}. Make it first, or choose another.")
    part = target.with_name(f"{target.name}.part")
    try:
        with disk_errors(FULL):
            with _made(part) as file:
                written = _write(file, part.parent, engine, store, settings)
            part.rename(target)
            sync(target.absolute().parent)
    finally:
        part.unlink(missing_ok=True)
    return written


@contextmanager
def _made(path: Path) -> Iterator[IO[bytes]]:
    """A new file for its owner alone, on the disk for good when the block is over."""
    path.unlink(missing_ok=True)  # left by one that was killed
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w+b") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _write(file: IO[bytes], folder: Path, engine: Engine, store: Store, settings: Settings) -> Written:
    archive = Writer(file)
    with _snapshot(engine) as connection:
        _check_room(connection, folder)
        taken_at: datetime = connection.scalars(text("SELECT clock_timestamp()")).one()
        revision = schema.current(connection)
        if revision is None:
            raise Unavailable("The database has no tables yet, so there is nothing to back up.")
        copied = {table.name: _add_table(archive, connection, table, folder) for table in tables.present(connection)}
        sequences = tables.sequences(connection)
        wanted = sorted({one.key for one in known.files(connection) if not one.is_leaving})
    stored, missing = _add_files(archive, wanted, store, settings)
    manifest = Manifest(
        taken_at=taken_at, revision=revision, tables=copied, sequences=sequences, files=stored, missing=tuple(missing)
    )
    _add_manifest(archive, manifest)
    archive.close()
    return Written(
        rows=sum(content.rows for content in copied.values()),
        files=len(stored),
        size_bytes=file.tell(),
        lost=_lost(engine, missing),
    )


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one moment, changes nothing, and may take its time."""
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield connection


def _check_room(connection: Connection, folder: Path) -> None:
    needed = int(connection.scalars(SIZE).one())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFull(
            f"This backup takes about {needed / GIGABYTE:.1f} GB, and {folder} has {free / GIGABYTE:.1f} GB left. "
            "Nothing was written; choose another disk, or free some space."
        )


def _add_table(archive: Writer, connection: Connection, table: tables.Table, folder: Path) -> TableContent:
    """By way of a file, because a tar wants to know the size first."""
    rows = 0
    with TemporaryFile(dir=folder) as spool:
        for piece in tables.rows_of(connection, table):
            rows += piece.count(b"\n")
            spool.write(piece)
        size = spool.tell()
        spool.seek(0)
        content = archive.add(TABLES + table.name, spool, size)
    return TableContent(size_bytes=size, sha256=content.sha256, columns=table.columns, rows=rows)


def _add_files(
    archive: Writer, keys: list[str], store: Store, settings: Settings
) -> tuple[dict[str, Content], list[str]]:
    """Those that are there, and the keys of those that are not any more."""
    stored: dict[str, Content] = {}
    missing: list[str] = []
    settings.scratch_folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=settings.scratch_folder, prefix="backup-") as scratch:
        path = Path(scratch) / "file"
        for key in keys:
            try:
                store.fetch(key, path)
            except NotFound:
                missing.append(key)
                continue
            with path.open("rb") as file:
                stored[key] = archive.add(FILES + key, file, os.fstat(file.fileno()).st_size)
            path.unlink()
    return stored, missing


def _add_manifest(archive: Writer, manifest: Manifest) -> None:
    said = manifest.model_dump_json().encode()
    archive.add(MANIFEST, BytesIO(said), len(said))


def _lost(engine: Engine, missing: list[str]) -> tuple[str, ...]:
    """Of the missing files those that were not simply deleted meanwhile."""
    if not missing:
        return ()
    with engine.connect() as connection:
        alive = {one.key for one in known.files(connection) if not one.is_leaving}
    return tuple(key for key in missing if key in alive)
