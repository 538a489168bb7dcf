"""What a foreign file says of itself, read where its author can do no harm: see engines/credentials."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from novai_web.engines.credentials import native
from novai_web.engines.ffmpeg.media import Limits
from novai_web.errors import UnusableMedia

if TYPE_CHECKING:
    from novai_web.engines.ffmpeg.inside.__main__ import Say


def answer(request: dict[str, Any], limits: Limits, say: "Say") -> None:
    """Writes the ingredient that another file's manifest can carry on to `target`."""
    try:
        kept = native.archive(
            request["ingredient"], request["mime"], Path(request["path"]), request["anchors"].encode()
        )
    except native.SigningFailed as problem:
        raise UnusableMedia(str(problem)) from problem
    Path(request["target"]).write_bytes(kept)
    say(answer=len(kept))
