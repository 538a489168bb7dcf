"""What vendors took for nothing is found by its day

Revision: 0016
Revises: 0015
Made: 2026-11-22
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        op.drop_index("ix_runs_house", "runs", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            "ix_runs_house",
            "runs",
            ["created_at"],
            postgresql_where=sa.text("booked_to_house"),
            postgresql_concurrently=True,
        )
        op.execute("RESET lock_timeout")
        op.execute("RESET statement_timeout")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index("ix_runs_house", "runs", if_exists=True, postgresql_concurrently=True)
