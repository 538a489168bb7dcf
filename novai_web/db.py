"""The database: its session, its transactions, and what may wait for a commit."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import structlog
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import BigInteger, DateTime, Identity, MetaData, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column, scoped_session
from sqlalchemy.sql.functions import Function

from novai_web import failpoints
from novai_web.config import Settings

log = structlog.get_logger()

Json = dict[str, Any]
Read = TypeVar("Read")
Id = Annotated[int, mapped_column(BigInteger, Identity(), primary_key=True)]


class Base(DeclarativeBase):
    """What every table shares: text without a length, times with a zone, JSON as JSONB, named constraints."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        str: Text,
        datetime: DateTime(timezone=True),
        Json: JSONB,
        list[str]: ARRAY(Text),
    }
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


db = SQLAlchemy(metadata=Base.metadata, session_options={"expire_on_commit": False})
session: scoped_session[Session] = db.session  # type: ignore[assignment]


def connect(app: Flask, settings: Settings) -> None:
    """Give `app` its database. UTC everywhere, and no statement or lock may wait for ever."""
    # Without an address the application still loads, for what needs no database; asking it is then refused.
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url or "postgresql+psycopg://no-database-is-set.invalid"
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "pool_pre_ping": True,
        "pool_size": 10,
        "max_overflow": 10,
        "pool_timeout": 10,
        "connect_args": {
            "connect_timeout": 5,
            "options": "-c timezone=UTC -c statement_timeout=60s -c lock_timeout=20s "
            "-c idle_in_transaction_session_timeout=120s",
        },
    }
    db.init_app(app)
    app.teardown_appcontext(_let_go)  # before Flask-SQLAlchemy's own, which then finds nothing to do
    failpoints.tear_with(_tear_connection)


def _let_go(_: BaseException | None) -> None:
    """End the session. What had to be written is: a database that goes away now spoils no answer that is ready."""
    try:
        session.remove()
    except SQLAlchemyError as problem:
        log.warning("database_away", problem=type(problem).__name__)
        session.registry.clear()  # its connection is marked as lost, and never used again


def _tear_connection() -> None:
    """As when the network to the database is gone: this thread's next statement fails, and nothing is said goodbye."""
    connection = session().connection().connection.driver_connection
    with socket.socket(fileno=os.dup(connection.fileno())) as line:  # type: ignore[union-attr]
        line.shutdown(socket.SHUT_RDWR)


def bare_app(settings: Settings) -> Flask:
    """An application that knows the database and nothing of HTTP: what workers and the dispatcher stand on."""
    app = Flask("novai")
    connect(app, settings)
    return app


@contextmanager
def transaction() -> Iterator[Session]:
    """Commit on the way out, roll back if anything is raised. Only doors and `jobs` open one."""
    current = session()
    try:
        yield current
        current.commit()
    except BaseException:
        current.info.pop("after_commit", None)
        current.rollback()
        raise
    for call in current.info.pop("after_commit", []):
        call()


def short_read(read: Callable[[], Read]) -> Read:
    """What `read` finds, in the transaction that is open; if none is, none is left open behind it.

    For what a running step looks up: it may go on for minutes, and a transaction must not stay idle for so long.
    """
    current = session()
    was_open = current.in_transaction()
    try:
        return read()
    finally:
        if not was_open and current.in_transaction():
            current.commit()  # nothing was written; a rollback would forget what the objects at hand were loaded with


def after_commit(call: Callable[[], object]) -> None:
    """Run `call` once what we have written is visible to others, and never if it is not."""
    session().info.setdefault("after_commit", []).append(call)


def now() -> Function[datetime]:
    """The database's clock, the only one that rules leases, expiry and days."""
    return func.clock_timestamp(type_=DateTime(timezone=True))


def migrations(app: Flask, folder: Path) -> None:
    """Let `flask db` find the migrations of this database."""
    Migrate(app, db, directory=str(folder), compare_type=True)
