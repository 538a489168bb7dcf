"""What vendors take for what they make, which vendor serves what, and what went wrong at each

The old code knows nothing of these tables and goes on beside them.

Revision: 0007
Revises: 0006
Made: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ESTIMATE = "An estimate on the safe side, for this vendor's price is not public. Put in what its bill says."
# vendor, model, unit, micro-dollars, for so many units, at least so many units, as of, source, note
SEED = (
    (
        "fal",
        "fal-ai/wan-22-image-trainer",
        "step",
        4_500,
        1,
        100,
        "2026-11-21",
        "https://fal.ai/models/fal-ai/wan-22-image-trainer/llms.txt",
        "",
    ),
    ("fal", "fal-ai/wan/v2.2-a14b/text-to-image/lora", "image", 50_000, 1, 1, "2026-11-21", "", ESTIMATE),
    ("fal", "half-moon-ai/ai-face-swap/faceswapvideo", "second", 30_000, 1, 5, "2026-11-21", "", ESTIMATE),
    (
        "gemini",
        "gemini-nano-banana-2.1",
        "image",
        33_600,
        1,
        1,
        "2026-11-21",
        "https://ai.google.dev/gemini-api/docs/pricing",
        "At 1K. What it reads, pictures and words, is less than a tenth of a cent more.",
    ),
    (
        "gemini",
        "gemini-3-pro-image",
        "image",
        134_000,
        1,
        1,
        "2026-11-21",
        "https://ai.google.dev/gemini-api/docs/pricing",
        "At 1K and 2K; about 240000 at 4K.",
    ),
    (
        "gemini",
        "gemini-3.1-flash-lite-image",
        "image",
        33_600,
        1,
        1,
        "2026-11-21",
        "https://ai.google.dev/gemini-api/docs/pricing",
        "",
    ),
    (
        "wavespeed",
        "wavespeed-ai/video-face-swap",
        "second",
        50_000,
        5,
        5,
        "2026-11-21",
        "https://wavespeed.ai/docs",
        "For each five seconds that were begun.",
    ),
    ("picsi", "inswapper_dax", "second", 30_000, 1, 5, "2026-11-21", "", ESTIMATE),
)


def upgrade() -> None:
    prices = op.create_table(
        "prices",
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("microusd", sa.BigInteger(), nullable=False),
        sa.Column("per", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("minimum", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("source", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("note", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_by_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("microusd >= 0", name=op.f("ck_prices_microusd")),
        sa.CheckConstraint("per > 0", name=op.f("ck_prices_per")),
        sa.CheckConstraint("minimum >= 0", name=op.f("ck_prices_minimum")),
        sa.ForeignKeyConstraint(["changed_by_id"], ["accounts.id"], name=op.f("fk_prices_changed_by_id")),
        sa.PrimaryKeyConstraint("vendor", "model", name=op.f("pk_prices")),
    )
    names = ("vendor", "model", "unit", "microusd", "per", "minimum", "as_of", "source", "note")
    op.execute(sa.insert(prices).values([_row(names, each) for each in SEED]))
    op.create_table(
        "vendor_choices",
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("chosen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("chosen_by_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["chosen_by_id"], ["accounts.id"], name=op.f("fk_vendor_choices_chosen_by_id")),
        sa.PrimaryKeyConstraint("engine", name=op.f("pk_vendor_choices")),
    )
    op.create_table(
        "vendor_errors",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_vendor_errors_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vendor_errors")),
    )
    op.create_index("ix_vendor_errors_newest", "vendor_errors", ["vendor", "id"])


def downgrade() -> None:
    op.drop_table("vendor_errors")
    op.drop_table("vendor_choices")
    op.drop_table("prices")


def _row(names: tuple[str, ...], values: tuple[object, ...]) -> dict[str, object]:
    """A day is bound as one, whatever the driver makes of text."""
    row = dict(zip(names, values, strict=True))
    return row | {"as_of": sa.cast(row["as_of"], sa.Date())}
