"""The vendors of this installation. To add one: write its module, name it here."""

from novai_web.config import Settings
from novai_web.vendors import Vendor
from novai_web.vendors.sandbox_runs import SandboxRuns


def configured(settings: Settings) -> tuple[Vendor, ...]:
    """Those that the settings give an address to."""
    return (SandboxRuns(settings.echo_vendor_url),) if settings.echo_vendor_url else ()


def named(name: str, settings: Settings) -> Vendor | None:
    """The vendor of that name; None when it is no longer configured here."""
    return next((vendor for vendor in configured(settings) if vendor.name == name), None)
