"""Trouble that is asked for in words: `[sandbox:refuse]` in a prompt, or in the name of a file that is sent.

A text of one word, such as the one that calls up a model, has no room for brackets: there it is `sandbox-refuse`.
"""

import re

_WISH = re.compile(r"\[sandbox:([a-z-]{1,30})\]|^sandbox-([a-z]{1,30})$", re.IGNORECASE)


def wish(*texts: object) -> str:
    """The first wish in any of these texts, in small letters; empty: none. What is no text has none."""
    found = next((found for text in texts if isinstance(text, str) and (found := _WISH.search(text))), None)
    return (found[1] or found[2]).lower() if found else ""
