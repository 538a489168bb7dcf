"""Consents: whose face or voice may be used, for what, until when and how that was given; or that it is nobody's."""

from collections.abc import Collection, Sequence
from datetime import date, datetime

from sqlalchemy import ForeignKey, Index, Select, func, literal, select, text
from sqlalchemy.orm import Mapped, column_property, mapped_column

from novai_web.db import Base, Id, now, session
from novai_web.errors import InvalidInput, NotFound
from novai_web.library import words
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Source
from novai_web.library.paging import PAGE_SIZE, Order, Page, page

WHO_CHARACTERS_MAX = 120
HOW_CHARACTERS_MAX = 2000
CONSENTS_MAX = 2000
# How far from the first thing to the last that was made of it: more would be a chain that nobody follows.
GENERATIONS_MAX = 12
SYNTHETIC = "Synthetic face"
SYNTHETIC_HOW = "Stated: this face is synthetic and is no real person’s."
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2200, 12, 31)


class Consent(Base):
    """One record. It is never changed and never deleted, only revoked: what was made with it stays explained."""

    __tablename__ = "consents"
    __table_args__ = (Index("ix_consents_list", "account_id", "id"),)

    id: Mapped[Id]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    who: Mapped[str]
    is_synthetic: Mapped[bool]
    purposes: Mapped[list[str]]  # slugs of tools; empty: whatever NOVAI can do with a likeness
    until: Mapped[date | None] = mapped_column()  # the last day (UTC) on which it may be used
    how: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    revoked_at: Mapped[datetime | None]

    # The database's day rules, as it does everywhere.
    is_over: Mapped[bool] = column_property(func.coalesce(until < func.current_date(), False))

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None

    @property
    def is_usable(self) -> bool:
        return not self.is_revoked and not self.is_over

    @property
    def status(self) -> str:
        return "revoked" if self.is_revoked else "over" if self.is_over else "given"

    def covers(self, purpose: str) -> bool:
        """Whether it was given for this tool."""
        return not self.purposes or purpose in self.purposes


def give(
    library: Library,
    *,
    who: str = "",
    how: str = "",
    purposes: Sequence[str] = (),
    until: date | None = None,
    is_synthetic: bool = False,
    known: Collection[str] | None = None,
) -> Consent:
    """Write down a consent, or the statement that a face is synthetic. Raises InvalidInput, field by field.

    `known` are the purposes there are; None believes any.
    """
    who, how = words.name(who), words.plain(how, lines=True).strip()
    if is_synthetic:
        who, how = who or SYNTHETIC, how or SYNTHETIC_HOW
    wrong = _wrong(who, how, until) | _wrong_purposes(purposes, known)
    if wrong:
        raise InvalidInput(wrong)
    if (session.scalar(_mine(library).with_only_columns(func.count())) or 0) >= CONSENTS_MAX:
        raise InvalidInput({"who": f"You have {CONSENTS_MAX:,} consents. Ask an administrator to archive some."})
    made = Consent(
        account_id=library.account_id,
        who=who,
        how=how,
        purposes=sorted(set(purposes)),
        until=until,
        is_synthetic=is_synthetic,
    )
    session.add(made)
    session.flush()
    session.refresh(made)
    return made


def _wrong(who: str, how: str, until: date | None) -> dict[str, str]:
    found = {}
    if not who:
        found["who"] = "Say whose face or voice it is."
    elif len(who) > WHO_CHARACTERS_MAX:
        found["who"] = f"Write at most {WHO_CHARACTERS_MAX} characters."
    if not words.is_visible(how):
        found["how"] = "Say how it was given, such as “signed release of 3 May, in our files”."
    elif len(how) > HOW_CHARACTERS_MAX:
        found["how"] = f"Write at most {HOW_CHARACTERS_MAX:,} characters."
    if until and not FIRST_DAY <= until <= LAST_DAY:
        found["until"] = "Give a day between 2000 and 2200, or none."
    elif until and session.scalar(select(literal(until) < func.current_date())):
        found["until"] = "This day is over. Give a day that is still to come, or none."
    return found


def _wrong_purposes(purposes: Sequence[str], known: Collection[str] | None) -> dict[str, str]:
    if known is None or set(purposes) <= set(known):
        return {}
    return {"purposes": f"Choose among: {', '.join(known)}. None of them means all."}


def _mine(library: Library) -> Select[tuple[Consent]]:
    return select(Consent).where(Consent.account_id == library.account_id)


def find(library: Library, consent_id: int, *, hold: bool = False) -> Consent:
    """As it stands in the database now; `hold`: and until this transaction ends, whoever wants to revoke it. Raises
    NotFound, also for another's."""
    query = _mine(library).where(Consent.id == consent_id)
    query = query.with_for_update(read=True, of=Consent) if hold else query
    found = session.scalar(query.execution_options(populate_existing=True))
    if found is None:
        raise NotFound
    return found


# What a list is sorted by; with a minus in front, the other way.
COLUMNS = ("who", "until", "given")
STATUSES = ("given", "over", "revoked")


def listed(
    library: Library, cursor: str | None = None, size: int = PAGE_SIZE, *, sort: str = "-given", status: str = ""
) -> Page[Consent]:
    """One page of them, newest first unless `sort` says otherwise. Raises InvalidInput for a cursor that is none."""
    query = _mine(library)
    if status in STATUSES:
        query = query.where(Consent.revoked_at.is_not(None) if status == "revoked" else Consent.revoked_at.is_(None))
    if status in ("given", "over"):
        query = query.where(Consent.is_over.is_(status == "over"))
    return page(query, _order(sort), cursor, size)


def _order(sort: str) -> Order:
    """What has no last day comes after what has one."""
    name, falls = sort.removeprefix("-"), sort.startswith("-")
    if name not in COLUMNS:
        raise InvalidInput({"sort": f"Choose one of: {', '.join(COLUMNS)}; with a minus in front, the other way."})
    if name == "given":
        return Order(sort, Consent.id, Consent.id, falls, int)
    last_day = func.to_char(func.coalesce(Consent.until, LAST_DAY), "YYYY-MM-DD")
    return Order(sort, func.lower(Consent.who) if name == "who" else last_day, Consent.id, falls, str)


def usable(library: Library, purpose: str, limit: int = 200) -> Sequence[Consent]:
    """The newest ones that this tool may use today."""
    query = _mine(library).where(Consent.revoked_at.is_(None), Consent.is_over.is_(False))
    covered = query.where((func.cardinality(Consent.purposes) == 0) | Consent.purposes.contains([purpose]))
    return session.scalars(covered.order_by(Consent.id.desc()).limit(limit)).all()


def revoke(consent: Consent) -> None:
    """No new use from now on, and nothing is delivered any more that is being made. Revoking twice is revoking once."""
    if consent.revoked_at is None:
        consent.revoked_at = session.scalar(select(now()))
        session.flush()


def recipe_of(consent: Consent) -> dict[str, object]:
    """What a recipe says of it: `recipe["consent"]` is how `made_with` finds what was made."""
    return {"id": consent.id, "who": consent.who, "is_synthetic": consent.is_synthetic}


def behind(library: Library, asset: Asset, *, hold: bool = False) -> Consent | None:
    """The consent that an asset was made with, as its recipe says; `hold` as for `find`."""
    said = asset.recipe.get("consent")
    consent_id = said.get("id") if isinstance(said, dict) else None
    if not isinstance(consent_id, int):
        return None
    try:
        return find(library, consent_id, hold=hold)
    except NotFound:
        return None


# Written as the index has them.
_HAS_CONSENT = text("assets.recipe ? 'consent'")
_consent_id = Asset.recipe["consent"]["id"].astext


def _made(library: Library, consent: Consent) -> Select[tuple[Asset]]:
    """Live assets made with it, and what was made of those."""
    first = (
        select(Asset.id, literal(0).label("generation"))
        .where(Asset.account_id == library.account_id, _HAS_CONSENT, _consent_id == str(consent.id))
        .cte("made", recursive=True)
    )
    further = (
        select(Source.asset_id, first.c.generation + 1)
        .join(first, first.c.id == Source.source_id)
        .where(first.c.generation < GENERATIONS_MAX)
    )
    made = first.union(further)
    return library.assets().where(Asset.id.in_(select(made.c.id)))


_NEWEST_MADE = Order("newest", Asset.id, Asset.id, True, int)


def made_with(library: Library, consent: Consent, cursor: str | None = None, size: int = PAGE_SIZE) -> Page[Asset]:
    """What was made with it, and of that, newest first, one page of it."""
    return page(_made(library, consent), _NEWEST_MADE, cursor, size)


def counts(library: Library, consents: Sequence[Consent]) -> dict[int, int]:
    """How many live assets were made directly with each of these, in one query."""
    ids = [str(consent.id) for consent in consents]
    query = library.assets().where(_HAS_CONSENT, _consent_id.in_(ids))
    said = _consent_id.label("consent")
    rows = session.execute(query.with_only_columns(said, func.count()).group_by(said))
    return {int(consent_id): count for consent_id, count in rows}
