"""What must hold of money and jobs at every moment: queries that return no rows."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from novai_web.db import session

INVARIANTS = {
    "a wallet equals the sum of its entries": """
        SELECT w.account_id, w.available, w.held, sum(e.delta_available) AS entries_available, sum(e.delta_held)
        FROM wallets w LEFT JOIN entries e USING (account_id) GROUP BY w.account_id, w.available, w.held
        HAVING w.available <> coalesce(sum(e.delta_available), 0) OR w.held <> coalesce(sum(e.delta_held), 0)""",
    "held credits equal the open holds": """
        SELECT w.account_id, w.held, coalesce(sum(h.amount), 0) AS open
        FROM wallets w LEFT JOIN holds h ON h.account_id = w.account_id AND h.state = 'held'
        GROUP BY w.account_id, w.held HAVING w.held <> coalesce(sum(h.amount), 0)""",
    # The share of a price that was delivered is rounded down, to nothing if need be.
    "a succeeded job with a price has one capture": """
        SELECT j.id FROM jobs j WHERE j.state = 'succeeded' AND j.price > 0
        AND (j.promised = 0 OR j.price * j.delivered / j.promised > 0)
        AND NOT EXISTS (SELECT 1 FROM holds h WHERE h.job_id = j.id AND h.state = 'captured')""",
    "nothing is captured for a job that did not succeed": """
        SELECT h.job_id FROM holds h JOIN jobs j ON j.id = h.job_id
        WHERE h.captured > 0 AND j.state <> 'succeeded'""",
    "no job is over with an open hold": """
        SELECT h.job_id FROM holds h JOIN jobs j ON j.id = h.job_id
        WHERE h.state = 'held' AND j.state IN ('succeeded', 'failed', 'cancelled')""",
    "an account's day equals its holds and captures": """
        SELECT d.account_id, d.day, d.committed FROM daily_spend d LEFT JOIN holds h
        ON h.day = d.day AND h.account_id = d.account_id
        WHERE d.account_id <> 0 GROUP BY d.account_id, d.day, d.committed
        HAVING d.committed <> coalesce(
            sum(CASE h.state WHEN 'held' THEN h.amount ELSE h.captured - h.refunded END), 0)""",
    "the installation's day equals all holds and captures": """
        SELECT d.day, d.committed FROM daily_spend d LEFT JOIN holds h ON h.day = d.day
        WHERE d.account_id = 0 GROUP BY d.day, d.committed
        HAVING d.committed <> coalesce(
            sum(CASE h.state WHEN 'held' THEN h.amount ELSE h.captured - h.refunded END), 0)""",
    "a job is charged what was captured for it": """
        SELECT j.id, j.charged, h.captured FROM jobs j LEFT JOIN holds h ON h.job_id = j.id
        WHERE j.charged <> coalesce(h.captured, 0)""",
    "what was given back has its entry": """
        SELECT h.job_id, h.refunded FROM holds h
        LEFT JOIN entries e ON e.job_id = h.job_id AND e.kind = 'refund'
        WHERE h.refunded <> coalesce(e.delta_available, 0)""",
    "a ready asset has a hash and a file": """
        SELECT id FROM assets WHERE status = 'ready' AND (sha256 IS NULL OR store_key IS NULL)""",
    "a job has delivered as many outputs as it says": """
        SELECT j.id, j.delivered FROM jobs j LEFT JOIN outputs o ON o.job_id = j.id AND o.state IN ('done', 'expired')
        GROUP BY j.id HAVING j.delivered <> count(o.id)""",
    "no job is over with an output to come": """
        SELECT o.id FROM outputs o JOIN jobs j ON j.id = o.job_id
        WHERE o.state = 'pending' AND j.state IN ('succeeded', 'failed', 'cancelled')""",
    "a batch has as many outputs as it promised": """
        SELECT b.id FROM batches b LEFT JOIN outputs o ON o.batch_id = b.id
        GROUP BY b.id HAVING b.promised <> count(o.id)""",
    "a delivered output belongs to one asset": """
        SELECT asset_id FROM outputs WHERE asset_id IS NOT NULL GROUP BY asset_id HAVING count(*) > 1""",
    "no run is open for a job that is over": """
        SELECT r.id, r.job_id, r.state FROM runs r JOIN jobs j ON j.id = r.job_id
        WHERE r.state IN ('submitting', 'running') AND j.state IN ('succeeded', 'failed', 'cancelled')""",
    "a job has at most one run that is paid for each request": """
        SELECT job_id, request FROM runs WHERE state = 'done' AND NOT booked_to_house
        GROUP BY job_id, request HAVING count(*) > 1""",
    "what a vendor did for a job that delivered nothing is the house's cost": """
        SELECT r.id, r.job_id FROM runs r JOIN jobs j ON j.id = r.job_id
        WHERE r.state = 'done' AND NOT r.booked_to_house AND j.promised > 0 AND j.delivered = 0
        AND j.state IN ('succeeded', 'failed', 'cancelled')""",
    # A lease that ran out long ago is no fault as long as no worker of its queue was there to take the job over.
    "no running job is two leases old while workers are at work": """
        SELECT j.id, j.lease_until FROM jobs j
        WHERE j.state = 'running' AND j.lease_until < now() - interval '60 seconds' AND EXISTS (
            SELECT 1 FROM jobs k WHERE k.queue = j.queue AND k.heard_at > j.lease_until + interval '60 seconds')""",
    "what is committed of a day is within its limit": """
        SELECT account_id, day, committed, cap FROM daily_spend WHERE committed > cap""",
}


def broken() -> dict[str, Sequence[Any]]:
    """The invariants that do not hold, each with the rows that break it. Empty when all is well."""
    found = {name: session.execute(text(query)).fetchall() for name, query in INVARIANTS.items()}
    return {name: rows for name, rows in found.items() if rows}
