"""Sample media over JSON."""

from typing import Literal

from flask import Response, jsonify
from pydantic import Field

from novai_web.accounts import Account
from novai_web.api.door import Door, Shape
from novai_web.api.hooks import HookOut
from novai_web.api.library import AssetOut
from novai_web.jobs import samples as giving
from novai_web.library import samples
from novai_web.library.assets import Library
from novai_web.web import who

door = Door("samples")

RETRY_SECONDS = 5


class SamplesState(Shape):
    state: Literal["made", "not_made"] = Field(description="Whether the files are there; POST has them made if not.")


class SamplesGiven(Shape):
    """`added` of these were not in the library before, or lay in its trash; `existing` were there already."""

    state: Literal["given", "making"] = Field(
        description="making: the files are being made, which happens once in an installation; send this again soon."
    )
    retry_after_seconds: int | None = Field(description="When to ask again; null once they are given.")
    added: int
    existing: int
    assets: list[AssetOut]
    hooks: list[HookOut]


@door.get("/samples", gives=SamplesState)
def samples_made(account: Account) -> SamplesState:
    """Whether this installation has made its sample media."""
    return SamplesState(state="not_made" if samples.made(who.store()) is None else "made")


@door.post("/samples", gives=SamplesGiven, status=201, streams=True)
def samples_given(account: Account) -> SamplesGiven | Response:
    """Add the sample media of this installation, once each; 202 while the files are being made."""
    found = giving.give(Library(account.id), who.store(), who.settings())
    if found is None:
        waiting = SamplesGiven(
            state="making", retry_after_seconds=RETRY_SECONDS, added=0, existing=0, assets=[], hooks=[]
        )
        answer = jsonify(waiting.model_dump(mode="json"))
        answer.status_code = 202
        return answer
    return SamplesGiven(
        state="given",
        retry_after_seconds=None,
        added=found.fresh,
        existing=found.known,
        assets=[AssetOut.of(asset) for asset in found.assets],
        hooks=[HookOut.model_validate(hook) for hook in found.hooks],
    )
