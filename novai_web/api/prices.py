"""What paid models cost, over JSON: in credits for everybody, in the vendor's dollars for administrators."""

from datetime import date

from pydantic import Field

from novai_web import prices
from novai_web.accounts import Account
from novai_web.api.door import Door, Shape
from novai_web.prices import Price
from novai_web.web import who

door = Door("prices")


class PriceOut(Shape):
    """What one model of one vendor costs."""

    vendor: str
    model: str
    unit: str = Field(description="What is counted, such as image, second or step.")
    per: int = Field(description="Units are billed in so many at once; those that were begun count.")
    minimum: int = Field(description="The fewest units that are billed.")
    credits: float = Field(description="For each `per` units. A whole job is rounded up to whole credits, once.")
    microusd: int | None = Field(description="What the vendor takes for them, in millionths of a US dollar; or null.")
    as_of: date
    source: str | None

    @classmethod
    def of(cls, price: Price, markup: float, *, is_admin: bool) -> "PriceOut":
        return cls(
            vendor=price.vendor,
            model=price.model,
            unit=price.unit,
            per=price.per,
            minimum=price.minimum,
            credits=round(price.microusd * markup / prices.MICROUSD_PER_CREDIT, 4),
            microusd=price.microusd if is_admin else None,
            as_of=price.as_of,
            source=price.source if is_admin else None,
        )


class PricesOut(Shape):
    items: list[PriceOut]


@door.get("/prices", gives=PricesOut)
def listed(account: Account) -> PricesOut:
    """What paid models cost. What vendors take for them is told to administrators only."""
    markup = who.settings().price_markup
    return PricesOut(items=[PriceOut.of(price, markup, is_admin=account.is_admin) for price in prices.listed()])
