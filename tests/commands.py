"""A command of NOVAI, run as an operator runs it: a process of its own, told by its environment where to work."""

import os
import subprocess
import sys
from pathlib import Path

from novai_web.config import Settings

ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 240


def flask(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`flask <words>`; what it says comes back, standard output and error apart."""
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *map(str, words)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def named(settings: Settings) -> dict[str, str]:
    """The environment of a process that works with these settings, as far as tests change them."""
    return {
        "NOVAI_DATA": str(settings.data),
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret,
        "NOVAI_DISK_FREE_BYTES_MIN": str(settings.disk_free_bytes_min),
        "NOVAI_ECHO": str(settings.echo),
        "NOVAI_PASSWORD_ROUNDS": str(settings.password_rounds),
        "NOVAI_PASSWORD_MEMORY_KIB": str(settings.password_memory_kib),
    }
