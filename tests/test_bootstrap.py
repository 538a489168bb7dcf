"""`make run` on a machine that lacks something says what to install."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = ("sh", "dirname", "cmp", "rm", "cp")


@pytest.fixture
def machine(tmp_path):
    """A clone of the project on a machine whose PATH holds a handful of programs and no Python."""
    (tmp_path / "programs").mkdir()
    for name in NEEDED:
        (tmp_path / "programs" / name).symlink_to(shutil.which(name))
    shutil.copytree(ROOT / "bin", tmp_path / "clone" / "bin")
    return tmp_path


def _program(machine: Path, name: str, script: str) -> None:
    path = machine / "programs" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _install(machine: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(machine / "programs"), **environment}
    script = machine / "clone" / "bin" / "install"
    return subprocess.run([script], env=environment, capture_output=True, text=True, check=False)


def test_without_a_python_that_will_do_it_names_the_versions(machine):
    _program(machine, "python3", "exit 1")  # too old, or one of pyenv's names with nothing behind it
    result = _install(machine)
    assert result.returncode == 1
    assert "needs Python 3.11 or 3.12" in result.stderr
    assert "apt-get install python3" in result.stderr


def test_without_the_module_that_makes_environments_it_names_the_package(machine):
    _program(machine, "python3", 'case "$*" in *venv*) exit 1;; --version) echo Python 3.11.2;; esac')
    result = _install(machine)
    assert result.returncode == 1
    assert "apt-get install python3-venv" in result.stderr
    assert not (machine / "clone" / ".venv").exists()


def test_what_is_installed_is_installed_once_and_again_when_the_lock_changes(machine):
    clone = machine / "clone"
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / "requirements.txt").write_text("a==1\n")
    said = machine / "said"
    for name in ("python", "pip", "uv"):
        _program(machine, name, f'echo "{name} $*" >> {said}')
        (machine / "programs" / name).rename(clone / ".venv" / "bin" / name)

    def calls() -> list[str]:
        said.write_text("")
        assert _install(machine).returncode == 0
        return [line for line in said.read_text().splitlines() if not line.startswith("python")]

    assert [line.split()[0] for line in calls()] == ["pip", "uv"]
    assert calls() == []
    (clone / "requirements.txt").write_text("a==2\n")
    assert "uv pip install --quiet --compile-bytecode --require-hashes -r requirements.txt" in calls()


def test_where_uv_cannot_be_had_pip_installs_the_same_lock(machine):
    clone = machine / "clone"
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / "requirements.txt").write_text("a==1\n")
    for name, script in {
        "python": "exit 0",
        "pip": f'case "$*" in *uv.txt*) exit 1;; esac; echo "$*" > {machine}/said',
    }.items():
        _program(machine, name, script)
        (machine / "programs" / name).rename(clone / ".venv" / "bin" / name)
    assert _install(machine).returncode == 0
    assert "--require-hashes -r requirements.txt" in (machine / "said").read_text()


def test_the_scripts_are_executable():
    for path in (ROOT / "bin" / "install", ROOT / "bin" / "system-packages", ROOT / "bin" / "settings"):
        assert os.access(path, os.X_OK)
