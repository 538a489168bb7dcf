"""What vendors take: one table that an administrator edits, and what people pay for it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, Date, ForeignKey, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from novai_web.accounts.models import Account
from novai_web.config import Settings
from novai_web.db import Base, now, session, short_read
from novai_web.errors import InvalidInput, NotFound, NovaiError

MICROUSD_PER_CREDIT = 10_000  # one credit is one US cent
MICROUSD_PER_DOLLAR = 1_000_000
DOLLARS_MAX = Decimal(10_000)
COUNT_MAX = 1_000_000
WORDS_MAX = 300
NAME_MAX = 200
PRICES_MAX = 500


class Price(Base):
    """What one vendor takes for one of its models: `microusd` for each `per` units that were begun, at least `minimum`
    units. `as_of` says when that was so, `source` where it stands. 1,000,000 microusd are one US dollar."""

    __tablename__ = "prices"
    __table_args__ = (
        CheckConstraint("microusd >= 0", name="microusd"),
        CheckConstraint("per > 0", name="per"),
        CheckConstraint("minimum >= 0", name="minimum"),
    )

    vendor: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    unit: Mapped[str]
    microusd: Mapped[int]
    per: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    minimum: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    as_of: Mapped[date] = mapped_column(Date)
    source: Mapped[str] = mapped_column(default="", server_default=text("''"))
    note: Mapped[str] = mapped_column(default="", server_default=text("''"))
    changed_at: Mapped[datetime | None]
    changed_by_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))

    @property
    def dollars(self) -> Decimal:
        return (Decimal(self.microusd) / MICROUSD_PER_DOLLAR).normalize()

    @property
    def unit_words(self) -> str:
        """What the dollars are for: "second", or "5 seconds begun"."""
        return self.unit if self.per == 1 else f"{self.per} {self.unit}s begun"

    def cost_microusd(self, quantity: float) -> int:
        """What the vendor takes for so many units."""
        return math.ceil(max(quantity, self.minimum, 0) / self.per) * self.microusd


class NoPrice(NovaiError):
    """Nobody knows what this costs at the vendor."""

    code = "no_price"
    status = 503
    title = "There is no price for this yet"

    def __init__(self, vendor: str, model: str) -> None:
        super().__init__(
            f"Nobody has said yet what {model} costs at {vendor}. Nothing was started; "
            "an administrator can add the price under Settings, Prices."
        )


@dataclass(frozen=True)
class Change:
    """A price as an administrator writes it down."""

    unit: str
    dollars: Decimal
    per: int
    minimum: int
    as_of: date
    source: str
    note: str


def find(vendor: str, model: str) -> Price:
    """Raises NoPrice."""
    query = select(Price).where(Price.vendor == vendor, Price.model == model)
    found = short_read(lambda: session.scalar(query.execution_options(populate_existing=True)))
    if found is None:
        raise NoPrice(vendor, model)
    return found


def cost_microusd(vendor: str, model: str, quantity: float) -> int:
    """What the vendor takes for so many units of this model, in millionths of a US dollar. Raises NoPrice."""
    return find(vendor, model).cost_microusd(quantity)


def credits(vendor: str, model: str, quantity: float, settings: Settings) -> int:
    """What a person pays for that: cost × markup, rounded up to whole credits. Raises NoPrice."""
    return charged(cost_microusd(vendor, model, quantity), settings)


def charged(microusd: int, settings: Settings) -> int:
    """The credits for what a vendor takes. Exact: 0.15 dollars at 1.5 are 23 credits wherever that is computed."""
    return math.ceil(Decimal(microusd) * Decimal(str(settings.price_markup)) / MICROUSD_PER_CREDIT)


def listed() -> Sequence[Price]:
    """Every price, by vendor and model."""
    return session.scalars(select(Price).order_by(Price.vendor, Price.model).limit(PRICES_MAX)).all()


def put(vendor: str, model: str, change: Change, *, by: Account) -> Price:
    """Set a price, whether there was one or not. Jobs that were submitted before keep theirs. Raises InvalidInput."""
    _check(vendor, model, change)
    values = {name: getattr(change, name) for name in ("unit", "per", "minimum", "as_of", "source", "note")}
    values |= {"microusd": int((change.dollars * MICROUSD_PER_DOLLAR).to_integral_value())}
    values |= {"changed_at": now(), "changed_by_id": by.id}
    row = insert(Price).values(vendor=vendor, model=model, **values)
    session.execute(row.on_conflict_do_update(index_elements=["vendor", "model"], set_=values))
    return session.get_one(Price, (vendor, model), populate_existing=True)


def find_one(vendor: str, model: str) -> Price:
    """For an administrator. Raises NotFound."""
    price = session.get(Price, (vendor, model))
    if price is None:
        raise NotFound
    return price


def remove(price: Price) -> None:
    """Take a price away: what needs it cannot be started any more."""
    session.delete(price)


def _check(vendor: str, model: str, change: Change) -> None:
    wrong: dict[str, str] = {}
    if not vendor:
        wrong["vendor"] = "Choose a vendor."
    if not model or len(model) > NAME_MAX or not model.isprintable() or " " in model:
        wrong["model"] = f"Enter the model's name as the vendor writes it, without blanks, at most {NAME_MAX} long."
    if not change.unit or len(change.unit) > 40 or not change.unit.isprintable():
        wrong["unit"] = "Enter what is counted, such as image, second or step."
    if not (change.dollars.is_finite() and 0 <= change.dollars <= DOLLARS_MAX):
        wrong["dollars"] = f"Enter US dollars from 0 to {DOLLARS_MAX:,}, such as 0.0045."
    if not 1 <= change.per <= COUNT_MAX:
        wrong["per"] = f"Enter a whole number from 1 to {COUNT_MAX:,}."
    if not 0 <= change.minimum <= COUNT_MAX:
        wrong["minimum"] = f"Enter a whole number from 0 to {COUNT_MAX:,}."
    if change.as_of > datetime.now(UTC).date():
        wrong["as_of"] = "Enter the day on which you read this price; it cannot be in the future."
    for name, said in (("source", change.source), ("note", change.note)):
        if len(said) > WORDS_MAX or not said.isprintable():
            wrong[name] = f"Use at most {WORDS_MAX} characters, in one line."
    if wrong:
        raise InvalidInput(wrong)
