"""The circuit breaker: what all workers together remember of a vendor that fails, so that it is left in peace."""

import random
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from novai_web.db import Base, session, transaction

FAILURES_MAX = 5  # in a row
OPEN_SECONDS = 30
OPEN_SECONDS_MAX = 300
PROBE_SECONDS = 30  # a probe whose worker died does not keep the others waiting for longer


class VendorMemory(Base):
    """Failures in a row; until when nobody asks; and since when somebody tries whether it works again."""

    __tablename__ = "vendors"

    name: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    open_until: Mapped[datetime | None]
    probing_at: Mapped[datetime | None]


# No row of the UPDATE and one that is open: wait. A vendor that is not open, or not known, may be asked.
ADMIT = text("""
    WITH probe AS (
        UPDATE vendors SET probing_at = now()
        WHERE name = :name AND open_until <= now()
          AND (probing_at IS NULL OR probing_at < now() - make_interval(secs => :probe))
        RETURNING name
    )
    SELECT greatest(0, extract(epoch FROM open_until - now())) AS seconds FROM vendors
    WHERE name = :name AND open_until IS NOT NULL AND NOT EXISTS (SELECT 1 FROM probe)""")

FAIL = text("""
    INSERT INTO vendors AS known (name, failures) VALUES (:name, 1)
    ON CONFLICT (name) DO UPDATE SET failures = known.failures + 1, probing_at = NULL,
        open_until = CASE WHEN known.failures + 1 < :most THEN NULL ELSE now() + make_interval(secs =>
            least(:longest, :open * power(2, least(known.failures + 1 - :most, 20)))) END
    WHERE known.open_until IS NULL OR known.open_until <= now()""")

SUCCEED = text("""
    UPDATE vendors SET failures = 0, open_until = NULL, probing_at = NULL
    WHERE name = :name AND (failures > 0 OR open_until IS NOT NULL)""")


def seconds_to_wait(vendor: str) -> float:
    """0: ask it. Else how long to wait first, spread, so that not everybody is back in the second it opens."""
    with transaction():
        left = session.scalar(ADMIT, {"name": vendor, "probe": PROBE_SECONDS})
    return 0.0 if left is None else float(left) + random.uniform(1.0, OPEN_SECONDS)  # noqa: S311


def failed(vendor: str) -> None:
    """One more failure. Those that were under way when it opened do not count again."""
    most = {"most": FAILURES_MAX, "open": OPEN_SECONDS, "longest": OPEN_SECONDS_MAX}
    with transaction():
        session.execute(FAIL, {"name": vendor, **most})


def succeeded(vendor: str) -> None:
    with transaction():
        session.execute(SUCCEED, {"name": vendor})


@dataclass(frozen=True)
class Circuit:
    """How a vendor stands with us: failures in a row; the seconds for which nobody asks it; whether somebody tries."""

    failures: int = 0
    open_seconds: float = 0.0
    is_probed: bool = False


def standing() -> dict[str, Circuit]:
    """Every vendor that failed since it last worked, by name."""
    rows = session.execute(
        text("""
            SELECT name, failures, greatest(0, extract(epoch FROM open_until - now())) AS left_seconds,
                   open_until IS NOT NULL AND probing_at IS NOT NULL AS is_probed
            FROM vendors WHERE failures > 0 OR open_until IS NOT NULL""")
    )
    return {row.name: Circuit(row.failures, float(row.left_seconds or 0), row.is_probed) for row in rows}
