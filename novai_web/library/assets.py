"""Looking up what is somebody's: every asset and hook is found through the library of its owner."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select

from novai_web.db import session
from novai_web.errors import NotFound
from novai_web.library.models import Asset, Hook


@dataclass(frozen=True)
class Library:
    """What one account can see and use. What is in the trash or being deleted is not in it.

    `with_trash`: what lies in the trash is, for a job that has begun: it goes on with what it was given.
    """

    account_id: int
    with_trash: bool = False

    def assets(self) -> Select[tuple[Asset]]:
        """A query of all live assets, to be narrowed."""
        mine = select(Asset).where(Asset.account_id == self.account_id, Asset.deleting_at.is_(None))
        return mine if self.with_trash else mine.where(Asset.trashed_at.is_(None))

    def hooks(self) -> Select[tuple[Hook]]:
        mine = select(Hook).where(Hook.account_id == self.account_id)
        return mine if self.with_trash else mine.where(Hook.trashed_at.is_(None))

    def find(self, asset_id: int) -> Asset:
        """One asset. Raises NotFound for another's, a trashed one and one that never was, alike."""
        found = session.scalar(self.assets().where(Asset.id == asset_id))
        if found is None:
            raise NotFound
        return found

    def find_even_trashed(self, asset_id: int) -> Asset:
        """One asset, also from the trash, where it can still be looked at. Raises NotFound."""
        mine = select(Asset).where(Asset.account_id == self.account_id, Asset.deleting_at.is_(None))
        found = session.scalar(mine.where(Asset.id == asset_id))
        if found is None:
            raise NotFound
        return found

    def find_many(self, asset_ids: Sequence[int]) -> dict[int, Asset]:
        """Those of `asset_ids` that are there, by id, in one query."""
        found = session.scalars(self.assets().where(Asset.id.in_(asset_ids)))
        return {asset.id: asset for asset in found}

    def find_hook(self, hook_id: int) -> Hook:
        found = session.scalar(self.hooks().where(Hook.id == hook_id))
        if found is None:
            raise NotFound
        return found

    def hook_count(self) -> int:
        return session.scalar(select(func.count()).select_from(self.hooks().subquery())) or 0

    def find_hooks(self, hook_ids: Sequence[int]) -> dict[int, Hook]:
        return {hook.id: hook for hook in session.scalars(self.hooks().where(Hook.id.in_(hook_ids)))}
