"""The tools, in the order of the menu. To add one: write its module, name it here."""

from novai_web.config import Settings
from novai_web.errors import NotFound
from novai_web.tools import character_diagram, echo, face_swap, lora_image, lora_trainer, preparing, sampling, variants
from novai_web.tools.tool import Input, Part, Promise, Step, Tool, Work

__all__ = ["TOOLS", "Input", "Part", "Promise", "Step", "Tool", "Work", "find", "offered"]

TOOLS: tuple[Tool, ...] = (
    lora_trainer.tool,
    lora_image.tool,
    character_diagram.tool,
    face_swap.tool,
    variants.tool,
)
# What NOVAI does for itself with the same engine: no page, no card, no price.
INTERNAL: tuple[Tool, ...] = (preparing.tool, sampling.tool)
# For tests and drills: offered only when a setting says so.
DRILLS: tuple[Tool, ...] = (echo.tool,)

_BY_SLUG = {tool.slug: tool for tool in (*TOOLS, *INTERNAL, *DRILLS)}


def find(slug: str) -> Tool:
    """The tool of that name. Raises NotFound."""
    try:
        return _BY_SLUG[slug]
    except KeyError:
        raise NotFound(f"There is no tool called {slug!r}.") from None


def offered(slug: str, settings: Settings) -> Tool:
    """The tool of that name, if it is one that people may use here. Raises NotFound."""
    found = find(slug)
    if found in INTERNAL or (found in DRILLS and not settings.echo):
        raise NotFound(f"There is no tool called {slug!r}.")
    return found
