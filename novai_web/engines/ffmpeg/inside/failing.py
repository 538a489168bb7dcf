"""What can go wrong with one variant, and what people are told of it."""

from errno import EDQUOT, EMFILE, ENFILE, ENOMEM, ENOSPC

import av

from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.errors import UnusableMedia

FAILURES = (UnusableMedia, Malformed, av.FFmpegError, OSError)

DAMAGED = "It could not be rendered: its video or audio is damaged somewhere. Export that file again."


class CheckFailed(UnusableMedia):
    """The finished file is not what it should be. Says what is wrong, as a clause."""


def is_ours(error: Exception) -> bool:
    """Whether this machine is out of something, for which no file is to blame and which no other way would mend."""
    return is_full(error) or getattr(error, "errno", None) in (EMFILE, ENFILE, ENOMEM)


def is_full(error: Exception) -> bool:
    return getattr(error, "errno", None) in (ENOSPC, EDQUOT)


def sentence(error: Exception) -> str:
    """For a person: never a path, never a library's words."""
    if isinstance(error, CheckFailed):
        return f"It did not pass the check after rendering: {error}. It was not kept; try it again."
    return str(error) if isinstance(error, UnusableMedia) else DAMAGED


def clause(error: Exception) -> str:
    """For a recipe, after a colon."""
    return str(error) if isinstance(error, Malformed | UnusableMedia) else "it is damaged somewhere"
