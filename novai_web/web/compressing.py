"""Text travels compressed: pages, fragments, JSON, and the built front end, which a slow line feels first.

A page may show what somebody typed beside the token of its forms, and its compressed length would tell a listener
which of their guesses is part of that token. So a few random bytes are put into the header of each, which a browser
skips, and its length says nothing.
"""

import gzip
import io
import secrets
from functools import lru_cache

from flask import Flask, Response, request

BYTES_MIN = 1_000
BYTES_MAX = 8_000_000
PADDING_BYTES_MAX = 100
PAGE_LEVEL, STATIC_LEVEL = 5, 9
STATIC_KEPT = 32
TYPES = ("text/", "application/json", "application/problem+json", "application/javascript", "image/svg+xml")


def register(app: Flask) -> None:
    """Before whatever else looks at answers is registered: what is registered first is asked last."""
    app.after_request(_compressed)


def _compressed(answer: Response) -> Response:
    if not (answer.mimetype or "").startswith(TYPES) or answer.status_code in (204, 206, 304):
        return answer
    answer.vary.add("Accept-Encoding")
    is_static = request.endpoint == "static"
    is_wanted = request.method != "HEAD" and request.accept_encodings["gzip"] > 0
    if not is_wanted or "Content-Encoding" in answer.headers:
        return answer
    if is_static:
        answer.direct_passthrough = False
    elif answer.is_streamed:
        return answer
    content = answer.get_data()
    if not BYTES_MIN <= len(content) <= BYTES_MAX:
        return answer
    answer.set_data(_for_good(content) if is_static else _padded(content))
    answer.headers["Content-Encoding"] = "gzip"
    if etag := answer.get_etag()[0]:
        answer.set_etag(etag, weak=True)
    return answer


@lru_cache(STATIC_KEPT)
def _for_good(content: bytes) -> bytes:
    """Nothing in a built file is secret, and it is the same for everybody."""
    return gzip.compress(content, STATIC_LEVEL, mtime=0)


def _padded(content: bytes) -> bytes:
    out = io.BytesIO()
    name = "n" * (1 + secrets.randbelow(PADDING_BYTES_MAX))
    with gzip.GzipFile(name, "wb", PAGE_LEVEL, out, mtime=0) as file:
        file.write(content)
    return out.getvalue()
