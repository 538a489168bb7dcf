"""Which files the rows speak of, and which that nobody speaks of may still be on their way in."""

import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, TextClause, text

from novai_web.engines.store import Store
from novai_web.errors import NotFound
from novai_web.library import samples

# A file is stored before its row is written, so one that nobody speaks of is no stray before it has had its time.
YOUNG_SECONDS = 3600

FILES = text("""
    SELECT assets.id, account_id, type, status = 'failed' OR deleting_at IS NOT NULL AS is_leaving, file.*
    FROM assets CROSS JOIN LATERAL (
        SELECT store_key AS key, 'original' AS part, size_bytes, sha256 WHERE store_key IS NOT NULL
        UNION ALL SELECT value, key, NULL, NULL FROM jsonb_each_text(previews)
    ) AS file ORDER BY assets.id, file.part""")

BUSY_JOBS = text("""
    SELECT id FROM jobs WHERE id = ANY(:ids)
    AND (ended_at IS NULL OR ended_at > clock_timestamp() - make_interval(secs => :young))""")

BUSY_ASSETS = text("""
    SELECT id FROM assets WHERE id = ANY(:ids)
    AND (status = 'processing' OR created_at > clock_timestamp() - make_interval(secs => :young))
    UNION
    SELECT reserved_id FROM uploads WHERE reserved_id = ANY(:ids)
    AND NOT EXISTS (SELECT 1 FROM assets WHERE assets.id = uploads.reserved_id)""")

_OWNED = re.compile(r"(jobs|assets)/([0-9]{1,18})/.+", re.ASCII)


@dataclass(frozen=True)
class File:
    """One file that an asset's row speaks of. Size and hash are known of the original only."""

    asset_id: int
    account_id: int
    type: str
    is_leaving: bool
    key: str
    part: str
    size_bytes: int | None
    sha256: str | None

    def __str__(self) -> str:
        return f"the {self.part} of asset {self.asset_id} of account {self.account_id} ({self.key})"


def files(connection: Connection) -> list[File]:
    """Every file that rows speak of. Those that are leaving may be gone already."""
    return [File(*row) for row in connection.execute(FILES)]


def is_of_the_house(key: str) -> bool:
    """The sample media: no row speaks of it, and it can be made again."""
    return key.startswith(f"{samples.FOLDER}/")


def strays(connection: Connection, store: Store, keys: Collection[str]) -> list[str]:
    """Those of `keys`, which no row speaks of, that nobody is about to write a row for."""
    busy = _busy(connection, BUSY_JOBS, "jobs", keys) | _busy(connection, BUSY_ASSETS, "assets", keys)
    settled = [key for key in sorted(keys) if "/".join(key.split("/")[:2]) not in busy]
    return [key for key in settled if not _is_young(store, key)]


def _busy(connection: Connection, query: TextClause, family: str, keys: Iterable[str]) -> set[str]:
    """The folders below `family` that still belong to something under way."""
    owned = (_OWNED.fullmatch(key) for key in keys)
    ids = sorted({int(found[2]) for found in owned if found and found[1] == family})
    found_busy = connection.scalars(query, {"ids": ids, "young": YOUNG_SECONDS})
    return {f"{family}/{number}" for number in found_busy}


def _is_young(store: Store, key: str) -> bool:
    """Written within the hour, or gone by now. A store elsewhere does not say; there the rows alone decide."""
    try:
        path = store.local_path(key)
        return path is not None and time.time() - path.stat().st_mtime < YOUNG_SECONDS
    except (NotFound, FileNotFoundError):
        return True
