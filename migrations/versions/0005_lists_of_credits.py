"""Indexes of the lists of credits: entries by kind, entries by day, an account's holds by day, accounts by name

Built beside the running application. What such a build leaves behind when it is broken off is an invalid index,
so each is dropped first; and it waits for whoever is reading, as long as that takes.

Revision: 0005
Revises: 0004
Made: 2026-11-21
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

FRESH: tuple[tuple[str, str, list[Any]], ...] = (
    ("ix_entries_account_id_kind_id", "entries", ["account_id", "kind", "id"]),
    ("ix_entries_at_id", "entries", ["at", "id"]),
    ("ix_holds_account_id_day", "holds", ["account_id", "day"]),
    ("ix_accounts_name", "accounts", [sa.text("lower(name)"), "id"]),
)
# Its place is taken by the one that has the day as well.
OLD: tuple[tuple[str, str, list[Any]], ...] = (("ix_holds_account_id", "holds", ["account_id"]),)


def upgrade() -> None:
    _exchange(FRESH, OLD)


def downgrade() -> None:
    _exchange(OLD, FRESH)


def _exchange(fresh: tuple[tuple[str, str, list[Any]], ...], old: tuple[tuple[str, str, list[Any]], ...]) -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        for name, table, columns in fresh:
            op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
            op.create_index(name, table, columns, postgresql_concurrently=True)
        for name, table, _ in old:
            op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.execute("RESET lock_timeout")
        op.execute("RESET statement_timeout")
