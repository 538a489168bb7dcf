"""Where an asset came from, and what was made from it."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, func, select

from novai_web.db import session
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Source

SHOWN_MAX = 60


def made_from(library: Library, asset: Asset) -> Sequence[tuple[Source, Asset | None]]:
    """Each source of `asset`: the line that was written when it was used, and the asset if it is still there."""
    live = library.assets().subquery()
    query = (
        select(Source, Asset)
        .outerjoin(live, live.c.id == Source.source_id)
        .outerjoin(Asset, Asset.id == live.c.id)
        .where(Source.asset_id == asset.id)
        .order_by(Source.id)
    )
    return [(source, found) for source, found in session.execute(query)]


def made_into(library: Library, asset: Asset, limit: int = SHOWN_MAX) -> Sequence[Asset]:
    """The newest live assets that were made from `asset`."""
    ids = select(Source.asset_id).where(Source.source_id == asset.id)
    return session.scalars(library.assets().where(Asset.id.in_(ids)).order_by(Asset.id.desc()).limit(limit)).all()


def made_from_these(library: Library, chosen: Select[tuple[Asset]]) -> int:
    """How many live assets outside `chosen` were made from them: what to say before deleting."""
    ids: ColumnElement[int] = chosen.with_only_columns(Asset.id).scalar_subquery()
    made = select(Source.asset_id).where(Source.source_id.in_(ids))
    query = library.assets().where(Asset.id.in_(made), Asset.id.not_in(ids))
    return session.scalar(query.with_only_columns(func.count())) or 0
