"""How long the pages of a big library take on the server: `python -m bench.library [--assets 10000] [--write]`.

On a Postgres of its own, in which other people have four times as much. Each page is asked for in this process, so that
nothing but the page is measured: the time it takes, the processor time of that (less is the machine's doing, not
ours), how many statements it sends, how long Postgres is at them, and how heavy it is.
"""

import argparse
import gzip
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import Engine, event, text

from bench.counting import percentile
from bench.report import machine, table
from novai_web import accounts, db
from novai_web.accounts import Account
from novai_web.app import create_app
from novai_web.config import Settings
from novai_web.embedded.servers import running
from tests import big_library

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/big-library.md"
BEGIN, END = "<!-- library: begin -->", "<!-- library: end -->"
OTHERS = 4
ROUNDS = 15
PAGES = (
    "/",
    "/videos",
    "/videos?view=list",
    "/videos?sort=name",
    "/videos?sort=longest",
    "/videos?q=beach+walk",
    "/videos?tag=tag+3",
    "/videos?type=variant",
    "/videos?collection={collection}",
    "/videos?cursor={cursor}",
    "/audios",
    "/images",
    "/models",
    "/hooks",
    "/hooks?q=number+77",
    "/collections",
    "/trash",
    "/assets/{asset}",
    "/library/picker?kind=video",
    "/tools/variants",
    "/search?q=beach",
)


@dataclass
class Asked:
    """One page: milliseconds of each round, and what it cost the database."""

    url: str
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    sql: list[float] = field(default_factory=list)
    statements: int = 0
    size_bytes: int = 0

    @property
    def row(self) -> tuple[str, ...]:
        times = (median(self.wall), percentile(self.wall, 0.95), median(self.cpu), median(self.sql))
        name = self.url.split("cursor=")[0] + ("cursor=…" if "cursor=" in self.url else "")
        return (f"`{name}`", *(f"{each:.0f}" for each in times), str(self.statements), f"{self.size_bytes / 1024:.0f}")


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--assets", type=int, default=10_000)
    given.add_argument("--rounds", type=int, default=ROUNDS)
    given.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    asked = given.parse_args()
    with TemporaryDirectory(prefix="bench-library-") as folder, running(Path(folder) / "servers") as addresses:
        settings = Settings(
            _env_file=None,
            data=Path(folder) / "data",
            database_url=addresses.database_url,
            redis_url=addresses.redis_url,
            secret_key="for this bench only, and long enough",
            sign_up="open",
        )
        app = _filled(settings, asked.assets)
        measured = [_measured(app, url, asked.rounds) for url in _pages(app)]
    report = _report(measured, asked.assets)
    print(report)
    if asked.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{report}\n\n{END}{rest.partition(END)[2]}")


def _filled(settings: Settings, count: int) -> Flask:
    bare = db.bare_app(settings)
    db.migrations(bare, ROOT / "migrations")
    with bare.app_context():
        upgrade()
    app = create_app(settings)
    app.testing = True
    with app.app_context():
        for name in ("ada", *(f"other{n}" for n in range(OTHERS))):
            with db.transaction():
                person = accounts.register(
                    email=f"{name}@example.com", password="a long enough password", name=name, settings=settings
                )
            big_library.fill(person.id, count)
        big_library.settle()
    return app


def _pages(app: Flask) -> Iterator[str]:
    with app.app_context():
        mine = {"account": 1}
        collection = db.session.scalar(
            text("SELECT min(id) FROM collections WHERE account_id = :account AND kind = 'video'"), mine
        )
        asset = db.session.scalar(
            text("SELECT min(id) FROM assets WHERE account_id = :account AND trashed_at IS NULL"), mine
        )
        db.session.remove()
    first = _visitor(app).get("/videos").text
    cursor = first.partition("cursor=")[2].partition('"')[0].partition("&")[0]
    for url in PAGES:
        yield url.format(collection=collection, asset=asset, cursor=cursor)


def _visitor(app: Flask) -> Any:
    client = app.test_client()
    with app.app_context():
        person = db.session.get_one(Account, 1)
        known = f"{person.id}.{person.session_version}"
        db.session.remove()
    with client.session_transaction() as cookie:
        cookie.update(_user_id=known, _fresh=True)
    return client


def _measured(app: Flask, url: str, rounds: int) -> Asked:
    asked, visitor = Asked(url), _visitor(app)
    visitor.get(url)
    for _ in range(rounds):
        with _statements() as sql:
            wall, cpu = time.perf_counter(), time.thread_time()
            answer = visitor.get(url)
            asked.cpu.append(1000 * (time.thread_time() - cpu))
            asked.wall.append(1000 * (time.perf_counter() - wall))
        assert answer.status_code == 200, f"{url} answers {answer.status_code}"
        asked.sql.append(1000 * sum(sql))
        asked.statements, asked.size_bytes = len(sql), len(gzip.compress(answer.data))
    return asked


@contextmanager
def _statements() -> Iterator[list[float]]:
    """How long each statement took, in seconds."""
    seconds: list[float] = []
    begun: list[float] = []

    def begin(*_: Any) -> None:
        begun.append(time.perf_counter())

    def end(*_: Any) -> None:
        seconds.append(time.perf_counter() - begun.pop())

    event.listen(Engine, "before_cursor_execute", begin)
    event.listen(Engine, "after_cursor_execute", end)
    try:
        yield seconds
    finally:
        event.remove(Engine, "before_cursor_execute", begin)
        event.remove(Engine, "after_cursor_execute", end)


def _report(measured: Sequence[Asked], count: int) -> str:
    head = ("Page", "ms, median", "ms, p95", "ms of processor", "ms in Postgres", "statements", "KB, compressed")
    rounds = len(measured[0].wall)
    said = f"{count:,} assets and hooks of one person, among {OTHERS * count:,} of others; {rounds} times each."
    return "\n\n".join([machine(), said, table(head, [asked.row for asked in measured])])


if __name__ == "__main__":
    main()
