"""The tools, in the order of the menu. To add one: write its module, name it here."""

from novai_web.errors import NotFound
from novai_web.tools import preparing, variants
from novai_web.tools.tool import Input, Part, Promise, Step, Tool, Work

__all__ = ["TOOLS", "Input", "Part", "Promise", "Step", "Tool", "Work", "find", "offered"]

TOOLS: tuple[Tool, ...] = (variants.tool,)
# What NOVAI does for itself with the same engine: no page, no card, no price.
INTERNAL: tuple[Tool, ...] = (preparing.tool,)

_BY_SLUG = {tool.slug: tool for tool in (*TOOLS, *INTERNAL)}


def find(slug: str) -> Tool:
    """The tool of that name. Raises NotFound."""
    try:
        return _BY_SLUG[slug]
    except KeyError:
        raise NotFound(f"There is no tool called {slug!r}.") from None


def offered(slug: str) -> Tool:
    """The tool of that name, if it is one that people may use. Raises NotFound."""
    found = find(slug)
    if found.internal:
        raise NotFound(f"There is no tool called {slug!r}.")
    return found
