"""Models and diagrams in the library: another kind and another type, captions, and what vendors hold already

The old code goes on beside this: the rules only allow more, the new column is empty, and nobody misses the new table.
The rules are checked for what is there already in a second step, so that nobody waits for the whole table to be read.

Revision: 0009
Revises: 0008
Made: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

KIND = "kind IN ('video', 'audio', 'image'{more})"
TYPE = "type IN ('source', 'swapped', 'variant', 'generated'{more})"


def upgrade() -> None:
    _allow("kind", KIND.format(more=", 'model'"))
    _allow("type", TYPE.format(more=", 'diagram'"))
    op.add_column("assets", sa.Column("caption", sa.Text(), nullable=True))
    op.create_table(
        "sent_files",
        sa.Column("asset_id", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name=op.f("fk_sent_files_asset_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("asset_id", "part", "vendor", name=op.f("pk_sent_files")),
    )


def downgrade() -> None:
    op.drop_table("sent_files")
    op.drop_column("assets", "caption")
    _allow("type", TYPE.format(more=""), is_checked=False)  # models and diagrams stay written
    _allow("kind", KIND.format(more=""), is_checked=False)


def _allow(column: str, rule: str, *, is_checked: bool = True) -> None:
    name = op.f(f"ck_assets_{column}")
    op.drop_constraint(name, "assets", type_="check")
    op.create_check_constraint(name, "assets", rule, postgresql_not_valid=True)
    if is_checked:
        op.execute(f"ALTER TABLE assets VALIDATE CONSTRAINT {name}")
