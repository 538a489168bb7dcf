"""Paid runs at vendors, and what is remembered of a vendor that fails

Revision: 0003
Revises: 0002
Made: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("marker", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cost_credits", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("booked_to_house", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("posted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('submitting', 'running', 'done', 'failed', 'not_started', 'cancelled', 'abandoned')",
            name=op.f("ck_runs_state"),
        ),
        sa.CheckConstraint("state <> 'running' OR external_id IS NOT NULL", name=op.f("ck_runs_running_has_an_id")),
        sa.CheckConstraint("cost_credits >= 0", name=op.f("ck_runs_cost_credits")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_runs_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("marker", name=op.f("uq_runs_marker")),
    )
    op.create_index("uq_runs_job_n", "runs", ["job_id", "n"], unique=True)
    op.create_index("uq_runs_external", "runs", ["vendor", "external_id"], unique=True)
    op.create_index(
        "one_open_run", "runs", ["job_id"], unique=True, postgresql_where=sa.text("state IN ('submitting', 'running')")
    )
    op.create_index("ix_runs_abandoned", "runs", ["vendor", "id"], postgresql_where=sa.text("state = 'abandoned'"))
    op.create_table(
        "vendors",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("open_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("probing_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_vendors")),
    )
    op.add_column("jobs", sa.Column("doubtful_since", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "doubtful_since")
    op.drop_table("vendors")
    op.drop_table("runs")
