"""An index of the names in each library, from which a search is answered without the table

Built beside the running application, and dropped first in case such a build was broken off.

Revision: 0011
Revises: 0010
Made: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

NAME = "ix_assets_search"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        op.drop_index(NAME, "assets", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            NAME,
            "assets",
            ["account_id", "kind", "id"],
            postgresql_include=["type", "name"],
            postgresql_where=sa.text("trashed_at IS NULL AND deleting_at IS NULL AND expires_at IS NULL"),
            postgresql_concurrently=True,
        )
        op.execute("RESET lock_timeout")
        op.execute("RESET statement_timeout")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(NAME, "assets", if_exists=True, postgresql_concurrently=True)
