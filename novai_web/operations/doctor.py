"""Doctor: each thing that must work for NOVAI to work, tried out, with what to do about the one that does not."""

import os
import secrets
import shutil
import time
import wave
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis
from dotenv import dotenv_values
from sqlalchemy import TextClause, text
from sqlalchemy.exc import SQLAlchemyError

from novai_web import presence
from novai_web.config import GIGABYTE, Settings
from novai_web.db import session
from novai_web.engines import credentials, ffmpeg
from novai_web.engines.store import open_store
from novai_web.errors import NovaiError
from novai_web.jobs.leases import DUE
from novai_web.operations import schema
from novai_web.vendors import menu

CLOCK_SECONDS_MAX = 5.0
WAIT_SECONDS_MAX = 300
CERTIFICATE_DAYS_MIN = 30
SECRET_LENGTH_MIN = 32
# Read by others than `Settings`: failpoints.py, and docker-compose.yml.
OTHER_NAMES = {"NOVAI_FAILPOINTS", "NOVAI_PUBLISH"}

OLDEST = text(f"""
    SELECT coalesce(extract(epoch FROM clock_timestamp() - min(run_at)), 0)::float FROM jobs WHERE {DUE}""")  # noqa: S608


@dataclass(eq=False)
class Trouble(Exception):
    """One thing that is wrong, and what to do about it."""

    problem: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """What became of one check: `trouble` is None when all is well."""

    name: str
    said: str
    trouble: Trouble | None = None


Check = Callable[[Settings], str]


def examine(settings: Settings, checks: dict[str, Check]) -> Iterator[Finding]:
    """Every check, one after the other, whatever the others say."""
    for name, check in checks.items():
        try:
            said, trouble = check(settings), None
        except Trouble as found:
            said, trouble = found.problem, found
        except OSError as problem:  # on its way to what it checks
            trouble = Trouble(
                f"This could not be tried: {problem.strerror or problem}.",
                "See whether the disk is full, and whether this user may write to NOVAI_DATA.",
            )
            said = trouble.problem
        yield Finding(name, said, trouble)


def _settings(settings: Settings) -> str:
    """A name with a typo is a setting that silently keeps its default."""
    known = {name.upper() for name in _names()} | OTHER_NAMES
    given = {name for name in (*os.environ, *dotenv_values(".env")) if name.upper().startswith("NOVAI_")}
    if unknown := sorted(name for name in given if name.upper() not in known):
        raise Trouble(f"There is no setting called {', '.join(unknown)}.", "Compare it with .env.example.")
    if os.environ.get("NOVAI_FAILPOINTS"):
        raise Trouble(
            "NOVAI_FAILPOINTS is set: whoever may write to that folder can kill any process here.",
            "Take it out of the environment; it is for drills.",
        )
    return f"{len(Settings.model_fields)} settings, all of them readable"


def _names() -> Iterable[str]:
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        yield str(getattr(alias, "choices", [f"NOVAI_{name}"])[0])


def _secret(settings: Settings) -> str:
    if len(settings.secret) < SECRET_LENGTH_MIN:
        raise Trouble(
            "SECRET_KEY is short enough to be guessed, and whoever guesses it can sign in as anybody.",
            f"Set it to {SECRET_LENGTH_MIN} random characters or more; everybody signs in anew then.",
        )
    if settings.secret_key.get_secret_value():
        return "from SECRET_KEY"
    kept = settings.data / "secret_key"
    if kept.stat().st_mode & 0o077:
        raise Trouble(f"{kept} can be read by others on this machine.", f"chmod 600 {kept}")
    if settings.supabase_url:
        raise Trouble(
            f"The secret key is in {kept} of this machine alone, so another web machine would sign with another one.",
            "Set SECRET_KEY to the content of that file on all of them.",
        )
    return f"kept in {kept}, which no backup contains: keep a copy of it elsewhere"


def _database(settings: Settings) -> str:
    if not settings.database_url:
        raise Trouble("NOVAI is not running on this data folder.", "Start it with `make run`, or set DATABASE_URL.")
    try:
        found = schema.current(session.connection())
    except SQLAlchemyError:
        raise Trouble("The database does not answer.", "Start Postgres, and check DATABASE_URL.") from None
    finally:
        session.rollback()
    if found != schema.newest():
        raise Trouble("The database has other tables than this version needs.", "Run `flask db upgrade`.")
    return f"answers, with tables of version {found}"


def _asked(query: TextClause, unknown: str) -> Any:
    """What the database says to this. Raises Trouble, with what is `unknown` then, when it says nothing."""
    try:
        return session.scalars(query).one()
    except SQLAlchemyError:
        raise Trouble(unknown, "Mend the database first.") from None
    finally:
        session.rollback()


def _clock(settings: Settings) -> str:
    """The database's clock rules leases and days; this machine's still dates logs, tokens and links."""
    before = time.time()
    said: datetime = _asked(text("SELECT clock_timestamp()"), "The database's clock cannot be read.")
    off = abs(said.timestamp() - (before + time.time()) / 2)
    if off > CLOCK_SECONDS_MAX:
        raise Trouble(
            f"This machine's clock and the database's are {off:.0f} seconds apart.",
            "Let NTP set both of them (`timedatectl set-ntp true`).",
        )
    return f"{off:.1f} seconds from the database's"


def _redis(settings: Settings) -> str:
    try:
        presence.heard(settings)
    except (redis.RedisError, ValueError):  # ValueError: no address at all
        raise Trouble("Redis does not answer.", "Start Redis, and check REDIS_URL.") from None
    return "answers"


def _storage(settings: Settings) -> str:
    try:
        open_store(settings).size("ready")
    except (NovaiError, OSError):
        raise _storage_trouble() from None
    return "answers"


def _storage_works(settings: Settings) -> str:
    """Something is written, read again and deleted."""
    said = secrets.token_hex(16)
    key = f"doctor/{said}"
    settings.scratch_folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=settings.scratch_folder) as folder:
        path = Path(folder) / "written"
        path.write_text(said)
        try:
            store = open_store(settings)
            store.put(key, path, "text/plain")
            found = b"".join(store.read(key)).decode()
            store.delete([key])
        except (NovaiError, OSError, ValueError):
            raise _storage_trouble() from None
    if found != said:
        raise Trouble("The file storage gives back other bytes than it was given.", "Check the disk, or the bucket.")
    return f"writes and reads ({'Supabase' if settings.supabase_url else settings.files_folder})"


def _storage_trouble() -> Trouble:
    return Trouble(
        "The file storage does not answer.", "Check SUPABASE_URL and its key, or the data folder's permissions."
    )


def _disk(settings: Settings) -> str:
    settings.data.mkdir(parents=True, exist_ok=True)
    if not os.access(settings.data, os.W_OK):
        raise Trouble("The data folder cannot be written to.", "Give this user write access to NOVAI_DATA.")
    free = shutil.disk_usage(settings.data).free
    if free < settings.disk_free_bytes_min:
        raise Trouble(
            "The disk is nearly full, so uploads and jobs are refused.",
            "Free some space, or lower NOVAI_DISK_FREE_BYTES_MIN.",
        )
    return f"{free / GIGABYTE:.1f} GB free; below {settings.disk_free_bytes_min / GIGABYTE:.1f} GB nothing is taken in"


def _media(_: Settings) -> str:
    if lost := ffmpeg.what_is_missing():
        raise Trouble("Videos cannot be read or made.", " ".join(lost))
    return "libraries are installed"


def _media_works(settings: Settings) -> str:
    """A child process looks at a sound, under the limits under which it looks at everything."""
    _media(settings)
    settings.scratch_folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=settings.scratch_folder) as folder:
        path = Path(folder) / "second.wav"
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(bytes(2 * 8000))
        try:
            found = ffmpeg.probe(path, ffmpeg.Limits.of(settings))
        except (NovaiError, OSError) as problem:
            raise Trouble(
                f"A media process could not look at a file of ours: {problem}",
                "Raise NOVAI_RENDER_MEMORY_BYTES, or see what this machine forbids processes (containers, seccomp).",
            ) from None
    return f"a media process works ({found.kind} of {found.duration_seconds or 0:g} s seen)"


def _workers(settings: Settings) -> str:
    try:
        heard = presence.heard(settings)
    except (redis.RedisError, ValueError):
        raise Trouble("Whether workers are running is not known.", "Start Redis first.") from None
    if silent := [kind for kind in presence.KINDS if kind not in heard]:
        raise Trouble(
            f"Not heard for {presence.PRESENT_SECONDS} seconds: {', '.join(silent)}.",
            "Start the workers of both queues (cpu and io) and `flask dispatch`.",
        )
    return f"heard: {', '.join(sorted(heard))}"


def _queue(settings: Settings) -> str:
    oldest = float(_asked(OLDEST, "Whether jobs are waiting is not known."))
    if oldest > WAIT_SECONDS_MAX:
        raise Trouble(
            f"A job has been due for {oldest / 60:.0f} minutes.",
            "Start more workers, or look into their logs: they cannot keep up, or do not hear.",
        )
    return f"the job that waits longest has been due for {oldest:.0f} seconds"


def _credentials(settings: Settings) -> str:
    """The certificates that sign outputs are there, go together, and hold for a while yet."""
    try:
        chain = credentials.chain(settings)
    except NovaiError as problem:
        raise Trouble(
            f"Outputs are delivered without Content Credentials: {problem}",
            "Check NOVAI_CREDENTIALS_CHAIN and NOVAI_CREDENTIALS_KEY; left empty, NOVAI makes its own.",
        ) from None
    left = chain.until - datetime.now(UTC)
    if left < timedelta(days=CERTIFICATE_DAYS_MIN):
        raise Trouble(
            f"The certificate that signs outputs ends on {chain.until:%Y-%m-%d}; what it signed is invalid then.",
            "Set NOVAI_CREDENTIALS_CHAIN and NOVAI_CREDENTIALS_KEY to a newer one.",
        )
    return f"signed as {chain.signer}, until {chain.until:%Y-%m-%d}"


def _vendors(settings: Settings) -> str:
    """Each one that is there is asked something that costs nothing, with the key that is set."""
    said = []
    for entry in menu.ENTRIES:
        vendor = menu.named(entry.name, settings)
        if vendor is None:
            said.append(f"{entry.title} missing ({entry.setting})")
            continue
        try:
            vendor.check()
        except NovaiError as problem:
            remedy = (
                "See whether the sandbox runs, and check NOVAI_SANDBOX_URL."
                if vendor.is_sandbox
                else f"Check {entry.setting}, the account behind it, and this machine's way to the internet."
            )
            raise Trouble(f"{entry.title}{' in the sandbox' if vendor.is_sandbox else ''}: {problem}", remedy) from None
        said.append(f"{entry.title} {'in the sandbox' if vendor.is_sandbox else 'with its key'}")
    return ", ".join(said)


READY: dict[str, Check] = {
    "database": _database,
    "redis": _redis,
    "storage": _storage,
    "disk": _disk,
    "media": _media,
    "workers": _workers,
}

# What costs next to nothing and asks nobody outside, so that a page may look every few seconds.
QUICK: dict[str, Check] = {
    **READY,
    "queue": _queue,
    "clock": _clock,
    "settings": _settings,
    "secret key": _secret,
    "credentials": _credentials,
}

ALL: dict[str, Check] = {
    "settings": _settings,
    "secret key": _secret,
    "database": _database,
    "clock": _clock,
    "redis": _redis,
    "storage": _storage_works,
    "disk": _disk,
    "media": _media_works,
    "workers": _workers,
    "queue": _queue,
    "credentials": _credentials,
    "vendors": _vendors,
}
