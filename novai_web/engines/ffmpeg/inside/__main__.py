"""The child process: reads one request from stdin, answers in JSON lines on stdout, and ends."""

import json
import os
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from novai_web.engines.ffmpeg.inside import jail
from novai_web.engines.ffmpeg.media import Limits
from novai_web.errors import UnusableMedia

Say = Callable[..., None]
Verb = Callable[[dict[str, Any], Limits, Say], None]

# The modules beside this one that have an `answer`.
VERBS = ("probe", "previews", "sheet", "render", "copies", "credentials", "samples")


def main(verb: str) -> None:
    say = _mouth()
    request: dict[str, Any] = json.load(sys.stdin)
    limits = Limits.from_json(request.pop("limits"))
    jail.bound(limits, request.pop("seconds"))
    try:
        _verb(verb)(request, limits, say)
    except UnusableMedia as error:
        say(refusal=str(error))


def _mouth() -> Say:
    """Only our own words go to the parent: what a library prints on stdout is sent to stderr."""
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    one_at_a_time = threading.Lock()

    def say(**event: Any) -> None:
        with one_at_a_time:
            print(json.dumps(event), file=stdout, flush=True)

    return say


def _verb(name: str) -> Verb:
    """Each verb loads only what it needs: reading a picture's size should not load the fonts."""
    if name not in VERBS:
        raise SystemExit(f"no such verb: {name}")
    verb: Verb = import_module(f"novai_web.engines.ffmpeg.inside.{name}").answer
    return verb


if __name__ == "__main__":
    jail.die_with_parent()
    main(sys.argv[1])
