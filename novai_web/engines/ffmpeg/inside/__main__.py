"""The child process: reads one request from stdin, answers in JSON lines on stdout, and ends."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from novai_web.engines.ffmpeg.inside import jail
from novai_web.engines.ffmpeg.media import Limits
from novai_web.errors import UnusableMedia

Say = Callable[..., None]


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

    def say(**event: Any) -> None:
        print(json.dumps(event), file=stdout, flush=True)  # noqa: T201 - this is the protocol

    return say


def _verb(name: str) -> Callable[[dict[str, Any], Limits, Say], None]:
    """Each verb loads only what it needs: reading a picture's size should not load the encoder."""
    if name == "probe":
        from novai_web.engines.ffmpeg.inside import probe

        return probe.answer
    if name == "previews":
        from novai_web.engines.ffmpeg.inside import previews

        return previews.answer
    if name == "sheet":
        from novai_web.engines.ffmpeg.inside import sheet

        return sheet.answer
    if name == "render":
        from novai_web.engines.ffmpeg.inside import render

        return render.answer
    raise SystemExit(f"no such verb: {name}")


if __name__ == "__main__":
    jail.die_with_parent()
    main(sys.argv[1])
