"""Indexes by which long lists are read without what others have

Revision: 0015
Revises: 0014
Made: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

LIVE = "trashed_at IS NULL AND deleting_at IS NULL"
MADE = {
    "ix_assets_newest": (["account_id", "kind", sa.text("(id + 0)")], [], LIVE),
    "ix_assets_shelf": (
        ["account_id", "collection_id", sa.text("(id + 0)")],
        [],
        f"{LIVE} AND expires_at IS NULL AND collection_id IS NOT NULL",
    ),
    "ix_assets_room": (["account_id"], ["size_bytes"], "deleting_at IS NULL"),
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        for name, (columns, include, where) in MADE.items():
            op.drop_index(name, "assets", if_exists=True, postgresql_concurrently=True)
            op.create_index(
                name,
                "assets",
                columns,
                postgresql_include=include or None,
                postgresql_where=sa.text(where),
                postgresql_concurrently=True,
            )
        op.drop_index("ix_assets_list", "assets", if_exists=True, postgresql_concurrently=True)
        op.execute("RESET lock_timeout")
        op.execute("RESET statement_timeout")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_assets_list",
            "assets",
            ["account_id", "kind", "id"],
            postgresql_where=sa.text(LIVE),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        for name in MADE:
            op.drop_index(name, "assets", if_exists=True, postgresql_concurrently=True)
