"""The tables as the database itself describes them, so that one that is added later is not forgotten here."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, cast

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text

# Says which migrations have run; a restore runs them instead of copying it.
VERSION_TABLE = "alembic_version"

TABLES = text("""
    SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname <> :version
      AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    GROUP BY c.relname ORDER BY c.relname""")

REFERENCES = text("""
    SELECT child.relname AS child, parent.relname AS parent
    FROM pg_constraint k JOIN pg_class child ON child.oid = k.conrelid JOIN pg_class parent ON parent.oid = k.confrelid
    WHERE k.contype = 'f' AND k.connamespace = current_schema()::regnamespace AND child.oid <> parent.oid""")

SEQUENCES = text(
    "SELECT sequencename::text AS name, last_value FROM pg_sequences"
    " WHERE schemaname = current_schema() ORDER BY sequencename"
)


COPY_OUT = sql.SQL("COPY {} ({}) TO STDOUT")
COPY_IN = sql.SQL("COPY {} ({}) FROM STDIN")


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[str, ...]


def present(connection: Connection) -> list[Table]:
    """Every table of ours, those that others refer to before those that refer to them."""
    found = {
        row.name: Table(row.name, tuple(row.columns)) for row in connection.execute(TABLES, {"version": VERSION_TABLE})
    }
    parents: dict[str, set[str]] = {name: set() for name in found}
    for row in connection.execute(REFERENCES):
        parents[row.child].add(row.parent)
    return [found[name] for name in TopologicalSorter(parents).static_order()]


def sequences(connection: Connection) -> dict[str, int | None]:
    """The last number each sequence gave away; None: none yet."""
    return {row.name: row.last_value for row in connection.execute(SEQUENCES)}


def set_sequence(connection: Connection, name: str, last: int | None) -> None:
    """Let this sequence go on after `last`."""
    if last is not None:
        connection.execute(text("SELECT setval(quote_ident(:name)::regclass, :last)"), {"name": name, "last": last})


def rows_of(connection: Connection, table: Table) -> Iterator[bytes]:
    """The rows as COPY's text, in pieces: one line a row, for a line break inside a value is escaped."""
    with _cursor(connection).copy(_copy(COPY_OUT, table)) as copy:
        for piece in copy:
            yield bytes(piece)


def put_rows(connection: Connection, table: Table, pieces: Iterable[bytes]) -> int:
    """Add rows from COPY's text. Returns how many there are now."""
    with _cursor(connection).copy(_copy(COPY_IN, table)) as copy:
        for piece in pieces:
            copy.write(piece)
    return count(connection, table)


def count(connection: Connection, table: Table) -> int:
    counted = _cursor(connection).execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.name)))
    return int(cast(tuple[Any, ...], counted.fetchone())[0])


def lock(connection: Connection, some: Iterable[Table]) -> None:
    """Nobody else reads or writes these until the transaction is over."""
    _cursor(connection).execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(_names(some)))


def clear(connection: Connection, some: Iterable[Table]) -> None:
    _cursor(connection).execute(sql.SQL("TRUNCATE {}").format(_names(some)))


def _names(some: Iterable[Table]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(table.name) for table in some)


def _copy(pattern: sql.SQL, table: Table) -> sql.Composed:
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in table.columns)
    return pattern.format(sql.Identifier(table.name), columns)


def _cursor(connection: Connection) -> "psycopg.Cursor[tuple[Any, ...]]":
    """Of the driver, in the transaction that SQLAlchemy has open: COPY is not something SQLAlchemy knows."""
    driver = cast("psycopg.Connection[tuple[Any, ...]]", connection.connection.driver_connection)
    return driver.cursor()
