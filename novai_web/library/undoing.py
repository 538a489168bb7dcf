"""Taking back: what a change replaced is written down beside it, and put back wherever nothing changed since.

One mechanism for all of the library. `recorded` looks at rows before and after a change and keeps the difference;
`take_back` sets each row back that is still as the change left it. So a second press does nothing, a later change by
somebody else is never overwritten, and no verb needs an opposite of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import BigInteger, ColumnElement, Select, and_, column, delete, exists, func, insert, select, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.expression import literal

from novai_web.db import Base, now, session
from novai_web.errors import NotFound
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Collection, Hook, Preset, Undo

LIFE = timedelta(minutes=15)
FORGOTTEN = timedelta(days=1)
# A change of more rows is carried out, and can be taken back by other means or not at all.
ROWS_MAX = 50_000

Kept = type[Asset] | type[Hook] | type[Collection] | type[Preset]
TABLES: Mapping[str, Kept] = {model.__tablename__: model for model in (Asset, Hook, Collection, Preset)}
Row = dict[str, Any]


@dataclass(frozen=True)
class Watched:
    """Rows that are about to change, and the columns of them that may."""

    model: Kept
    rows: Select[Any]
    columns: Sequence[str]
    is_whole: bool = False


@dataclass
class Recording:
    """What a change did. `id` is what to take back, None while nothing has changed."""

    id: int | None = None
    fresh: list[tuple[Kept, Sequence[int]]] = field(default_factory=list)

    def made(self, model: Kept, ids: Sequence[int]) -> None:
        """These rows are new: taking back puts hooks and assets into the trash, and deletes what has no trash."""
        if ids:
            self.fresh.append((model, ids))


def of(rows: Select[Any], *columns: InstrumentedAttribute[Any]) -> Watched:
    """These columns of these rows."""
    return Watched(cast(Kept, columns[0].class_), rows, [each.key for each in columns])


def whole(rows: Select[Any]) -> Watched:
    """All of these rows, so that one that is deleted can be written again."""
    model = cast(Kept, rows.column_descriptions[0]["entity"])
    return Watched(model, rows, [each.name for each in model.__table__.columns if each.name != "id"], is_whole=True)


@contextmanager
def recorded(library: Library, *watched: Watched) -> Iterator[Recording]:
    """Carry out a change that can be taken back: `with transaction(), recorded(library, of(…)) as undo: …`."""
    recording = Recording()
    session.flush()
    before = [_seen(each, each.rows.with_for_update()) for each in watched]
    yield recording
    session.flush()
    changes = [{"table": model.__tablename__, "made": list(ids)} for model, ids in recording.fresh]
    for each, rows in zip(watched, before, strict=True):
        changes += _differences(each, rows)
    if changes and sum(map(_size, changes)) <= ROWS_MAX:
        undo = Undo(account_id=library.account_id, changes={"changes": changes})
        session.add(undo)
        session.flush()
        recording.id = undo.id


def take_back(library: Library, undo_id: int) -> int | None:
    """Put back what is still as that change left it; how many things. None when its time is up.

    Raises NotFound for another's. Taking back twice finds nothing left to do.
    """
    mine = select(Undo).where(Undo.account_id == library.account_id, Undo.id == undo_id)
    undo = session.scalar(mine.with_for_update())
    if undo is None:
        raise NotFound
    if undo.taken_back_at is not None:
        return 0
    if not session.scalar(select(undo.made_at > now() - LIFE)):
        return None
    undo.taken_back_at = now()
    count = sum(_taken_back(library, change) for change in reversed(undo.changes["changes"]))
    session.expire_all()
    return count


def forget_lapsed() -> None:
    """Delete what cannot be taken back any more."""
    session.execute(delete(Undo).where(Undo.made_at < now() - FORGOTTEN))


def _seen(watched: Watched, rows: Select[Any]) -> dict[int, Row]:
    table = watched.model.__table__
    wanted = rows.with_only_columns(table.c.id, *(table.c[name] for name in watched.columns))
    found = session.execute(wanted.order_by(table.c.id).limit(ROWS_MAX + 1)).mappings()
    return {row["id"]: {name: _plain(row[name]) for name in watched.columns} for row in found}


def _differences(watched: Watched, before: dict[int, Row]) -> list[Row]:
    table = watched.model.__table__
    ids = func.unnest(literal(list(before), ARRAY(BigInteger)))
    after = _seen(watched, select(watched.model).where(table.c.id.in_(select(ids))))
    changed = [
        {"id": number, "before": row, "after": after[number]}
        for number, row in before.items()
        if number in after and after[number] != row
    ]
    gone = [{"id": number, **row} for number, row in before.items() if watched.is_whole and number not in after]
    found: list[Row] = []
    if changed:
        found.append({"table": watched.model.__tablename__, "columns": list(watched.columns), "changed": changed})
    if gone:
        found.append({"table": watched.model.__tablename__, "gone": gone})
    return found


def _taken_back(library: Library, change: Row) -> int:
    model = TABLES[change["table"]]
    if "made" in change:
        return _unmade(library, model, change["made"])
    if "gone" in change:
        return sum(_written_again(model, row) for row in change["gone"])
    try:
        with session.begin_nested():
            return _put_back(library, model, change["columns"], change["changed"])
    except IntegrityError:  # one of them would be twice now, such as a hook that was written again: the others go back
        return sum(_put_back_alone(library, model, change["columns"], row) for row in change["changed"])


def _put_back(library: Library, model: Kept, columns: Sequence[str], rows: Sequence[Row]) -> int:
    table = model.__table__
    flat = [
        {"id": row["id"]} | {f"{when}_{name}": row[when][name] for when in ("before", "after") for name in columns}
        for row in rows
    ]
    shapes = [column(f"{when}_{name}", table.c[name].type) for when in ("before", "after") for name in columns]
    was = (
        func.jsonb_to_recordset(literal(flat, JSONB))
        .table_valued(column("id", BigInteger), *shapes)
        .render_derived(name="was", with_types=True)
    )
    untouched = [table.c[name].is_not_distinct_from(was.c[f"after_{name}"]) for name in columns]
    done = session.execute(
        update(model)
        .where(table.c.account_id == library.account_id, table.c.id == was.c.id, *untouched, *_sane(model, was))
        .values({name: was.c[f"before_{name}"] for name in columns})
        .execution_options(synchronize_session=False)
    )
    assert isinstance(done, CursorResult)
    return int(done.rowcount)


def _put_back_alone(library: Library, model: Kept, columns: Sequence[str], row: Row) -> int:
    try:
        with session.begin_nested():
            return _put_back(library, model, columns, [row])
    except IntegrityError:
        return 0


def _sane(model: Kept, was: Any) -> list[ColumnElement[bool]]:
    """An output whose time would be up by now stays kept, and what is being deleted for good is left alone."""
    if model is not Asset:
        return []
    sane: list[ColumnElement[bool]] = [Asset.deleting_at.is_(None)]
    if "before_expires_at" in was.c:
        sane.append(func.coalesce(was.c.before_expires_at > now() + timedelta(minutes=1), True))
    return sane


def _written_again(model: Kept, row: Row) -> int:
    try:
        with session.begin_nested():
            session.execute(insert(model).values(_typed(model, row)))
            return 1
    except IntegrityError:
        return 0


def _unmade(library: Library, model: Kept, ids: Sequence[int]) -> int:
    mine = and_(model.__table__.c.account_id == library.account_id, model.__table__.c.id.in_(ids))
    if model is Asset or model is Hook:
        live = model.__table__.c.trashed_at.is_(None)
        change: Any = update(model).where(mine, live).values(trashed_at=now())
    else:
        change = delete(model).where(mine)
        if model is Collection:
            change = change.where(~exists().where(Asset.collection_id == Collection.id, Asset.trashed_at.is_(None)))
    done = session.execute(change.execution_options(synchronize_session=False))
    assert isinstance(done, CursorResult)
    return int(done.rowcount)


def _typed(model: type[Base], row: Row) -> Row:
    """A row as the database takes it: JSON has no times."""
    columns = model.__table__.c
    return {
        name: datetime.fromisoformat(value) if value and columns[name].type.python_type is datetime else value
        for name, value in row.items()
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _size(change: Row) -> int:
    return len(change.get("made") or change.get("gone") or change.get("changed") or ())
