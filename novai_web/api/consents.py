"""Consents over JSON: whose likeness may be used, for what, and what was made with it."""

from datetime import date, datetime
from typing import Any, Literal

from pydantic import Field

from novai_web import consents, tools
from novai_web.accounts import Account
from novai_web.api.door import Door, Shape
from novai_web.api.library import AssetOut
from novai_web.consents import Consent
from novai_web.library.assets import Library
from novai_web.library.paging import PAGE_SIZE, PAGE_SIZE_MAX
from novai_web.tools.likeness import takers

door = Door("consents")


class ConsentOut(Shape):
    """One record. It is never changed, only revoked."""

    id: int
    who: str
    how: str
    is_synthetic: bool
    purposes: list[str] = Field(description="The tools it was given for; none: all that need one.")
    until: date | None
    status: Literal["given", "over", "revoked"]
    created_at: datetime
    revoked_at: datetime | None


class ConsentGiven(Shape):
    """Whose face or voice it is; or, with `is_synthetic`, the statement that it is no real person's."""

    who: str = Field("", max_length=1000, description="A name by which you will know them again.")
    how: str = Field("", max_length=10_000, description="How it was given, such as “signed release of 3 May”.")
    purposes: list[str] = Field([], max_length=100, description="Slugs of tools; none: all that need one.")
    until: date | None = Field(None, description="The last day (UTC) on which it may be used.")
    is_synthetic: bool = False


class PageAsked(Shape):
    cursor: str | None = Field(None, max_length=2000)
    limit: int = Field(PAGE_SIZE, ge=1, le=PAGE_SIZE_MAX)


class ConsentsOut(Shape):
    items: list[ConsentOut]
    next_cursor: str | None
    total: int


class MadeWithOut(Shape):
    """What was made with a consent, and what was made of that."""

    items: list[AssetOut]
    next_cursor: str | None
    total: int


def _out(consent: Consent) -> ConsentOut:
    return ConsentOut.model_validate(consent)


@door.get("/consents", asks=PageAsked, gives=ConsentsOut)
def consents_listed(account: Account, asked: PageAsked) -> ConsentsOut:
    """A page of them, newest first."""
    found = consents.listed(Library(account.id), asked.cursor, asked.limit)
    return ConsentsOut(items=[_out(each) for each in found.items], next_cursor=found.next_cursor, total=found.total)


@door.post("/consents", takes=ConsentGiven, gives=ConsentOut, status=201)
def consent_given(account: Account, given: ConsentGiven) -> ConsentOut:
    """Write one down."""
    known = [tool.slug for tool in takers(tools.TOOLS)]
    fields: dict[str, Any] = given.model_dump()
    return _out(consents.give(Library(account.id), **fields, known=known))


@door.get("/consents/<int:consent_id>", gives=ConsentOut)
def consent(account: Account, consent_id: int) -> ConsentOut:
    """One of them."""
    return _out(consents.find(Library(account.id), consent_id))


@door.post("/consents/<int:consent_id>/revocation", gives=ConsentOut)
def consent_revoked(account: Account, consent_id: int) -> ConsentOut:
    """Revoke it: no new use, and nothing is delivered that is being made with it. Revoking twice is revoking once."""
    found = consents.find(Library(account.id), consent_id)
    consents.revoke(found)
    return _out(found)


@door.get("/consents/<int:consent_id>/assets", asks=PageAsked, gives=MadeWithOut)
def made_with_consent(account: Account, consent_id: int, asked: PageAsked) -> MadeWithOut:
    """What was made with it, and of that, newest first."""
    library = Library(account.id)
    found = consents.made_with(library, consents.find(library, consent_id), asked.cursor, asked.limit)
    return MadeWithOut(
        items=[AssetOut.of(each) for each in found.items], next_cursor=found.next_cursor, total=found.total
    )
