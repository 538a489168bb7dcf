"""Bills: what vendors took against what people were charged for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import text

from novai_web.credits import Lost
from novai_web.db import session
from novai_web.prices import MICROUSD_PER_CREDIT

DAYS = 30
DAYS_MAX = 365

# A run is billed when it gave a result, and whenever it is the house's to pay. A job's charge, without what was paid
# back, is divided among its billed runs by what each of them cost.
BILLED = text("""
    WITH billed AS (
        SELECT job_id, vendor, model, is_sandbox, booked_to_house, cost_microusd,
               coalesce(cost_microusd, 0)::numeric AS cost
        FROM runs
        WHERE (state = 'done' OR booked_to_house) AND created_at >= now() - make_interval(days => :days)
    ), shared AS (
        SELECT *, CASE WHEN sum(cost) OVER job > 0 THEN cost / sum(cost) OVER job
                       ELSE 1.0 / count(*) OVER job END AS share
        FROM billed WINDOW job AS (PARTITION BY job_id)
    )
    SELECT s.vendor, s.model, s.is_sandbox, count(*) AS runs,
           sum(s.cost)::bigint AS microusd,
           coalesce(sum(s.cost) FILTER (WHERE s.booked_to_house), 0)::bigint AS house_microusd,
           count(*) FILTER (WHERE s.booked_to_house) AS house_runs,
           count(*) FILTER (WHERE s.cost_microusd IS NULL) AS unknown,
           coalesce(sum(s.share * (h.captured - h.refunded)), 0) AS charged
    FROM shared s LEFT JOIN holds h ON h.job_id = s.job_id
    GROUP BY s.vendor, s.model, s.is_sandbox ORDER BY s.is_sandbox, s.vendor, s.model""")


@dataclass(frozen=True)
class Bill:
    """What one model of one vendor took over some days, and what people were charged for it.

    `microusd` holds what the house paid for nothing, too; `unknown` runs have no known cost and count as nothing.
    """

    vendor: str
    model: str
    is_sandbox: bool
    runs: int
    microusd: int
    house_microusd: int
    house_runs: int
    unknown: int
    charged: Decimal

    @property
    def margin_credits(self) -> Decimal:
        """What is left of the charge when the vendor is paid, in credits, which are US cents."""
        return self.charged - Decimal(self.microusd) / MICROUSD_PER_CREDIT


def of_last_days(days: int = DAYS) -> Sequence[Bill]:
    """A line for each vendor and model that was paid in that time; those of the sandbox come last."""
    rows = session.execute(BILLED, {"days": min(max(days, 1), DAYS_MAX)}).mappings()
    return [Bill(**row) for row in rows]


# By the database's day, as all limits are. What the sandbox would bill costs nobody anything.
LOST = text("""
    SELECT ceil(coalesce(sum(r.cost), 0) / :credit) AS everybodys,
           ceil(coalesce(sum(r.cost) FILTER (WHERE j.account_id = :account), 0) / :credit) AS own
    FROM (SELECT job_id, coalesce(cost_microusd, cost_credits * :credit)::numeric AS cost FROM runs
          WHERE booked_to_house AND NOT is_sandbox AND created_at >= current_date) AS r
    JOIN jobs j ON j.id = r.job_id""")


def lost_today(account_id: int) -> Lost:
    """What vendors took today for nothing that anybody was given: whoever starts dear runs and cancels them is not
    charged, and yet comes to the limits of the day."""
    row = session.execute(LOST, {"account": account_id, "credit": MICROUSD_PER_CREDIT}).one()
    return Lost(int(row.own), int(row.everybodys))


def total(bills: Sequence[Bill], *, is_sandbox: bool = False) -> Bill:
    """All of them that are real, or all of the sandbox, as one line."""
    ours = [bill for bill in bills if bill.is_sandbox == is_sandbox]
    return Bill(
        vendor="",
        model="",
        is_sandbox=is_sandbox,
        runs=sum(bill.runs for bill in ours),
        microusd=sum(bill.microusd for bill in ours),
        house_microusd=sum(bill.house_microusd for bill in ours),
        house_runs=sum(bill.house_runs for bill in ours),
        unknown=sum(bill.unknown for bill in ours),
        charged=sum((bill.charged for bill in ours), Decimal(0)),
    )
