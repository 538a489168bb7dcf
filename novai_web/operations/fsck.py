"""Fsck: whether the books balance, and whether rows and files agree; and mending what can be mended safely.

It may run beside everything else: the files are listed before the rows are read, and whatever seems wrong is looked
at once more, so that what comes or goes meanwhile is not taken for damage.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text

from novai_web.credits import invariants
from novai_web.db import session
from novai_web.engines.store import Store
from novai_web.errors import NotFound
from novai_web.operations import known
from novai_web.operations.known import File

ROWS_SHOWN = 5

FILE_LOST = "The file of this was lost. Upload it again; an administrator can also bring it back from a backup."

# Each only if the row still says what it said when the file was missed.
FORGET_UPLOADED = text("""
    UPDATE assets SET status = 'failed', error = :reason, store_key = NULL, size_bytes = 0
    WHERE id = :asset AND store_key = :key""")
FORGET_MADE = text("UPDATE assets SET deleting_at = clock_timestamp() WHERE id = :asset AND store_key = :key")
FORGET_PREVIEW = text("""
    UPDATE assets SET previews = previews - CAST(:part AS text) WHERE id = :asset AND previews ->> :part = :key""")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `mend`, in the caller's transaction, is there when it costs nobody anything."""

    said: str
    mend: Callable[[], None] | None = None
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """What was looked at, and what is wrong."""

    invariants: int
    rows: int
    files: int
    findings: list[Finding]


def look(store: Store, *, deep: bool = False) -> Report:
    """Look at everything. With `deep` every original is read and hashed."""
    stored = dict(store.list(""))
    files = known.files(session.connection())
    session.rollback()
    findings = [
        *_of_books(),
        *_of_rows(files, stored, store),
        *_of_strays(files, stored, store),
        *(_of_bytes(files, stored, store) if deep else ()),
    ]
    return Report(len(invariants.INVARIANTS), len(files), len(stored), findings)


def _of_books() -> Iterator[Finding]:
    found = invariants.broken()
    session.rollback()
    for name, rows in found.items():
        shown = "; ".join(str(tuple(row)) for row in rows[:ROWS_SHOWN])
        more = f"; and {len(rows) - ROWS_SHOWN} more" if len(rows) > ROWS_SHOWN else ""
        yield Finding(
            f"It should hold that {name}, but it does not: {shown}{more}.",
            remedy="Nothing mends this by itself. Keep a backup of this state, and write an adjusting entry.",
        )


def _of_rows(files: Iterable[File], stored: dict[str, int], store: Store) -> Iterator[Finding]:
    expected = [one for one in files if not one.is_leaving]
    gone = [one for one in expected if one.key not in stored and store.size(one.key) is None]
    for one in _still_said(gone):
        yield Finding(f"There is no file for {one}.", mend=_forgetting(one))
    for one in expected:
        size = stored.get(one.key)
        if size is not None and one.size_bytes is not None and size != one.size_bytes:
            yield Finding(
                f"There are {size} bytes instead of {one.size_bytes} in {one}.",
                remedy="Bring the file back from a backup, or delete it in the library.",
            )


def _of_strays(files: Iterable[File], stored: dict[str, int], store: Store) -> Iterator[Finding]:
    spoken_of = {one.key for one in files}
    unknown = [key for key in stored if key not in spoken_of and not known.is_of_the_house(key)]
    found = known.strays(session.connection(), store, unknown) if unknown else []
    # Written and spoken of since the rows were read.
    since = {one.key for one in known.files(session.connection())} if found else set()
    session.rollback()
    for key in found:
        if key not in since:
            yield Finding(f"There is no row for the file {key} ({stored[key]} bytes).", mend=_deleting(store, key))


def _of_bytes(files: Iterable[File], stored: dict[str, int], store: Store) -> Iterator[Finding]:
    for one in files:
        if one.is_leaving or one.sha256 is None or stored.get(one.key) != one.size_bytes:
            continue
        found = _hash(store, one.key)
        if found is not None and found != one.sha256 and _still_said([one]):
            yield Finding(
                f"The bytes are not those that were stored in {one}.",
                remedy="Bring the file back from a backup, or delete it in the library.",
            )


def _hash(store: Store, key: str) -> str | None:
    """None: it was deleted meanwhile."""
    digest = hashlib.sha256()
    try:
        for piece in store.read(key):
            digest.update(piece)
    except NotFound:
        return None
    return digest.hexdigest()


def _still_said(some: list[File]) -> list[File]:
    """Those that rows speak of even now, after their files were missed: deleting marks the row first."""
    if not some:
        return []
    connection: Connection = session.connection()
    alive = {(one.asset_id, one.part, one.key) for one in known.files(connection) if not one.is_leaving}
    session.rollback()
    return [one for one in some if (one.asset_id, one.part, one.key) in alive]


def _forgetting(one: File) -> Callable[[], None]:
    """An upload says that it must be sent again; what was made says that it has expired, and can be rebuilt."""

    def forget() -> None:
        query = FORGET_PREVIEW if one.part != "original" else FORGET_UPLOADED if one.type == "source" else FORGET_MADE
        given = {"asset": one.asset_id, "key": one.key, "part": one.part, "reason": FILE_LOST}
        session.execute(query, given)

    return forget


def _deleting(store: Store, key: str) -> Callable[[], None]:
    return lambda: store.delete([key])
