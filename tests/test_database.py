"""The database as the application holds it."""

from sqlalchemy import Engine, text

from novai_web import db
from novai_web.config import Settings


def test_a_database_that_goes_away_when_the_answer_is_ready_spoils_neither_it_nor_the_next(
    settings: Settings, database: Engine
) -> None:
    app = db.bare_app(settings)
    with app.app_context():
        own = db.session.scalar(text("SELECT pg_backend_pid()"))
        with database.connect() as other:
            assert other.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": own})
    with app.app_context():
        assert db.session.scalar(text("SELECT pg_backend_pid()")) != own
        assert db.db.engine.pool.checkedout() == 1  # type: ignore[attr-defined]
        db.db.engine.dispose()
