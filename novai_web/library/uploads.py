"""Files on their way in: what may be sent, how far it has come, and how it becomes an asset of the library."""

import secrets
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import IntegrityError

from novai_web.config import Settings
from novai_web.db import now, session
from novai_web.engines.store import Store
from novai_web.engines.store.parts import Finished, PartialFile
from novai_web.errors import DiskFull, InvalidInput, NotFound, TooLarge, TooManyRequests
from novai_web.library import words
from novai_web.library.assets import Library
from novai_web.library.editing import collection_for
from novai_web.library.models import Asset, Collection, Kind, Upload
from novai_web.library.sniffing import ACCEPTED, Sniffed, sniff

LIFE = timedelta(hours=24)
OPEN_UPLOADS_MAX = 1000
_GIGABYTE = 1024**3
_SHA256_CHARACTERS = set("0123456789abcdef")


@dataclass(frozen=True, kw_only=True)
class Announced:
    """What is known of a file before its first byte. With `kind`, any other kind is refused."""

    size_bytes: int
    filename: str = ""
    name: str = ""
    kind: Kind | None = None
    collection_id: int | None = None
    sha256: str | None = None


def begin(library: Library, announced: Announced, settings: Settings, store: Store) -> Upload:
    """The row of a new upload. Raises TooLarge, DiskFull and InvalidInput before a byte has been sent."""
    _check(announced)
    admit(library, announced.size_bytes, settings, store)
    if open_count(library) >= OPEN_UPLOADS_MAX:
        raise TooManyRequests(
            f"You have {OPEN_UPLOADS_MAX:,} unfinished uploads. Finish or give up some of them first."
        )
    if announced.collection_id is not None:
        collection_for(library, announced.collection_id)
    upload = Upload(
        id=secrets.token_hex(16),
        account_id=library.account_id,
        name=words.name(announced.name) or words.name_of_file(announced.filename),
        kind=announced.kind,
        collection_id=announced.collection_id,
        size_bytes=announced.size_bytes,
        sha256=announced.sha256,
        expires_at=now() + LIFE,
    )
    session.add(upload)
    session.flush()
    return upload


def check_room(size_bytes: int, settings: Settings, store: Store) -> None:
    """Raise TooLarge or DiskFull when this installation cannot take a file of this size."""
    if size_bytes > settings.upload_bytes_max:
        raise TooLarge(f"This file is larger than the {_gigabytes(settings.upload_bytes_max)} this installation takes.")
    free = [_free_bytes(settings.uploads_folder), store.free_bytes()]
    if any(left is not None and left - size_bytes < settings.disk_free_bytes_min for left in free):
        raise DiskFull


def admit(library: Library, size_bytes: int, settings: Settings, store: Store) -> None:
    """Raise TooLarge or DiskFull when a file of this size may not come into this library."""
    check_room(size_bytes, settings, store)
    # Two uploads at once must not both find the last free bytes of a quota.
    session.execute(text("SELECT pg_advisory_xact_lock(:family, :account)"), {"family": 20, "account": _key(library)})
    if used_bytes(library) + size_bytes > settings.account_bytes_max:
        raise DiskFull(
            f"This file does not fit into your {_gigabytes(settings.account_bytes_max)} of storage. "
            "Nothing was kept; delete something and empty the trash."
        )


def used_bytes(library: Library) -> int:
    """What an account's files take, those in the trash and those on their way in included."""
    kept = select(func.coalesce(func.sum(Asset.size_bytes), 0)).where(
        Asset.account_id == library.account_id, Asset.deleting_at.is_(None)
    )
    coming = select(func.coalesce(func.sum(Upload.size_bytes), 0)).where(
        Upload.account_id == library.account_id, Upload.finished_at.is_(None), Upload.expires_at > now()
    )
    return int(session.scalar(select(kept.scalar_subquery() + coming.scalar_subquery())) or 0)


def open_count(library: Library) -> int:
    """How many uploads of this account are on their way in."""
    mine = select(func.count()).where(Upload.account_id == library.account_id)
    return session.scalar(mine.where(Upload.finished_at.is_(None), Upload.expires_at > now())) or 0


def find(library: Library, upload_id: str) -> Upload:
    """One upload of this account. Raises NotFound, also for one that has expired."""
    query = select(Upload).where(
        Upload.account_id == library.account_id,
        Upload.id == words.plain(upload_id),
        Upload.expires_at > now(),
    )
    found = session.scalar(query.execution_options(populate_existing=True))
    if found is None:
        raise NotFound("There is no such upload. It may have expired; begin it again.")
    return found


def partial(upload: Upload, settings: Settings) -> PartialFile:
    """The bytes of an upload that have arrived."""
    return PartialFile(settings.uploads_folder, upload.id)


def heard(upload: Upload) -> None:
    """Bytes have arrived: it lives for another while."""
    upload.expires_at = now() + LIFE


def inspect(upload: Upload, finished: Finished) -> Sniffed:
    """What the whole file is. Raises UnusableMedia or InvalidInput: then nothing of it may be kept."""
    if upload.sha256 and upload.sha256 != finished.sha256:
        raise InvalidInput({"sha256": "This file was damaged on its way here. Nothing was kept; send it again."})
    found = sniff(finished.path)
    if upload.kind and found.kind != upload.kind:
        endings = ", ".join(extension.upper() for extension in ACCEPTED[_kind(upload.kind)])
        raise InvalidInput({"file": f"This is {_A[found.kind]}. Send {_A[_kind(upload.kind)]} here ({endings})."})
    return found


def reserve(upload: Upload) -> int:
    """The id its asset will have. The file is stored under it first, so no asset is ever without its file."""
    if upload.reserved_id is None:
        upload.reserved_id = session.scalar(select(func.nextval(func.pg_get_serial_sequence("assets", "id"))))
    heard(upload)
    assert upload.reserved_id is not None
    return upload.reserved_id


def link(upload: Upload, sha256: str) -> Asset | None:
    """End an upload in the asset with the same bytes that this account has already, if there is one."""
    asset = session.scalar(
        select(Asset)
        .where(
            Asset.account_id == upload.account_id,
            Asset.sha256 == sha256,
            Asset.type == "source",
            Asset.status != "failed",
            Asset.deleting_at.is_(None),
        )
        .with_for_update()
    )
    if asset is None:
        return None
    asset.trashed_at = None
    asset.collection_id = _collection(upload, asset.kind) or asset.collection_id
    _end(upload, asset)
    return asset


def settle(upload: Upload, finished: Finished, found: Sniffed, store_key: str) -> tuple[Asset, bool]:
    """End an upload in its asset, once the file is stored under `store_key`.

    Returns the asset, and whether it is a new one: it is not when this upload was ended by another request, or
    when the same bytes came in by another upload in the meantime.
    """
    session.refresh(upload, with_for_update=True)
    if upload.finished_at is not None and upload.asset_id is not None:
        return session.get_one(Asset, upload.asset_id), False
    asset = Asset(
        id=upload.reserved_id,
        account_id=upload.account_id,
        kind=found.kind,
        name=upload.name,
        collection_id=_collection(upload, found.kind),
        store_key=store_key,
        mime=found.mime,
        sha256=finished.sha256,
        size_bytes=finished.size_bytes,
        media={"extension": f".{found.extension}"},
    )
    try:
        with session.begin_nested():
            session.add(asset)
            session.flush()
    except IntegrityError:
        linked = link(upload, finished.sha256)
        if linked is None:  # refused for another reason than having it already
            raise
        return linked, False
    _end(upload, asset)
    return asset, True


def abandon(upload: Upload) -> None:
    """Nobody will ask for this upload again; housekeeping clears away what is left of it."""
    upload.expires_at = now()


def forget(upload: Upload) -> None:
    """Delete the row of an upload that came to nothing."""
    session.execute(delete(Upload).where(Upload.id == upload.id))


def _end(upload: Upload, asset: Asset) -> None:
    upload.asset_id = asset.id
    upload.finished_at = now()


def _collection(upload: Upload, kind: str) -> int | None:
    """The collection it was meant for, if that is still there and holds this kind."""
    if upload.collection_id is None:
        return None
    return session.scalar(
        select(Collection.id).where(
            Collection.id == upload.collection_id, Collection.account_id == upload.account_id, Collection.kind == kind
        )
    )


def _check(announced: Announced) -> None:
    wrong: dict[str, str] = {}
    if announced.size_bytes <= 0:
        wrong["file"] = "This file is empty. Choose another."
    if announced.sha256 is not None and (len(announced.sha256) != 64 or set(announced.sha256) - _SHA256_CHARACTERS):
        wrong["sha256"] = "Send the SHA-256 of the file as 64 lower-case hexadecimal digits, or leave it out."
    if wrong:
        raise InvalidInput(wrong)


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _key(library: Library) -> int:
    return library.account_id % 2**31


def _kind(kind: str) -> Kind:
    return next(known for known in ACCEPTED if known == kind)


def _gigabytes(size: int) -> str:
    return f"{size / _GIGABYTE:.3g} GB" if size >= _GIGABYTE else f"{size / 1024**2:.3g} MB"


_A: dict[Kind, str] = {"video": "a video", "audio": "a sound file", "image": "a picture", "model": "a model"}
