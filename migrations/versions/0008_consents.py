"""Consents, and the index that finds what was made with one

A new table, and an index on assets that nothing but the list of a consent's assets uses; it is built in a migration
of its own kind, CONCURRENTLY and outside of any transaction.

Revision: 0008
Revises: 0007
Made: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

CONSENT = sa.text("((recipe -> 'consent') ->> 'id')")


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("is_synthetic", sa.Boolean(), nullable=False),
        sa.Column("purposes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_consents_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consents")),
    )
    op.create_index("ix_consents_list", "consents", ["account_id", "id"])
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        _drop()
        op.create_index(
            "ix_assets_consent",
            "assets",
            ["account_id", CONSENT],
            postgresql_where=sa.text("recipe ? 'consent'"),
            postgresql_concurrently=True,
        )
        op.execute("RESET statement_timeout")
        op.execute("RESET lock_timeout")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        _drop()
    op.drop_table("consents")


def _drop() -> None:
    op.drop_index("ix_assets_consent", table_name="assets", if_exists=True, postgresql_concurrently=True)
