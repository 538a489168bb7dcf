"""Credits that somebody moves by hand: who did it, why, and what was given back

The old code goes on beside this: the new columns are empty or have a default, and the constraint only allows more.

Revision: 0004
Revises: 0003
Made: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KINDS = "kind IN ('topup', 'grant', 'reserve', 'capture', 'release', 'adjust'{more})"


def upgrade() -> None:
    op.add_column("entries", sa.Column("by_id", sa.BigInteger(), nullable=True))
    op.add_column("entries", sa.Column("note", sa.Text(), nullable=True))
    op.create_foreign_key(op.f("fk_entries_by_id"), "entries", "accounts", ["by_id"], ["id"])
    _allow_kinds(KINDS.format(more=", 'refund'"))
    op.add_column("holds", sa.Column("refunded", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.create_check_constraint(op.f("ck_holds_refunded"), "holds", "refunded BETWEEN 0 AND captured")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_holds_refunded"), "holds", type_="check")
    op.drop_column("holds", "refunded")
    _allow_kinds(KINDS.format(more=""), postgresql_not_valid=True)  # what was given back stays written
    op.drop_constraint(op.f("fk_entries_by_id"), "entries", type_="foreignkey")
    op.drop_column("entries", "note")
    op.drop_column("entries", "by_id")


def _allow_kinds(rule: str, **how: bool) -> None:
    op.drop_constraint(op.f("ck_entries_kind"), "entries", type_="check")
    op.create_check_constraint(op.f("ck_entries_kind"), "entries", rule, **how)
