"""Bells are counted, not remembered; a job knows that it was tried again; what is open or gone is found at once

Revision: 0003
Revises: 0002
Made: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OPEN = sa.text("state IN ('queued', 'waiting', 'running')")
GONE = sa.text("state = 'done' AND asset_id IS NULL")


def upgrade() -> None:
    op.drop_column("jobs", "rung_at")
    op.add_column("jobs", sa.Column("is_retried", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute("UPDATE jobs SET is_retried = true WHERE id IN (SELECT retry_of_id FROM jobs)")
    op.create_index("ix_jobs_open", "jobs", ["account_id"], postgresql_where=OPEN)
    op.create_index("ix_outputs_gone", "outputs", ["id"], postgresql_where=GONE)


def downgrade() -> None:
    op.drop_index("ix_outputs_gone", "outputs")
    op.drop_index("ix_jobs_open", "jobs")
    op.drop_column("jobs", "is_retried")
    op.add_column("jobs", sa.Column("rung_at", sa.DateTime(timezone=True), nullable=True))
