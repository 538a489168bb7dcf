"""Making the sample media of an installation, when somebody asks for it before it was made."""

from novai_web.engines.store import open_store
from novai_web.library import samples
from novai_web.tools.tool import Estimate, Input, Step, Tool, Work

WAIT_SECONDS = 1.0


class SamplingInput(Input):
    """Nothing is asked."""


def draw(given: SamplingInput, work: Work) -> None:
    """Draw and store them. If another process is at it, its result is waited for."""
    if not samples.make(open_store(work.settings), work.settings, work.progress):
        work.wait(WAIT_SECONDS)


tool = Tool(
    slug="sampling",
    title="Making sample media",
    about="Draws the sample media of this installation.",
    icon="sparkles",
    input=SamplingInput,
    price=lambda given, settings: 0,
    estimate=lambda given, settings: Estimate(outputs=0, seconds=40, bytes=0),
    steps=(Step("Drawing", draw),),
    makes=(),
    deadline_seconds=3600,
)
