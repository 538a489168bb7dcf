"""The trash: what was deleted can be restored until its time is up, then it goes for good."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Float, Select, cast, delete, exists, func, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import aliased

from novai_web.db import now, session
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Hook
from novai_web.library.paging import PAGE_SIZE, Order, Page, page

HOOKS_SHOWN_MAX = 200

_NEWEST = Order("trashed", cast(func.extract("epoch", Asset.trashed_at), Float(53)), Asset.id, True, float)


def throw_away(library: Library, chosen: Select[tuple[Asset]]) -> int:
    """Put the chosen assets into the trash. How many there were."""
    at = session.scalars(select(now())).one()
    ids: ColumnElement[int] = chosen.with_only_columns(Asset.id).scalar_subquery()
    done = session.execute(
        update(Asset)
        .where(Asset.account_id == library.account_id, Asset.trashed_at.is_(None), Asset.id.in_(ids))
        .values(trashed_at=at)
        .execution_options(synchronize_session=False)
    )
    return _count(done)


def throw_away_hooks(library: Library, chosen: Select[tuple[Hook]]) -> int:
    at = session.scalars(select(now())).one()
    ids: ColumnElement[int] = chosen.with_only_columns(Hook.id).scalar_subquery()
    done = session.execute(
        update(Hook)
        .where(Hook.account_id == library.account_id, Hook.trashed_at.is_(None), Hook.id.in_(ids))
        .values(trashed_at=at)
        .execution_options(synchronize_session=False)
    )
    return _count(done)


def trashed(library: Library) -> Select[tuple[Asset]]:
    """A query of what is in the trash, to be narrowed."""
    return select(Asset).where(
        Asset.account_id == library.account_id, Asset.trashed_at.is_not(None), Asset.deleting_at.is_(None)
    )


def trashed_hooks(library: Library) -> Select[tuple[Hook]]:
    return select(Hook).where(Hook.account_id == library.account_id, Hook.trashed_at.is_not(None))


def listed(library: Library, cursor: str | None = None, size: int = PAGE_SIZE) -> Page[Asset]:
    """One page of the trash, last thrown away first."""
    return page(trashed(library), _NEWEST, cursor, size)


def listed_hooks(library: Library) -> Sequence[Hook]:
    query = trashed_hooks(library).order_by(Hook.trashed_at.desc(), Hook.id.desc())
    return session.scalars(query.limit(HOOKS_SHOWN_MAX)).all()


def restore(library: Library, ids: Sequence[int]) -> int:
    """Take these assets out of the trash. How many there were."""
    done = session.execute(
        update(Asset)
        .where(
            Asset.account_id == library.account_id,
            Asset.trashed_at.is_not(None),
            Asset.deleting_at.is_(None),
            Asset.id.in_(ids),
        )
        .values(trashed_at=None)
        .execution_options(synchronize_session=False)
    )
    return _count(done)


def restore_hooks(library: Library, ids: Sequence[int]) -> int:
    """The same for hooks. One that was written again in the meantime is there already; the old one is dropped."""
    wanted = trashed_hooks(library).where(Hook.id.in_(ids)).with_for_update()
    back = session.scalars(wanted.order_by(Hook.id)).all()
    live = aliased(Hook)
    restored = 0
    for hook in back:
        is_there = session.scalar(
            select(
                exists().where(
                    live.account_id == hook.account_id,
                    live.category == hook.category,
                    func.md5(live.text) == func.md5(hook.text),
                    live.trashed_at.is_(None),
                )
            )
        )
        if is_there:
            session.delete(hook)
        else:
            hook.trashed_at = None
        session.flush()
        restored += 1
    return restored


def empty(library: Library, *, ids: Sequence[int] | None = None, hook_ids: Sequence[int] | None = None) -> int:
    """Delete for good: these, or with neither given all that is in the trash. The files follow by themselves."""
    everything = ids is None and hook_ids is None
    count = 0
    if everything or ids:
        count += _doom(library, ids or (), everything=everything)
    if everything or hook_ids:
        gone = delete(Hook).where(Hook.account_id == library.account_id, Hook.trashed_at.is_not(None))
        if not everything:
            gone = gone.where(Hook.id.in_(hook_ids or ()))
        count += _count(session.execute(gone.execution_options(synchronize_session=False)))
    return count


def _doom(library: Library, ids: Sequence[int], *, everything: bool) -> int:
    doomed = update(Asset).where(
        Asset.account_id == library.account_id, Asset.trashed_at.is_not(None), Asset.deleting_at.is_(None)
    )
    if not everything:
        doomed = doomed.where(Asset.id.in_(ids))
    done = session.execute(doomed.values(deleting_at=now()).execution_options(synchronize_session=False))
    return _count(done)


def _count(done: object) -> int:
    assert isinstance(done, CursorResult)
    return int(done.rowcount)
