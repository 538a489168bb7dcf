"""Stand-ins for the services of others, which answer like them without a network, an account or a bill."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 30


@contextmanager
def started(module: str, *arguments: str | Path, log: Path | None = None) -> Iterator[str]:
    """Run `novai_web.sandbox.<module>` as a process of its own on a free port, and yield its address.

    It ends with the block, and also when this process is killed: it watches its standard input.
    """
    command = [sys.executable, "-m", f"novai_web.sandbox.{module}", "--port", "0", "--attached", *map(str, arguments)]
    with (log or Path(os.devnull)).open("ab") as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
    with process:
        try:
            yield _address(process)
        finally:
            process.kill()


def _address(process: "subprocess.Popen[str]") -> str:
    for line in process.stdout or ():
        if line.startswith("http"):
            return line.strip()
    raise RuntimeError(f"the sandbox ended with {process.wait(START_SECONDS)} before it had an address")
