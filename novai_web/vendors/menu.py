"""The vendors of this installation. To add one: write its module, name it here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from novai_web.config import Settings
from novai_web.vendors import NotConfigured, Swapping, Vendor, doorbells
from novai_web.vendors.fal import Fal
from novai_web.vendors.gemini import Gemini
from novai_web.vendors.picsi import Picsi
from novai_web.vendors.sandbox_runs import SandboxRuns
from novai_web.vendors.wavespeed import WaveSpeed

SANDBOX_KEY = SecretStr("sandbox")

# Which vendors can do what, the first choice first.
ENGINES: Mapping[str, tuple[str, ...]] = {
    "training": ("fal",),
    "pictures": ("fal",),
    "diagram": ("gemini",),
    "faces": ("fal", "wavespeed", "picsi"),
}


@dataclass(frozen=True)
class Entry:
    """One vendor as an administrator sees it: its name, its key's setting, and whether that is set."""

    name: str
    title: str
    setting: str
    key: Callable[[Settings], SecretStr]

    def has_key(self, settings: Settings) -> bool:
        return bool(self.key(settings).get_secret_value())


ENTRIES = (
    Entry("fal", "fal", "FAL_KEY", lambda settings: settings.fal_key),
    Entry("gemini", "Google Gemini", "GEMINI_API_KEY", lambda settings: settings.gemini_key),
    Entry("wavespeed", "WaveSpeed", "WAVESPEED_API_KEY", lambda settings: settings.wavespeed_key),
    Entry("picsi", "Picsi", "PICSI_KEY", lambda settings: settings.picsi_key),
)

# Every vendor that there could be, and the setting of its key as it stands in the environment.
TITLES: Mapping[str, str] = {entry.name: entry.title for entry in ENTRIES}
KEY_NAMES: Mapping[str, str] = {entry.name: entry.setting for entry in ENTRIES}


def configured(settings: Settings) -> tuple[Vendor, ...]:
    """Those that have a key, or that the sandbox stands in for; once each."""
    echo = (SandboxRuns(settings.echo_vendor_url),) if settings.echo_vendor_url else ()
    return (*echo, *(_client(entry, settings) for entry in ENTRIES if _is_there(entry, settings)))


def named(name: str, settings: Settings) -> Vendor | None:
    """The vendor of that name; None when it is no longer configured here."""
    return next((vendor for vendor in configured(settings) if vendor.name == name), None)


def serving(name: str, settings: Settings, *, is_sandbox: bool) -> Vendor | None:
    """The vendor of that name, if it is the one that knows a run that was begun in the sandbox, or not there."""
    vendor = named(name, settings)
    return vendor if vendor and vendor.is_sandbox == is_sandbox else None


def needed(name: str, settings: Settings) -> Vendor:
    """The vendor of that name. Raises NotConfigured, which names the setting to set."""
    entry = next(each for each in ENTRIES if each.name == name)
    _insist(entry, settings)
    return _client(entry, settings)


def fal(engine: str, settings: Settings) -> Fal:
    """fal for one of its engines: "training", "pictures" or "faces". Raises NotConfigured."""
    _insist(ENTRIES[0], settings)
    return _fal(settings, engine)


def gemini(settings: Settings, *, model: str = "") -> Gemini:
    """With this model, or the one of the settings. Raises NotConfigured."""
    _insist(ENTRIES[1], settings)
    return _gemini(settings, model)


def swapper(name: str, settings: Settings) -> Swapping:
    """The vendor of that name for putting faces into videos, one of ENGINES["faces"]. Raises NotConfigured."""
    if name == "fal":
        return fal("faces", settings)
    entry = next(each for each in ENTRIES if each.name == name)
    _insist(entry, settings)
    return _wavespeed(settings) if name == "wavespeed" else _picsi(settings)


def _is_there(entry: Entry, settings: Settings) -> bool:
    return entry.has_key(settings) or bool(settings.sandbox_url)


def _insist(entry: Entry, settings: Settings) -> None:
    if not _is_there(entry, settings):
        raise NotConfigured(entry.title, entry.setting)


def _client(entry: Entry, settings: Settings) -> Vendor:
    if entry.name == "fal":
        return _fal(settings, "")
    if entry.name == "gemini":
        return _gemini(settings)
    return _wavespeed(settings) if entry.name == "wavespeed" else _picsi(settings)


def _fal(settings: Settings, engine: str) -> Fal:
    return Fal(settings, engine, is_sandbox=not ENTRIES[0].has_key(settings))


def _gemini(settings: Settings, model: str = "") -> Gemini:
    url, key, is_sandbox = _access(ENTRIES[1], settings.gemini_url, settings)
    return Gemini(url, key, model=model or settings.gemini_image_model, is_sandbox=is_sandbox)


def _wavespeed(settings: Settings) -> WaveSpeed:
    url, key, is_sandbox = _access(ENTRIES[2], settings.wavespeed_url, settings)
    can_hear = is_sandbox or bool(settings.wavespeed_webhook_secret.get_secret_value())
    base = doorbells.base(settings, is_sandbox=is_sandbox) if can_hear else ""
    return WaveSpeed(
        url,
        key,
        model=settings.wavespeed_swap_model,
        hosts=settings.wavespeed_hosts,
        webhook_url=f"{base}/webhooks/wavespeed" if base else "",
        is_sandbox=is_sandbox,
    )


def _picsi(settings: Settings) -> Picsi:
    url, key, is_sandbox = _access(ENTRIES[3], settings.picsi_url, settings)
    return Picsi(
        url,
        key,
        model=settings.picsi_model,
        submit_path=settings.picsi_submit_path,
        poll_path=settings.picsi_poll_path,
        upload_path=settings.picsi_upload_path,
        statuses=settings.picsi_statuses,
        hosts=settings.picsi_hosts,
        is_sandbox=is_sandbox,
    )


def _access(entry: Entry, url: str, settings: Settings) -> tuple[str, SecretStr, bool]:
    """Where it is, with which key, and whether that is the sandbox: it speaks the same words under another address."""
    if entry.has_key(settings):
        return url, entry.key(settings), False
    return f"{settings.sandbox_url.rstrip('/')}/{entry.name}", SANDBOX_KEY, True
