"""What the stand-in for Supabase Storage keeps: buckets and objects in SQLite, bytes in files."""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from novai_web.sandbox.supabase_access import Refusal, duplicate, no_bucket, no_object, too_large

_KEY = re.compile(r"[A-Za-z0-9_/!.*'() &$=@;:+,?-]*")
_TABLES = """
create table if not exists buckets (
    id text primary key, name text, owner text default '', public int, file_size_limit int, allowed_mime_types text,
    created_at text, updated_at text);
create table if not exists objects (
    bucket_id text, name text, id text, version text, owner text default '', size int, content_type text,
    cache_control text, etag text, user_metadata text, created_at text, updated_at text, last_accessed_at text,
    primary key (bucket_id, name));
create table if not exists uploads (
    id text primary key, bucket_id text, name text, version text, length int, content_type text, cache_control text,
    user_metadata text, upsert int, created_at text, completed int default 0);
"""


class Objects:
    """Each call is one transaction; the bytes are written before the row that names them."""

    def __init__(self, folder: Path) -> None:
        self.blobs = folder / "blobs"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self._database = folder / "index.sqlite"
        with self.transaction() as rows:
            rows.executescript(_TABLES)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._database, timeout=30)) as connection, connection:
            connection.row_factory = sqlite3.Row
            connection.execute("pragma synchronous = off")
            yield connection

    def bucket(self, bucket: str) -> dict[str, Any]:
        with self.transaction() as rows:
            row = rows.execute("select * from buckets where id = ?", [bucket]).fetchone()
        if row is None:
            raise no_bucket()
        allowed = json.loads(row["allowed_mime_types"])
        return {**row, "public": bool(row["public"]), "allowed_mime_types": allowed}

    def find(self, bucket: str, name: str) -> dict[str, Any]:
        with self.transaction() as rows:
            found = rows.execute("select * from objects where bucket_id = ? and name = ?", [bucket, name]).fetchone()
        if found is None:
            self.bucket(bucket)
            raise no_object()
        return dict(found)

    def exists(self, bucket: str, name: str) -> bool:
        try:
            return bool(self.find(bucket, name))
        except Refusal:
            return False

    def below(self, bucket: str, prefix: str = "") -> list[dict[str, Any]]:
        """Objects whose names begin so, by name."""
        self.bucket(bucket)
        query = "select * from objects where bucket_id = ? and substr(name, 1, ?) = ? order by name"
        with self.transaction() as rows:
            return [dict(row) for row in rows.execute(query, [bucket, len(prefix), prefix])]

    def admit(self, bucket: str, name: str, content_type: str, size: int, *, upsert: bool) -> None:
        """Raise what the contract says against such an upload."""
        limits = self.bucket(bucket)
        if not name or not _KEY.fullmatch(name):
            raise Refusal(400, "InvalidKey", f"Invalid key: {name}", "InvalidKey")
        if limits["file_size_limit"] is not None and size > limits["file_size_limit"]:
            raise too_large()
        allowed = limits["allowed_mime_types"]
        if allowed and not {content_type, f"{content_type.partition('/')[0]}/*"} & set(allowed):
            raise Refusal(415, "invalid_mime_type", f"mime type {content_type} is not supported", "InvalidMimeType")
        if not upsert and self.exists(bucket, name):
            raise duplicate()

    def store(self, bucket: str, name: str, blob: Path, *, upsert: bool, **details: Any) -> dict[str, Any]:
        """Take over the bytes in `blob`, which is in the folder `blobs` and named by its version."""
        now = datetime.now(UTC).isoformat()
        with blob.open("rb") as file:
            etag = f'"{hashlib.file_digest(file, "md5").hexdigest()}"'
        row = {"bucket_id": bucket, "name": name, "id": str(uuid4()), "version": blob.name, "etag": etag, **details}
        row |= {"size": blob.stat().st_size, "created_at": now, "updated_at": now, "last_accessed_at": now}
        with self.transaction() as rows:
            rows.execute("begin immediate")
            old = rows.execute("select * from objects where bucket_id = ? and name = ?", [bucket, name]).fetchone()
            if old and not upsert:
                blob.unlink()
                raise duplicate()
            if old:
                row |= {"id": old["id"], "created_at": old["created_at"]}
            insert(rows, "objects", row)
        if old:
            self._forget(old["version"])
        return row

    def remove(self, bucket: str, names: list[str]) -> list[dict[str, Any]]:
        """The rows that were there."""
        query, removed = "delete from objects where bucket_id = ? and name = ? returning *", []
        with self.transaction() as rows:
            for name in names:
                removed += [dict(row) for row in rows.execute(query, [bucket, name]).fetchall()]
        for row in removed:
            self._forget(row["version"])
        return removed

    def _forget(self, version: str) -> None:
        (self.blobs / version).unlink(missing_ok=True)


def insert(rows: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    rows.execute(f"insert or replace into {table} ({names}) values ({marks})", list(row.values()))  # noqa: S608


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """An object as lists show it."""
    times = {name: row[name] for name in ("updated_at", "created_at", "last_accessed_at")}
    return {"name": row["name"], "id": row["id"], **times, "metadata": described(row)}


def described(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "eTag": row["etag"],
        "size": row["size"],
        "mimetype": row["content_type"],
        "cacheControl": row["cache_control"],
        "lastModified": row["updated_at"],
        "contentLength": row["size"],
        "httpStatusCode": 200,
    }
