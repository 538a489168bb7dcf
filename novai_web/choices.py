"""Which vendor serves what: an administrator's choice for each engine, or the first that is there."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import ForeignKey, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from novai_web.accounts.models import Account
from novai_web.config import Settings
from novai_web.db import Base, now, session, short_read
from novai_web.errors import InvalidInput, NotFound
from novai_web.vendors import menu

State = Literal["vendor", "sandbox", "missing"]


class VendorChoice(Base):
    """The vendor that somebody chose for an engine, and who and when."""

    __tablename__ = "vendor_choices"

    engine: Mapped[str] = mapped_column(primary_key=True)
    vendor: Mapped[str]
    chosen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    chosen_by_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))


@dataclass(frozen=True)
class Place:
    """A vendor, the name of the setting of its key, and whether it is that vendor, the sandbox, or nobody."""

    name: str
    title: str
    setting: str
    state: State


def chosen(engine: str, settings: Settings) -> str:
    """The name of the vendor for `engine`, a key of `menu.ENGINES`.

    The one that was chosen, there or not; else the first with a key; else the first in the sandbox; else the first.
    A job notes it in its first step and stays with it, for what was paid at one vendor is not to be had at another.
    """
    query = select(VendorChoice.vendor).where(VendorChoice.engine == engine)
    choice = short_read(lambda: session.scalar(query))
    return choice if choice in menu.ENGINES[engine] else _first(engine, settings)


def _first(engine: str, settings: Settings) -> str:
    names = menu.ENGINES[engine]
    there = {vendor.name: vendor for vendor in menu.configured(settings)}
    real = [name for name in names if name in there and not there[name].is_sandbox]
    return next(iter([*real, *(name for name in names if name in there), *names]))


def place(engine: str, settings: Settings) -> Place:
    """Where what this engine makes is made now."""
    name = chosen(engine, settings)
    entry = next(each for each in menu.ENTRIES if each.name == name)
    vendor = menu.named(name, settings)
    state: State = "missing" if vendor is None else "sandbox" if vendor.is_sandbox else "vendor"
    return Place(name, entry.title, entry.setting, state)


def made() -> dict[str, str]:
    """Every choice that was made: engine → vendor."""
    return dict(session.execute(select(VendorChoice.engine, VendorChoice.vendor)).tuples().all())


def choose(engine: str, vendor: str, *, by: Account) -> None:
    """From now on. Jobs that began before stay with their vendor. Raises NotFound and InvalidInput."""
    if engine not in menu.ENGINES:
        raise NotFound
    if vendor not in menu.ENGINES[engine]:
        said = f"Choose one of: {', '.join(menu.ENGINES[engine])}."
        raise InvalidInput({"vendor": said}, said)
    values = {"engine": engine, "vendor": vendor, "chosen_at": now(), "chosen_by_id": by.id}
    row = insert(VendorChoice).values(values)
    session.execute(row.on_conflict_do_update(index_elements=["engine"], set_=dict(row.excluded)))


def forget(engine: str) -> None:
    """Back to the first that is there."""
    if choice := session.get(VendorChoice, engine):
        session.delete(choice)
