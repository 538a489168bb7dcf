"""The least a Flask application can do, under the same gunicorn settings: what NOVAI's answers are measured by."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from flask import Flask

from tests.installation import ROOT, until

app = Flask(__name__)


@app.get("/")
def ok() -> str:
    return "ok"


@contextmanager
def running(data: Path) -> Iterator[int]:
    """The port it listens on, for as long as the block runs. `data`: what the settings take for a data folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "bench.yardstick:app"]
    environment = {**os.environ, "NOVAI_DATA": str(data)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _answers(port), 60)
            yield port
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
