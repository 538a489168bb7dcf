"""The vendor's part in an output: staying with it, paying for it, and what the recipe says of it."""

from collections.abc import Mapping
from typing import Any, TypeVar

from novai_web.prices import MICROUSD_PER_CREDIT
from novai_web.tools.tool import Work
from novai_web.vendors import BegunInSandbox, Done, NotConfigured, Vendor, menu

Who = TypeVar("Who", bound=Vendor)


def stay(work: Work, vendor: Who) -> Who:
    """This vendor, if it is the one that this job began with: the sandbox knows nothing of a run at the real one, and
    nobody is paid for what was begun as a trial. Raises NotConfigured and BegunInSandbox."""
    began_in_sandbox = work.notes.setdefault("sandbox", vendor.is_sandbox)
    if vendor.is_sandbox and not began_in_sandbox:
        raise NotConfigured(vendor.title, menu.KEY_NAMES[vendor.name])
    if began_in_sandbox and not vendor.is_sandbox:
        raise BegunInSandbox(vendor.title)
    return vendor


def pay(work: Work, vendor: Vendor, request: Mapping[str, Any], cost_microusd: int) -> Done:
    """The result of a paid request that costs the house about so many millionths of a US dollar: see `Work.paid`."""
    cost_credits = -(-cost_microusd // MICROUSD_PER_CREDIT)
    return work.paid(vendor, request, cost_credits=cost_credits, cost_microusd=cost_microusd)


def of(vendor: Vendor, request: Mapping[str, Any], done: Done) -> dict[str, Any]:
    """The value of `recipe["vendor"]`: who made it, with which model, in which run.

    What that cost the house is the house's to know, and stands with the run.
    """
    return {
        "name": vendor.name,
        "model": request.get("model", ""),
        "run": done.external_id,
        "sandbox": vendor.is_sandbox,
    }
