"""Complaints: what went wrong at a vendor, for administrators; the newest of each, and never a key."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ForeignKey, Index, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from novai_web.config import Settings
from novai_web.db import Base, Id, session, transaction
from novai_web.vendors import sentence

KEPT = 50  # of each vendor


class VendorError(Base):
    """One thing that went wrong at a vendor. `code` is that of the error a person is shown, or what was waited for."""

    __tablename__ = "vendor_errors"
    __table_args__ = (Index("ix_vendor_errors_newest", "vendor", "id"),)

    id: Mapped[Id]
    vendor: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    code: Mapped[str]
    words: Mapped[str]
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"))


def complain(vendor: str, code: str, words: str, job_id: int | None, settings: Settings) -> None:
    """Write it down, in a transaction of its own, and forget what is older than the newest few of this vendor."""
    with transaction():
        session.add(VendorError(vendor=vendor, code=code, words=without_keys(words, settings), job_id=job_id))
        session.flush()
        of_it = VendorError.vendor == vendor
        oldest = select(VendorError.id).where(of_it).order_by(VendorError.id.desc()).offset(KEPT - 1).limit(1)
        old = delete(VendorError).where(of_it, VendorError.id < oldest.scalar_subquery())
        session.execute(old.execution_options(synchronize_session=False))


def newest(vendor: str, limit: int = 10) -> Sequence[VendorError]:
    """The newest first."""
    query = select(VendorError).where(VendorError.vendor == vendor).order_by(VendorError.id.desc()).limit(limit)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def without_keys(words: str, settings: Settings) -> str:
    """As one short line, and without our keys: some vendors say a wrong key back to us."""
    keys = (settings.fal_key, settings.gemini_key, settings.wavespeed_key, settings.picsi_key)
    for key in (each.get_secret_value() for each in keys):
        for part in filter(None, (key, *key.split(":"))):
            words = words.replace(part, "…") if len(part) >= 8 else words
    return sentence(words)
