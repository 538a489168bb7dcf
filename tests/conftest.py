"""What every test may ask for: a real Postgres and Redis of its own, an application over them, and visitors."""

import contextvars
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy import Connection, Engine, create_engine, event, insert, select, text
from werkzeug.test import TestResponse

from novai_web import accounts, credits, db, jobs
from novai_web.accounts import Account, passwords
from novai_web.config import Settings
from novai_web.credits import invariants
from novai_web.embedded.servers import Addresses, running
from novai_web.engines.store import open_store
from novai_web.prices import Price
from novai_web.sandbox import started
from novai_web.web import limits
from tests.bells import come_home, connect_anew
from tests.installation import Installation

if TYPE_CHECKING:
    from playwright.sync_api import Browser
from tests.studio import Studio

ROOT = Path(__file__).parents[1]
CHROMIUM = "/usr/bin/chromium"
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PATIENCE_MS = 60_000
KEYS = ("FAL_KEY", "GEMINI_API_KEY", "WAVESPEED_API_KEY", "PICSI_KEY")
KEPT = ("alembic_version", "prices")
SEEDED: list[Any] = []  # the prices that the migrations write; every test finds them

for name in [name for name in os.environ if name.startswith(("NOVAI_", "SUPABASE_"))]:
    del os.environ[name]  # what the person at this machine has set is not what the tests are about
for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DAILY_COST_LIMIT_CENTS", *KEYS):
    os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What may take longest goes first, so that no core waits for another at the end. A module stays together."""
    longest: dict[Path, float] = {}
    for item in items:
        mark = item.get_closest_marker("timeout")
        longest[item.path] = max(longest.get(item.path, 0), mark.args[0] if mark else 0)
    items.sort(key=lambda item: -longest[item.path])


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """One Postgres and one Redis for each worker of pytest-xdist, started as the product starts its own."""
    with running(tmp_path_factory.mktemp("servers"), durable=False) as addresses:
        yield addresses


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """What `make run` starts, for the tests of one module."""
    made = Installation(tmp_path_factory.mktemp("installation"))
    made.start()
    yield made
    made.clear_away()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A real one. What is expected on a page may take a while there: the other tests are running too."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def settings(servers: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        _env_file=None,
        data=tmp_path_factory.mktemp("data"),
        database_url=servers.database_url,
        redis_url=servers.redis_url,
        secret_key="for tests only, and long enough to be one",
        disk_free_bytes_min=0,
        echo=True,
        password_rounds=1,
        password_memory_kib=32,
    )


@pytest.fixture(scope="session")
def database(settings: Settings) -> Iterator[Engine]:
    """The tables, made once by the migrations, seen from beside the application."""
    app = db.bare_app(settings)
    db.migrations(app, ROOT / "migrations")
    with app.app_context():
        upgrade()
        db.db.engine.dispose()
    engine = create_engine(settings.database_url)
    with engine.connect() as connection:
        SEEDED.extend(connection.execute(select(Price.__table__)).mappings().all())
    yield engine
    engine.dispose()


class Visitor(FlaskClient):
    """Each request has a context of its own, as in production, although the test holds one of the application's."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return contextvars.Context().run(super().open, *args, **kwargs)


@pytest.fixture(scope="session")
def the_app(settings: Settings, database: Engine) -> Flask:
    return _create_app(settings)


@pytest.fixture
def app(the_app: Flask, settings: Settings, database: Engine) -> Iterator[Flask]:
    """The application, in whose context the test runs. Afterwards its tables, its Redis and its files are empty."""
    come_home(settings)
    with the_app.app_context():
        yield the_app
        db.session.remove()
    _forget_everything(settings, database)


@pytest.fixture
def make_app(app: Flask, settings: Settings) -> Iterator[Callable[..., Flask]]:
    """`make_app(sign_up="open")`: another application over the same servers with other settings."""
    made: list[Flask] = []
    counting = dict(vars(limits.limiter))  # it and Celery are one for the process, and follow the application made last

    def make(**changes: Any) -> Flask:
        its = settings.model_copy(update=changes)
        made.append(_create_app(its))
        connect_anew(its)
        return made[-1]

    yield make
    vars(limits.limiter).update(counting)
    connect_anew(settings)
    for other in made:
        with other.app_context():
            db.db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def _create_app(settings: Settings) -> Flask:
    """Imported here, so that tests of the engines neither wait for the doors nor fall with them."""
    from novai_web.app import create_app

    app = create_app(settings)
    app.testing = True
    app.test_client_class = Visitor
    return app


def _forget_everything(settings: Settings, database: Engine) -> None:
    """Ids go on counting, so that a test which mixes up two kinds of them does not pass by luck."""
    with database.begin() as connection:
        tables = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        filled = [table for table in tables if table not in KEPT and _has_rows(connection, table)]
        if filled:
            connection.execute(text(f"TRUNCATE {', '.join(filled)}, prices CASCADE"))
            connection.execute(insert(Price.__table__), SEEDED)
    redis.Redis.from_url(settings.redis_url).flushdb()
    for folder in (settings.files_folder, settings.scratch_folder, settings.uploads_folder, settings.arriving_folder):
        _empty(folder)


def _has_rows(connection: Connection, table: str) -> bool:
    return bool(connection.scalar(text(f"SELECT EXISTS (SELECT 1 FROM {table})")))


def _empty(folder: Path) -> None:
    for path in folder.glob("*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def queries() -> Callable[[], AbstractContextManager[list[str]]]:
    """`with queries() as said:` collects what the database is asked: a longer list must not ask more."""

    @contextmanager
    def counted() -> Iterator[list[str]]:
        said: list[str] = []

        def hear(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            said.append(statement)

        event.listen(Engine, "before_cursor_execute", hear)
        try:
            yield said
        finally:
            event.remove(Engine, "before_cursor_execute", hear)

    return counted


# --- People: Alice owns, Bob is a stranger, Charlie is an administrator. -------------------------------------------


@pytest.fixture
def alice(app: Flask, settings: Settings) -> Account:
    return _person("alice@example.com", "Alice Owner", "user", settings)


@pytest.fixture
def bob(app: Flask, settings: Settings) -> Account:
    return _person("bob@example.com", "Bob Stranger", "user", settings)


@pytest.fixture
def charlie(app: Flask, settings: Settings) -> Account:
    return _person("charlie@example.com", "Charlie Admin", "admin", settings)


@pytest.fixture
def sign_in(settings: Settings) -> Callable[[FlaskClient, Account], None]:
    """`sign_in(client, alice)`: a session as the sign-in page makes it, and the CSRF token that our scripts send."""

    def sign_in(client: FlaskClient, account: Account) -> None:
        with client.session_transaction() as cookie:
            cookie.clear()
            cookie.permanent = True
            cookie.update(_user_id=f"{account.id}.{account.session_version}", _fresh=True, csrf_token="c" * 40)
        token = URLSafeTimedSerializer(settings.secret, salt="wtf-csrf-token").dumps("c" * 40)
        client.environ_base["HTTP_X_CSRFTOKEN"] = token

    return sign_in


@pytest.fixture
def bearer(settings: Settings) -> Callable[[Account], dict[str, str]]:
    """`bearer(alice)`: the header of a request to the API in her name."""

    def bearer(account: Account) -> dict[str, str]:
        with db.transaction():
            return {"Authorization": f"Bearer {accounts.issue(account, settings).access}"}

    return bearer


@pytest.fixture
def as_alice(alice: Account, bearer: Callable[[Account], dict[str, str]]) -> dict[str, str]:
    return bearer(alice)


@pytest.fixture
def as_bob(bob: Account, bearer: Callable[[Account], dict[str, str]]) -> dict[str, str]:
    return bearer(bob)


# --- A studio of Alice's, whose paid tools work at the sandbox of all vendors ---------------------------------------


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the sandbox of all vendors is. A run takes a fifth of a second there."""
    with started("vendors", "--folder", tmp_path_factory.mktemp("sandbox"), "--seconds", "0.2") as url:
        yield url


@pytest.fixture
def studio(app: Flask, alice: Account, settings: Settings, address: str, tmp_path: Path) -> Iterator[Studio]:
    """Afterwards the vendors are well again, and no invariant is broken."""
    studio = Studio(app, alice, settings.model_copy(update={"sandbox_url": address}), tmp_path)
    yield studio
    studio.all_well_again()
    db.session.rollback()
    assert invariants.broken() == {}


@pytest.fixture
def work(app: Flask, settings: Settings) -> Callable[[], None]:
    """`work()`: do what the workers of both queues would, until nothing is due."""

    def until_idle() -> None:
        store = open_store(settings)
        while jobs.run_slice("io", store, settings) or jobs.run_slice("cpu", store, settings):
            pass

    return until_idle


PASSWORD = "correct horse battery"


def _person(email: str, name: str, role: str, settings: Settings) -> Account:
    with db.transaction():
        account = Account(email=email, name=name, role=role, password_hash=passwords.hashed(PASSWORD, settings))
        db.session.add(account)
        db.session.flush()
        credits.open_wallet(account, granted=settings.starting_credits)
    return account
