"""Whether this process is alive, and whether the installation as a whole is ready for people."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import redis
import structlog
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Blueprint, current_app, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError

from novai_web import presence
from novai_web.config import Settings
from novai_web.db import session
from novai_web.engines import ffmpeg
from novai_web.engines.store import open_store
from novai_web.errors import NovaiError
from novai_web.web import who

bp = Blueprint("health", __name__)
log = structlog.get_logger()


@dataclass(frozen=True)
class Unready(Exception):
    """One thing that is missing, and what to do about it."""

    problem: str
    remedy: str


@bp.get("/health")
def health() -> ResponseReturnValue:
    """This process answers. Nothing else is asked, so that a restart is never tried for what it cannot mend."""
    return jsonify(status="alive")


@bp.get("/ready")
def ready() -> ResponseReturnValue:
    """503 with the remedy for each thing that is missing, else 200."""
    settings = who.settings()
    checks = [_result(name, check, settings) for name, check in CHECKS.items()]
    is_ready = all(check["ok"] for check in checks)
    return jsonify(status="ready" if is_ready else "not ready", checks=checks), 200 if is_ready else 503


def _result(name: str, check: Callable[[Settings], None], settings: Settings) -> dict[str, object]:
    try:
        check(settings)
    except Unready as missing:
        log.warning("not_ready", check=name, problem=missing.problem)
        return {"name": name, "ok": False, "problem": missing.problem, "remedy": missing.remedy}
    return {"name": name, "ok": True, "problem": None, "remedy": None}


def _database(settings: Settings) -> None:
    try:
        found = set(MigrationContext.configure(session.connection()).get_current_heads())
    except SQLAlchemyError:
        raise Unready("The database does not answer.", "Start Postgres, and check DATABASE_URL.") from None
    finally:
        session.rollback()
    if found != _newest_migrations(current_app.extensions["migrate"].directory):
        raise Unready("The database has other tables than this version needs.", "Run `flask db upgrade`.")


@cache
def _newest_migrations(folder: str) -> set[str]:
    return set(ScriptDirectory(folder).get_heads())


def _redis(settings: Settings) -> None:
    try:
        presence.heard(settings)
    except redis.RedisError:
        raise Unready("Redis does not answer.", "Start Redis, and check REDIS_URL.") from None


def _storage(settings: Settings) -> None:
    try:
        open_store(settings).size("ready")
    except (NovaiError, OSError):
        raise Unready(
            "The file storage does not answer.", "Check SUPABASE_URL and its key, or the data folder's permissions."
        ) from None


def _disk(settings: Settings) -> None:
    settings.data.mkdir(parents=True, exist_ok=True)
    if not os.access(settings.data, os.W_OK):
        raise Unready("The data folder cannot be written to.", "Give this user write access to NOVAI_DATA.")
    if shutil.disk_usage(settings.data).free < settings.disk_free_bytes_min:
        raise Unready(
            "The disk is nearly full, so uploads and jobs are refused.",
            "Free some space, or lower NOVAI_DISK_FREE_BYTES_MIN.",
        )


def _workers(settings: Settings) -> None:
    try:
        silent = [kind for kind in presence.KINDS if kind not in presence.heard(settings)]
    except redis.RedisError:
        raise Unready("Whether workers are running is not known.", "Start Redis first.") from None
    if silent:
        raise Unready(
            f"Not heard for {presence.PRESENT_SECONDS} seconds: {', '.join(silent)}.",
            "Start the workers of both queues (cpu and io) and `flask dispatch`.",
        )


def _media(_: Settings) -> None:
    if lost := ffmpeg.what_is_missing():
        raise Unready("Videos cannot be read or made.", " ".join(lost))


CHECKS: dict[str, Callable[[Settings], None]] = {
    "database": _database,
    "redis": _redis,
    "storage": _storage,
    "disk": _disk,
    "media": _media,
    "workers": _workers,
}
