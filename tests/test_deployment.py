"""What the files for other machines name exists: commands, services, settings."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery.bin.worker import worker
from flask import Flask

from novai_web import queue
from novai_web.config import Settings

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def _words(service: str) -> list[str]:
    return shlex.split(SERVICES[service]["command"])


def test_compose_runs_every_process_that_make_run_does():
    servers = {"postgres", "redis"}
    ours = {"migrate", "samples", "web", "worker-cpu", "worker-io", "dispatcher", "sandbox"}
    assert servers | ours == set(SERVICES)


@pytest.mark.parametrize("service", ["worker-cpu", "worker-io"])
def test_compose_workers_are_commands_that_celery_understands(service):
    program, *words = _words(service)
    options = words[words.index("worker") + 1 :]
    given = worker.make_context("worker", options, resilient_parsing=True).params
    assert program == "celery"
    assert given["queues"] == [service.removeprefix("worker-")]
    assert set(given["queues"]) <= set(queue.QUEUES)


@pytest.mark.parametrize("service", ["migrate", "samples", "dispatcher"])
def test_compose_commands_of_flask_exist(app: Flask, service):
    command: Any = app.cli
    program, option, module, *names = _words(service)
    assert (program, option, module) == ("flask", "--app", "wsgi")
    for name in names:
        command = command.commands[name]


def test_compose_web_is_a_configuration_that_gunicorn_accepts(settings: Settings):
    environment = {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url, "SECRET_KEY": "x" * 32}
    result = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--check-config", *_words("web")[1:]],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_every_service_starts_again_by_itself_and_says_how_it_is():
    for name, service in SERVICES.items():
        assert service["restart"] in {"unless-stopped", "on-failure"}, name
        assert "healthcheck" in service or name in ("migrate", "samples"), name


def test_no_secret_stands_in_the_compose_file_or_on_a_command_line():
    for service in SERVICES.values():
        assert "PASSWORD" not in str(service.get("command"))
        for name, value in service.get("environment", {}).items():
            if name in {"SECRET_KEY", "POSTGRES_PASSWORD"}:
                assert value.startswith("${") and ":?" in value, "a missing one must stop the start, not become empty"


def test_what_a_service_waits_for_is_a_service():
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
    for service in SERVICES.values():
        named = {volume.partition(":")[0] for volume in service.get("volumes", ())}
        assert named <= set(COMPOSE["volumes"])


def test_the_image_is_built_from_files_that_are_here():
    assert (ROOT / SERVICES["web"]["build"]["dockerfile"]).is_file()
    assert "--require-hashes -r requirements.txt" in (ROOT / "deploy" / "Dockerfile").read_text()


def test_the_example_of_settings_is_up_to_date():
    written = subprocess.run([sys.executable, "bin/settings"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (ROOT / ".env.example").read_text() == written.stdout, "run `make settings`"


def test_every_make_target_is_documented_by_a_sentence():
    text = (ROOT / "Makefile").read_text()
    for line in text.splitlines():
        if line and line[0].isalpha() and ":" in line and ":=" not in line:
            assert "  ## " in line and line.endswith("."), line
