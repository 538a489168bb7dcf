"""Indexes for a claim that knows limits: lanes of jobs instead of turns, what has begun, what began when

The old code's claim is slower without its index, and goes on. Built CONCURRENTLY, outside of any transaction; what a
killed attempt left behind, which is an index nobody may use, is taken away first.

Revision: 0006
Revises: 0005
Made: 2026-11-21
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OPEN = "state IN ('queued', 'waiting', 'running')"


def upgrade() -> None:
    with _patiently():
        _build(
            "ix_jobs_lanes",
            ["queue", "account_id", sa.text("(started_at IS NULL)"), "tool_slug", *_order()],
            where=OPEN,
        )
        _build("ix_jobs_begun", ["tool_slug", "account_id"], where=f"started_at IS NOT NULL AND {OPEN}")
        _build("ix_jobs_starts", ["tool_slug", "started_at"], where="started_at IS NOT NULL")
        _drop("ix_jobs_turns")


def downgrade() -> None:
    with _patiently():
        _build("ix_jobs_turns", ["queue", "account_id", *_order()], where=OPEN)
        for name in ("ix_jobs_lanes", "ix_jobs_begun", "ix_jobs_starts"):
            _drop(name)


@contextmanager
def _patiently() -> Iterator[None]:
    """Building waits for every older transaction, and takes as long as the table is large."""
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        yield
        op.execute("RESET statement_timeout")
        op.execute("RESET lock_timeout")


def _order() -> list[str | sa.TextClause]:
    return [sa.text("priority DESC"), "run_at", "id"]


def _build(name: str, columns: list[str | sa.TextClause], *, where: str) -> None:
    _drop(name)
    op.create_index(name, "jobs", columns, postgresql_where=sa.text(where), postgresql_concurrently=True)


def _drop(name: str) -> None:
    op.drop_index(name, table_name="jobs", if_exists=True, postgresql_concurrently=True)
