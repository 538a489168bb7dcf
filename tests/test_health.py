"""Whether the process is alive, whether the installation is ready, and what to do when it is not."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from novai_web import presence
from novai_web.config import Settings


@pytest.fixture
def workers(app: Flask, settings: Settings) -> None:
    for kind in presence.KINDS:
        presence.say(kind, settings)


def missing(client: FlaskClient) -> dict[str, Any]:
    """The checks that fail, by name, each with its remedy."""
    answer = client.get("/ready")
    body = answer.get_json()
    failing = {check["name"]: check["remedy"] for check in body["checks"] if not check["ok"]}
    assert answer.status_code == (503 if failing else 200)
    assert body["status"] == ("not ready" if failing else "ready")
    return failing


def test_it_is_ready_when_everything_is_there(client: FlaskClient, workers: None) -> None:
    assert missing(client) == {}


def test_it_is_alive_and_says_so_even_on_a_fresh_installation(client: FlaskClient) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "alive"})
    assert "Set-Cookie" not in answer.headers


def test_without_a_database_it_is_alive_but_not_ready(make_app: Callable[..., Flask], workers: None) -> None:
    client = make_app(database_url="postgresql+psycopg://nobody@127.0.0.1:1/none").test_client()
    assert client.get("/health").status_code == 200
    failing = missing(client)
    assert list(failing) == ["database"]
    assert "DATABASE_URL" in failing["database"]


def test_before_the_migrations_have_run_it_is_not_ready(client: FlaskClient, workers: None, database: Engine) -> None:
    with database.begin() as connection:
        newest = connection.scalar(text("SELECT version_num FROM alembic_version"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    try:
        assert "flask db upgrade" in missing(client)["database"]
    finally:
        with database.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :newest"), {"newest": newest})


def test_without_redis_it_is_not_ready(make_app: Callable[..., Flask], workers: None) -> None:
    failing = missing(make_app(redis_url="redis://127.0.0.1:1/0").test_client())
    assert set(failing) == {"redis", "workers"}
    assert "REDIS_URL" in failing["redis"]


def test_a_silent_worker_or_dispatcher_is_named(client: FlaskClient, workers: None, settings: Settings) -> None:
    for kind in presence.KINDS:
        redis.Redis.from_url(settings.redis_url).delete(f"novai:presence:{kind}")
        body = client.get("/ready").get_json()
        (check,) = [check for check in body["checks"] if check["name"] == "workers"]
        assert not check["ok"] and kind in check["problem"]
        presence.say(kind, settings)


def test_who_falls_silent_is_forgotten(app: Flask, settings: Settings, workers: None) -> None:
    server = redis.Redis.from_url(settings.redis_url)
    for kind in presence.KINDS:
        assert 0 < server.ttl(f"novai:presence:{kind}") <= presence.PRESENT_SECONDS


def test_nobody_dies_of_not_being_heard(settings: Settings) -> None:
    presence.say("dispatcher", settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))


def test_a_full_disk_is_not_ready(make_app: Callable[..., Flask], workers: None) -> None:
    failing = missing(make_app(disk_free_bytes_min=2**60).test_client())
    assert list(failing) == ["disk"]


def test_a_storage_that_is_away_is_not_ready(make_app: Callable[..., Flask], workers: None) -> None:
    away = {"supabase_url": "http://127.0.0.1:1", "supabase_key": settings_secret("key")}
    assert list(missing(make_app(**away).test_client())) == ["storage"]


def test_not_being_ready_tells_no_secrets(make_app: Callable[..., Flask], workers: None) -> None:
    client = make_app(database_url="postgresql+psycopg://ann:hunter2@127.0.0.1:1/none").test_client()
    assert "hunter2" not in client.get("/ready").text


def settings_secret(value: str) -> Any:
    from pydantic import SecretStr

    return SecretStr(value)
