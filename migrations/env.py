"""Runs migrations on the application's own database, one at a time even when many processes start at once."""

import time

from alembic import context
from flask import current_app
from sqlalchemy import text

from novai_web.db import Base, db

# Any number will do, as long as every process of this product asks for the same one.
ONE_AT_A_TIME = 7_213_001


def run() -> None:
    with db.engine.connect() as connection:
        # Asked again and again, not waited for: an index that is built concurrently waits for every statement that
        # is under way, and one that itself waits for us would never end.
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": ONE_AT_A_TIME}):
            connection.rollback()
            time.sleep(0.2)
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
            **current_app.extensions["migrate"].configure_args,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
