"""The tools over JSON: what there is, what it costs, and starting it."""

from typing import Any

from flask import url_for
from pydantic import Field

from novai_web import choices, jobs, tools
from novai_web.accounts import Account
from novai_web.api import batches, shapes
from novai_web.api.door import Door, Shape, credits_max, idempotency_key
from novai_web.jobs import Job, Submitted
from novai_web.tools.tool import Tool
from novai_web.web import limits, who

door = Door("tools")


class ToolOut(Shape):
    slug: str
    title: str
    about: str
    price: str
    makes: list[str]
    steps: list[str]
    works: str = Field(description="here, or at a vendor; in the sandbox; or missing, when its vendor has no key.")
    vendor: str | None = Field(description="Who is paid for it, or played by the sandbox.")
    input: dict[str, Any]

    @classmethod
    def of(cls, tool: Tool) -> "ToolOut":
        place = choices.place(tool.engine, who.settings()) if tool.engine else None
        return cls(
            slug=tool.slug,
            title=tool.title,
            about=tool.about,
            price=(tool.price.__doc__ or "").strip(),
            makes=list(tool.makes),
            steps=[step.label for step in tool.steps],
            works=place.state if place else "here",
            vendor=place.name if place else None,
            input=tool.input.model_json_schema(),
        )


class ToolsOut(Shape):
    items: list[ToolOut]


class QuoteOut(Shape):
    """What a submit would cost and make. Nothing is started."""

    credits: int
    outputs: int
    jobs: int
    seconds: float
    bytes: int


class JobLink(Shape):
    id: int
    status_url: str


class BatchLink(JobLink):
    """Where to ask how a batch is doing."""


class SubmittedOut(Shape):
    batch: BatchLink | None
    jobs: list[JobLink]

    @classmethod
    def of(cls, made: Submitted) -> "SubmittedOut":
        return cls(
            batch=BatchLink(id=made.batch.id, status_url=batches.status_url(made.batch.id)) if made.batch else None,
            jobs=[_link(job) for job in made.jobs],
        )


def _link(job: Job) -> JobLink:
    return JobLink(id=job.id, status_url=url_for("api_jobs.get_show", job_id=job.id))


@door.get("/tools", gives=ToolsOut)
def listed(account: Account) -> ToolsOut:
    """All tools, with the schema of what each is given."""
    return ToolsOut(items=[ToolOut.of(tool) for tool in tools.TOOLS])


@door.get("/tools/<slug>", gives=ToolOut)
def show(account: Account, slug: str) -> ToolOut:
    """One tool."""
    return ToolOut.of(_offered(slug))


@door.post("/tools/<slug>/quote", takes=shapes.Anything, gives=QuoteOut, limit=limits.reads)
def quote(account: Account, slug: str, given: shapes.Anything) -> QuoteOut:
    """The price and size of an input, with no side effects."""
    return QuoteOut.model_validate(jobs.quote(account, _offered(slug), given.root, who.settings()))


@door.post("/tools/<slug>/jobs", takes=shapes.Anything, gives=SubmittedOut, status=202)
def run(account: Account, slug: str, given: shapes.Anything) -> SubmittedOut:
    """Start it: jobs, their holds and their bells, or nothing at all. Send an `Idempotency-Key` to be sure of that,
    and `Credits-Max` to be sure of the price: more is refused with 409."""
    tool, settings = _offered(slug), who.settings()
    made = jobs.submit(account, tool, given.root, settings, key=idempotency_key(), credits_max=credits_max())
    return SubmittedOut.of(made)


def _offered(slug: str) -> Tool:
    return tools.offered(slug, who.settings())
