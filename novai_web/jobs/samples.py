"""Giving a library the sample media of the installation, through the door that every upload comes through."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select

from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.engines.store import Store
from novai_web.engines.store.parts import Finished
from novai_web.jobs import arrivals
from novai_web.jobs.models import OPEN, Job
from novai_web.jobs.submitting import submit_internal
from novai_web.library import collections, hooks, samples, trash, undoing
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Collection, Hook
from novai_web.library.samples import Kept
from novai_web.library.undoing import Recording
from novai_web.library.uploads import Announced
from novai_web.tools import sampling


@dataclass(frozen=True)
class Given:
    """All samples, now that the library has them, and which of them it did not have before."""

    assets: Sequence[Asset]
    hooks: Sequence[Hook]
    fresh_ids: Sequence[int]
    fresh_hook_ids: Sequence[int]
    undo: Recording

    @property
    def fresh(self) -> int:
        return len(self.fresh_ids) + len(self.fresh_hook_ids)

    @property
    def known(self) -> int:
        return len(self.assets) + len(self.hooks) - self.fresh


def give(library: Library, store: Store, settings: Settings) -> Given | None:
    """Add what is missing and bring back what was thrown away. None: the files are being made; ask again soon.

    May be repeated at any time: nothing is ever added twice. Opens its own transactions.
    Raises TooLarge and DiskFull, as every upload does.
    """
    kept = samples.made(store)
    if kept is None:
        with transaction():
            _ask(library)
        return None
    with transaction():
        known = samples.of(library, kept)
        away = [each for each in kept if each.sha256 not in known or known[each.sha256].trashed_at is not None]
        shelves = _shelves(library, away)
        back = _restore(library, known.values(), shelves)
        texts, fresh_hook_ids = _hooks(library)
    missing = [each for each in kept if each.sha256 not in known]
    for each in reversed(missing):  # what was added last is shown first
        known[each.sha256] = _add(library, each, shelves[each.kind], store, settings)
    fresh_ids = [*back, *(known[each.sha256].id for each in missing)]
    with transaction(), undoing.recorded(library) as undo:
        undo.made(Collection, [shelf.id for shelf in shelves.values()])
        undo.made(Asset, fresh_ids)
        undo.made(Hook, fresh_hook_ids)
    return Given([known[each.sha256] for each in kept], texts, fresh_ids, fresh_hook_ids, undo)


def making(account_id: int) -> Job | None:
    """This account's last wish for sample media, over or not; None if it never had to wait for them."""
    mine = select(Job).where(Job.account_id == account_id, Job.tool_slug == sampling.tool.slug)
    return session.scalar(mine.order_by(Job.id.desc()).limit(1))


def _ask(library: Library) -> None:
    """Have them made, unless this account has asked for that already."""
    last = making(library.account_id)
    if last is None or last.state not in OPEN:
        submit_internal(library.account_id, sampling.tool, {})


def _shelves(library: Library, away: Sequence[Kept]) -> Mapping[str, Collection]:
    """The collections that these go into, by kind."""
    return {kind: collections.named(library, kind, samples.SHELF) for kind in sorted({each.kind for each in away})}


def _restore(library: Library, known: Iterable[Asset], shelves: Mapping[str, Collection]) -> list[int]:
    """Take samples out of the trash, into their collection if they are in none; which they were."""
    gone = [asset for asset in known if asset.trashed_at is not None]
    trash.restore(library, [asset.id for asset in gone])
    for asset in gone:
        session.refresh(asset)
        asset.collection_id = asset.collection_id or shelves[asset.kind].id
    return [asset.id for asset in gone]


def _hooks(library: Library) -> tuple[Sequence[Hook], list[int]]:
    """The sample hooks in their order, and the ids of those that were not there before."""
    wanted = hooks.Filter(category=samples.SHELF)
    before = set(session.scalars(wanted.of(library).with_only_columns(Hook.id)))
    thrown = trash.trashed_hooks(library).where(Hook.category == samples.SHELF, Hook.text.in_(samples.HOOKS))
    trash.restore_hooks(library, session.scalars(thrown.with_only_columns(Hook.id)).all())
    found = hooks.add(library, samples.HOOKS, samples.SHELF).hooks
    return found, [hook.id for hook in found if hook.id not in before]


def _add(library: Library, kept: Kept, shelf: Collection, store: Store, settings: Settings) -> Asset:
    """By way of files on this machine, which for a store on its disk are links."""
    settings.arriving_folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=settings.arriving_folder, prefix="sample-") as there:
        folder = Path(there)
        path = _fetched(store, kept.key, folder)
        previews = {part: _fetched(store, key, folder) for part, key in kept.previews.items()}
        received = arrivals.take(
            library,
            Announced(size_bytes=kept.size_bytes, name=kept.title, kind=kept.kind, collection_id=shelf.id),
            Finished(path, kept.sha256, kept.size_bytes),
            store,
            settings,
            arrivals.Seen(kept.media, previews),
        )
    with transaction():
        asset = library.find(received.asset.id)
        asset.tags = [*dict.fromkeys([*asset.tags, *kept.tags])]
        asset.caption = asset.caption or kept.caption
    return asset


def _fetched(store: Store, key: str, folder: Path) -> Path:
    path = folder / key.rpartition("/")[2]
    store.fetch(key, path)
    return path
