"""Charts that the server draws: where each bar stands, in the units of its picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from novai_web.credits.reports import Day

SLOT = 10.0
GAP = 2.0
HEIGHT = 100.0
# Where a scale may end, and so on with a nought more.
ROUND = (10, 15, 20, 25, 30, 40, 50, 60, 80, 100)
# A bar that stands for something is never too low to be seen.
BAR_HEIGHT_MIN = 2.0


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    day: date
    credits: int


@dataclass(frozen=True)
class Chart:
    """Bars by day under a round number `top`, which the highest of them does not pass."""

    bars: Sequence[Bar]
    top: int
    width: float
    height: float

    @property
    def total(self) -> int:
        return sum(bar.credits for bar in self.bars)

    @property
    def highest(self) -> Bar:
        return max(self.bars, key=lambda bar: bar.credits)


def by_day(days: Sequence[Day]) -> Chart:
    """A bar for each day, in the order given."""
    top = round_above(max((each.credits for each in days), default=0))
    bars = [_bar(n, each, top) for n, each in enumerate(days)]
    return Chart(bars, top, SLOT * len(days), HEIGHT)


def round_above(most: int) -> int:
    """The lowest round number that is not below `most`, so that the highest bar fills most of the picture."""
    if most <= ROUND[0]:
        return max(1, most)
    scale = 1
    while ROUND[-1] * scale < most:
        scale *= 10
    return next(step * scale for step in ROUND if step * scale >= most)


def _bar(n: int, each: Day, top: int) -> Bar:
    height = max(HEIGHT * each.credits / top, BAR_HEIGHT_MIN) if each.credits else 0.0
    return Bar(n * SLOT + GAP / 2, round(HEIGHT - height, 2), SLOT - GAP, round(height, 2), each.day, each.credits)
