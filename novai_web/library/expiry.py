"""What goes for good: marked first, then its files, then its row, so that a crash anywhere can be repeated."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.engine import CursorResult

from novai_web.config import Settings
from novai_web.db import now, session
from novai_web.engines.store import Store
from novai_web.engines.store.parts import PartialFile
from novai_web.library import files
from novai_web.library.models import Asset, Hook, Upload

AT_ONCE = 100


def mark(settings: Settings) -> int:
    """Mark what has expired and what has been in the trash for too long. From then on nobody sees it.

    What somebody is keeping or restoring at this moment is passed over, and looked at again next time.
    """
    due = (
        select(Asset.id)
        .where(
            Asset.deleting_at.is_(None),
            or_(Asset.expires_at <= now(), Asset.trashed_at <= now() - timedelta(days=settings.trash_days)),
        )
        .with_for_update(skip_locked=True)
    )
    done = session.execute(
        update(Asset).where(Asset.id.in_(due)).values(deleting_at=now()).execution_options(synchronize_session=False)
    )
    session.execute(
        delete(Hook)
        .where(Hook.trashed_at <= now() - timedelta(days=settings.trash_days))
        .execution_options(synchronize_session=False)
    )
    assert isinstance(done, CursorResult)
    return int(done.rowcount)


def marked(after_id: int = 0, limit: int = AT_ONCE) -> Sequence[Asset]:
    """The next assets whose files are to be deleted, by id."""
    query = select(Asset).where(Asset.deleting_at.is_not(None), Asset.id > after_id)
    return session.scalars(query.order_by(Asset.id).limit(limit)).all()


def erase(store: Store, asset: Asset) -> None:
    """Delete the files of a marked asset. May be repeated."""
    known = {asset.store_key, *asset.previews.values()}
    store.delete([key for key in known if key])
    files.remove(store, [asset.id])


def forget(assets: Sequence[Asset]) -> None:
    """Delete the rows of marked assets whose files are gone."""
    session.execute(
        delete(Asset)
        .where(Asset.id.in_([asset.id for asset in assets]), Asset.deleting_at.is_not(None))
        .execution_options(synchronize_session=False)
    )


def lapsed_uploads(limit: int = AT_ONCE) -> Sequence[Upload]:
    """Uploads that nobody has continued for long, and finished ones that nobody asks about any more."""
    return session.scalars(
        select(Upload).where(Upload.expires_at <= now()).order_by(Upload.expires_at).limit(limit)
    ).all()


def erase_upload(store: Store, upload: Upload, settings: Settings) -> None:
    """Delete what an upload left behind: its parts, and the stored file that became no asset. May be repeated."""
    PartialFile(settings.uploads_folder, upload.id).discard()
    if upload.reserved_id is not None and session.get(Asset, upload.reserved_id) is None:
        files.remove(store, [upload.reserved_id])
