"""Where to go next, when the request says so: only ever somewhere on this site."""

from urllib.parse import urlsplit

from werkzeug.routing import IntegerConverter, Map

ID_MAX = 2**63 - 1


class IdConverter(IntegerConverter):
    """`<int:…>` of every route: a number that the database could not hold names nothing."""

    def __init__(self, map: Map) -> None:
        super().__init__(map, max=ID_MAX)


def local_path(asked: str | None, otherwise: str) -> str:
    """`asked` if it is a path on this site, else `otherwise`.

    Browsers read a backslash as a slash and drop tabs and line breaks, so `/\\t/evil.example` is another site.
    """
    if not asked or not asked.startswith("/") or asked.startswith("//"):
        return otherwise
    if "\\" in asked or any(ord(char) <= 0x20 or ord(char) == 0x7F for char in asked):
        return otherwise
    try:
        parts = urlsplit(asked)
    except ValueError:
        return otherwise
    return otherwise if parts.scheme or parts.netloc else asked
