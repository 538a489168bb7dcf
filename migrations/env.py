"""Runs migrations on the application's own database, one at a time even when many processes start at once."""

from alembic import context
from flask import current_app
from sqlalchemy import text

from novai_web.db import Base, db

# Any number will do, as long as every process of this product asks for the same one.
ONE_AT_A_TIME = 7_213_001


def run() -> None:
    with db.engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ONE_AT_A_TIME})
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            **current_app.extensions["migrate"].configure_args,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
