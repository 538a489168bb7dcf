"""Rules that the database keeps, whoever writes to it

The ledger is append-only, and a job that is over stays as it ended.

Revision: 0002
Revises: 0001
Made: 2026-11-21
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE FUNCTION entries_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'entries are append-only: write an adjusting entry instead'; END $$""")
    op.execute("""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON entries
        FOR EACH ROW EXECUTE FUNCTION entries_are_append_only()""")
    op.execute("""
        CREATE FUNCTION an_end_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'job % is over (%) and cannot become %', OLD.id, OLD.state, NEW.state; END $$""")
    op.execute("""
        CREATE TRIGGER end_is_final BEFORE UPDATE OF state ON jobs FOR EACH ROW
        WHEN (OLD.state IN ('succeeded', 'failed', 'cancelled') AND NEW.state <> OLD.state)
        EXECUTE FUNCTION an_end_is_final()""")


def downgrade() -> None:
    op.execute("DROP TRIGGER end_is_final ON jobs")
    op.execute("DROP FUNCTION an_end_is_final()")
    op.execute("DROP TRIGGER append_only ON entries")
    op.execute("DROP FUNCTION entries_are_append_only()")
