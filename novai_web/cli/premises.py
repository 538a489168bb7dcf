"""Where a command works: the installation that runs on this machine or that the settings name.

When `make run` is not running and no database is named, its servers are started for the command alone.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy.exc import OperationalError

from novai_web import db
from novai_web.config import Settings
from novai_web.embedded import folder, servers
from novai_web.engines.store import Store, open_store
from novai_web.errors import NovaiError
from novai_web.operations import schema
from novai_web.web import who


@contextmanager
def entered() -> Iterator[tuple[Settings, Store]]:
    """The settings and the store, in the context of a database that runs. What goes wrong is said in a sentence."""
    os.umask(0o077)  # whatever is written here holds what belongs to people
    try:
        with _running(who.settings()) as settings:
            yield settings, open_store(settings)
    except NovaiError as error:
        raise click.ClickException(str(error)) from None
    except OperationalError:
        raise click.ClickException(
            "The database does not answer. Start Postgres, check DATABASE_URL, and see `flask doctor`."
        ) from None


@contextmanager
def _running(settings: Settings) -> Iterator[Settings]:
    if settings.database_url:
        yield settings
        return
    data = settings.data.absolute()
    with folder.claimed(data), servers.running(data) as addresses:
        own = {"database_url": addresses.database_url, "redis_url": settings.redis_url or addresses.redis_url}
        settings = settings.model_copy(update=own)
        app = db.bare_app(settings)
        db.migrations(app, schema.FOLDER)
        with app.app_context():
            try:
                yield settings
            finally:
                db.session.remove()
                db.db.engine.dispose()
