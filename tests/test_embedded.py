"""The parts that `make run` is made of: private servers, one owner a folder, children that never outlive us."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, create_engine, text

from novai_web.config import Settings
from novai_web.embedded import folder, launcher, servers
from novai_web.embedded.postgres import MAJOR
from novai_web.embedded.service import CannotStart, Service, leashed
from novai_web.embedded.supervisor import Supervisor

ROOT = Path(__file__).parents[1]


def _until(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.02)


def _alive(marker: str) -> list[str]:
    """The commands of all processes that were started with `marker` somewhere in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if marker in words and path.parent.name != str(os.getpid()):
            found.append(words)
    return found


def _engine(addresses: servers.Addresses) -> Engine:
    return create_engine(addresses.database_url)


# --- The servers ---------------------------------------------------------------------------------------------------


def test_what_was_written_is_there_after_a_restart_and_after_kill_9(tmp_path):
    with servers.running(tmp_path) as addresses, _engine(addresses).begin() as connection:
        connection.execute(text("CREATE TABLE kept (n int)"))
        connection.execute(text("INSERT INTO kept VALUES (1)"))
    with servers.running(tmp_path) as addresses:
        with _engine(addresses).begin() as connection:
            connection.execute(text("INSERT INTO kept VALUES (2)"))
        pid = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
    with servers.running(tmp_path) as addresses, _engine(addresses).begin() as connection:
        assert connection.scalars(text("SELECT n FROM kept ORDER BY n")).all() == [1, 2]


def test_the_application_is_no_superuser_and_nobody_else_gets_in(servers):
    with _engine(servers).begin() as connection:
        assert connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")) is False
        assert connection.scalar(text("SHOW listen_addresses")) == ""
    sockets = Path(servers.database_url.partition("?host=")[2])
    assert sockets.stat().st_mode & 0o077 == 0
    assert sockets.parent.stat().st_mode & 0o066 == 0
    assert (sockets.parent / "redis").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_another_user_of_this_machine_cannot_connect(servers):
    url = servers.database_url.replace("postgresql+psycopg", "postgresql")
    attempt = "import psycopg, sys\ntry: psycopg.connect(sys.argv[1])\nexcept psycopg.OperationalError: sys.exit(7)"
    command = [sys.executable, "-c", attempt, url]
    assert subprocess.run(leashed(command), check=False).returncode == 0
    # `nobody` owns the cluster, and with `+` may even enter the folder of the socket.
    assert subprocess.run(leashed(command, "nobody+"), check=False).returncode == 7


def test_redis_refuses_to_forget(servers):
    assert redis.Redis.from_url(servers.redis_url).config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_servers_that_the_settings_name_are_not_started(tmp_path):
    wanted = servers.Addresses("postgresql+psycopg://db.example/novai", "redis://redis.example")
    assert servers.embedded(tmp_path, tmp_path, wanted) == ([], wanted)


def test_a_cluster_of_another_postgres_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "sockets").mkdir()
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("15\n")
    with pytest.raises(CannotStart, match=rf"made by Postgres 15, and this is Postgres {MAJOR}.*backup"):
        servers.embedded(tmp_path, tmp_path / "sockets", servers.Addresses("", "redis://elsewhere"))


def test_a_stale_pid_file_whose_number_is_somebody_elses_now_does_not_stop_the_start(tmp_path):
    with servers.running(tmp_path):
        pid_file = tmp_path / "postgres" / "postmaster.pid"
        note = pid_file.read_text()
    pid_file.write_text(note.replace(note.split("\n", 1)[0], str(os.getpid()), 1))
    with servers.running(tmp_path) as addresses, _engine(addresses).connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_a_command_run_beside_make_run_finds_its_servers(tmp_path):
    settings = Settings(_env_file=None, data=tmp_path)
    assert servers.found(settings) == settings
    with servers.running(tmp_path) as addresses:
        found = servers.found(settings)
        assert (found.database_url, found.redis_url) == (addresses.database_url, addresses.redis_url)
    assert servers.found(settings) == settings


# --- The folder and the port ---------------------------------------------------------------------------------------


def test_a_folder_has_one_owner_and_says_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "PATIENCE_SECONDS", 0.2)
    with folder.claimed(tmp_path / "data") as claim:
        claim.say("http://127.0.0.1:8000")
        with (
            pytest.raises(CannotStart, match=r"already running on .*8000.*NOVAI_DATA"),
            folder.claimed(tmp_path / "data"),
        ):
            pass
    with folder.claimed(tmp_path / "data"):
        pass


def test_a_folder_whose_owner_is_going_is_waited_for(tmp_path):
    with folder.claimed(tmp_path) as claim:
        claim.say_going()
        entered = threading.Event()

        def come_next() -> None:
            with folder.claimed(tmp_path):
                entered.set()

        next_one = threading.Thread(target=come_next)
        next_one.start()
        assert not entered.wait(0.3)
    assert entered.wait(5)
    next_one.join()


def test_a_new_folder_is_closed_to_others(tmp_path):
    with folder.claimed(tmp_path / "deep" / "data"):
        assert (tmp_path / "deep" / "data").stat().st_mode & 0o066 == 0


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match=r"file/data cannot be used: Not a directory. Set NOVAI_DATA"):
        folder.claimed(tmp_path / "file" / "data").__enter__()


def test_a_taken_port_is_said_with_the_remedy(tmp_path):
    with launcher.socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run(
            [sys.executable, "-m", "novai_web.embedded"],
            cwd=ROOT, env={**os.environ, "NOVAI_DATA": str(tmp_path), "NOVAI_PORT": str(port)},
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.strip() == (
        f"NOVAI cannot start. Port {port} is taken by another program. Stop that, or choose another port: "
        f"NOVAI_PORT={port + 1} make run"
    )
    assert not (tmp_path / "postgres").exists()


# --- The services --------------------------------------------------------------------------------------------------


def _sleeper(name: str, log: Path, **changes: object) -> Service:
    """Writes its name when it starts, and when it is asked to stop."""
    script = (
        "import signal, sys, time\n"
        "def write(what):\n    with open(sys.argv[1], 'a') as log: log.write(f'{sys.argv[2]} {what}\\n')\n"
        "def stop(*_):\n    write('stops'); sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop); write('starts'); print('hello', flush=True); time.sleep(600)"
    )
    return Service(name, [sys.executable, "-c", script, log, name], **changes)


def test_a_fallen_service_is_started_again_with_its_name_before_its_lines(tmp_path, capsys):
    log = tmp_path / "log"
    service = _sleeper("web", log)
    supervisor = Supervisor(threading.Event())
    supervisor.start([service], seconds=5)
    try:
        _until(lambda: log.exists() and log.read_text() == "web starts\n")
        first = service.process
        first.kill()
        _until(lambda: supervisor.tend() or (service.process is not first and log.read_text().count("starts") == 2))
    finally:
        supervisor.stop([service])
    assert log.read_text() == "web starts\nweb starts\nweb stops\n"
    said = capsys.readouterr().out
    assert said.count("web        | hello\n") == 2
    assert "web ended (-9), starting it again in 0.5 s" in said


def test_one_that_falls_again_and_again_is_given_more_and_more_time(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("novai_web.embedded.supervisor.FIRST_PAUSE_SECONDS", 0.01)
    service = Service("worker", [sys.executable, "-S", "-c", "raise SystemExit(3)"])
    supervisor = Supervisor(threading.Event())
    supervisor.start([service], seconds=5)
    said = ""
    while said.count("ended (3)") < 4:
        supervisor.tend()
        said += capsys.readouterr().out
        time.sleep(0.01)
    supervisor.stop([service])
    for pause in ("0.01", "0.02", "0.04", "0.08"):
        assert f"starting it again in {pause} s" in said


def test_what_is_to_be_done_once_is_not_started_again_and_does_not_outlive_the_others(tmp_path):
    done, busy = Service("samples", ["/bin/sh", "-c", "exit 1"]), _sleeper("samples", tmp_path / "log")
    supervisor = Supervisor(threading.Event())
    supervisor.start_once(done)
    supervisor.start_once(busy)
    first = done.process
    _until(lambda: supervisor.tend() or (not done.is_running and (tmp_path / "log").exists()))
    for _ in range(20):
        supervisor.tend()
        time.sleep(0.05)
    assert done.process is first and busy.is_running
    supervisor.stop(supervisor.once)
    assert not busy.is_running and supervisor.once == []


def test_one_that_falls_while_all_start_is_named_at_once():
    web = Service("web", ["/bin/sleep", "600"], is_ready=lambda: False)
    worker = Service("worker", ["/bin/sh", "-c", "exit 3"])
    supervisor = Supervisor(threading.Event())
    try:
        with pytest.raises(CannotStart, match="worker stopped while starting"):
            supervisor.start([web, worker], seconds=60)
    finally:
        supervisor.stop([web, worker])


def test_who_does_not_stop_in_time_is_ended_with_all_its_children(tmp_path):
    marker = f"marker-{tmp_path.name}-{os.getpid()}"
    stubborn = "import signal, subprocess, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    child = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', sys.argv[1]])\ntime.sleep(600)"
    service = Service("worker", [sys.executable, "-c", stubborn + child, marker], grace_seconds=0.2)
    supervisor = Supervisor(threading.Event())
    supervisor.start([service], seconds=5)
    _until(lambda: len(_alive(marker)) == 2)
    supervisor.stop([service])
    _until(lambda: not _alive(marker))


GUARDED = """
import signal, subprocess, sys, time
from novai_web.embedded import warden
from novai_web.embedded.service import Service

GRANDCHILD = "import subprocess, sys, time; subprocess.Popen(['sleep', sys.argv[1]], start_new_session=True); "

def stop(*_):
    warden.adopt_orphans()
    raise SystemExit(0)

def run():
    signal.signal(signal.SIGHUP, stop)
    try:
        Service("child", [sys.executable, "-c", GRANDCHILD + "time.sleep(600)", sys.argv[1]]).start()
        time.sleep(600)
    finally:
        warden.end_all_below()

sys.exit(warden.guarded(run))
"""


@pytest.mark.parametrize("killed", ["warden", "worker", "both"])
def test_kill_9_leaves_no_process_whichever_is_killed(tmp_path, killed):
    marker = f"600.{time.time_ns()}"
    warden = subprocess.Popen([sys.executable, "-c", GUARDED, marker], cwd=ROOT)
    _until(lambda: len(_alive(marker)) == 4)  # warden, worker, child, and a grandchild in a session of its own
    worker = int(Path(f"/proc/{warden.pid}/task/{warden.pid}/children").read_text().split()[0])
    if killed != "warden":
        os.kill(worker, signal.SIGKILL)
    if killed != "worker":
        warden.kill()
    warden.wait(10)
    if killed == "both":  # nobody is left to look after a grandchild that went its own way; the child is gone
        _until(lambda: _alive(marker) == [f"sleep {marker} "])
        subprocess.run(["pkill", "-f", f"sleep {marker}"], check=True)
    _until(lambda: not _alive(marker))
