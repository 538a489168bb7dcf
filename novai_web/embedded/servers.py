"""The two servers everything else stands on, embedded unless the settings name others. Tests start theirs here too."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from novai_web.config import Settings
from novai_web.embedded import postgres, redis, sandbox
from novai_web.embedded.service import Service

START_SECONDS = 60  # a database that was killed under load first reads its log again


@dataclass(frozen=True)
class Addresses:
    """In the spelling of the settings: SQLAlchemy's for the database, redis-py's for Redis."""

    database_url: str
    redis_url: str

    @property
    def environment(self) -> dict[str, str]:
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}


@contextmanager
def private_folder(data: Path) -> Iterator[Path]:
    """For sockets, whose paths may have 107 bytes at most, which a path inside the data folder may pass.

    `data/sockets` points to it while it is there.
    """
    pointer = data / "sockets"
    if pointer.is_symlink():  # left by one that was killed
        shutil.rmtree(pointer.readlink(), ignore_errors=True)
        pointer.unlink()
    folder = Path(mkdtemp(prefix="novai-"))
    try:
        if not os.getuid():
            folder.chmod(0o711)  # Postgres, which is another user then, has its own closed folder in here
        pointer.symlink_to(folder)
        yield folder
    finally:
        pointer.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def found(settings: Settings) -> Settings:
    """The settings with the addresses of the embedded servers that run on this data folder now, where they are needed.

    For commands that a person runs beside `make run`.
    """
    pointer = settings.data / "sockets"
    changes = {}
    if pointer.is_symlink() and settings.lacks_a_key and not settings.sandbox_url:
        changes["sandbox_url"] = sandbox.url(settings.data / "sandbox")
    if pointer.is_symlink() and not settings.database_url:
        changes["database_url"] = postgres.url(pointer.readlink() / "postgres")
    if pointer.is_symlink() and not settings.redis_url:
        changes["redis_url"] = redis.url(pointer.readlink() / "redis")
    return settings.model_copy(update=changes)


def embedded(data: Path, sockets: Path, wanted: Addresses, *, durable: bool = True) -> tuple[list[Service], Addresses]:
    """The servers that `wanted` does not name, not started yet, and where all will be. Raises CannotStart."""
    services = []
    database_url, redis_url = wanted.database_url, wanted.redis_url
    if not database_url:
        services.append(postgres.service(data / "postgres", sockets / "postgres", durable=durable))
        database_url = postgres.url(sockets / "postgres")
    if not redis_url:
        services.append(redis.service(sockets / "redis"))
        redis_url = redis.url(sockets / "redis")
    return services, Addresses(database_url, redis_url)


@contextmanager
def running(data: Path, *, durable: bool = True) -> Iterator[Addresses]:
    """A Postgres over `data` and a Redis of their own for as long as the block runs; what they say goes to a file."""
    data.mkdir(mode=0o711, parents=True, exist_ok=True)
    with private_folder(data) as sockets, (data / "servers.log").open("ab") as log:
        services, addresses = embedded(data.resolve(), sockets, Addresses("", ""), durable=durable)
        try:
            for service in services:
                service.start(output=log)
            for service in services:
                service.await_ready(START_SECONDS)
            yield addresses
        finally:
            for service in reversed(services):
                service.stop()
