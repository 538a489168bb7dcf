"""Where a vendor's files may lie: only at addresses that are known beforehand, whatever the vendor says."""

from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit


def is_allowed(url: str, hosts: Iterable[str]) -> bool:
    """Whether `url` is https on one of `hosts`, on its usual port and with nobody's name in it.

    A host that begins with a dot, such as `.fal.media`, stands for all that end with it.
    """
    host = _host(url)
    return any(host == each or (each.startswith(".") and host.endswith(each)) for each in map(str.lower, hosts) if each)


def is_web(url: str) -> bool:
    """Whether `url` is https somewhere, on its usual port and with nobody's name in it."""
    return bool(_host(url))


def is_below(url: str, base: str) -> bool:
    """Whether `url` lies below `base`, as what a sandbox of ours serves does. Steps upwards lead nowhere."""
    return bool(base) and url.startswith(f"{base.rstrip('/')}/") and ".." not in url and "\\" not in url


def _host(url: str) -> str:
    """The host of a plain https address, in small letters; empty if it is anything else."""
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme == "https" and parts.port in (None, 443)
    except ValueError:  # a port that is no number, brackets that hold no address
        return ""
    return _named(parts) if is_plain and url.isprintable() and not set(url) & set("\\ ") else ""


def _named(parts: SplitResult) -> str:
    return "" if "@" in parts.netloc else (parts.hostname or "").rstrip(".")
