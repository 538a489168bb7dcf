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
    "a succeeded job with a price has one capture": """
        SELECT j.id FROM jobs j WHERE j.state = 'succeeded' AND j.price > 0
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
        HAVING d.committed <> coalesce(sum(CASE h.state WHEN 'held' THEN h.amount ELSE h.captured END), 0)""",
    "the installation's day equals all holds and captures": """
        SELECT d.day, d.committed FROM daily_spend d LEFT JOIN holds h ON h.day = d.day
        WHERE d.account_id = 0 GROUP BY d.day, d.committed
        HAVING d.committed <> coalesce(sum(CASE h.state WHEN 'held' THEN h.amount ELSE h.captured END), 0)""",
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
}


def broken() -> dict[str, Sequence[Any]]:
    """The invariants that do not hold, each with the rows that break it. Empty when all is well."""
    found = {name: session.execute(text(query)).fetchall() for name, query in INVARIANTS.items()}
    return {name: rows for name, rows in found.items() if rows}
