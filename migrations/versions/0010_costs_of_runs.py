"""What a run cost the house, with which model, and whether the sandbox made it

New columns that are empty or false: the old code writes rows without them.

Revision: 0010
Revises: 0009
Made: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("model", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("runs", sa.Column("cost_microusd", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("is_sandbox", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("jobs", sa.Column("is_sandbox", sa.Boolean(), server_default=sa.text("false"), nullable=False))


def downgrade() -> None:
    op.drop_column("jobs", "is_sandbox")
    op.drop_column("runs", "is_sandbox")
    op.drop_column("runs", "cost_microusd")
    op.drop_column("runs", "model")
