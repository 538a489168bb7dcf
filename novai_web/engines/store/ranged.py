"""Reading an object of Supabase Storage piece by piece, going on where a cut connection left off."""

from collections.abc import Iterator
from http import HTTPStatus

import requests

from novai_web.engines.store.supabase_api import Api, Patience, Refused, Unreachable, sentences

CHUNK_BYTES = 256 * 1024


def read(api: Api, path: str, start: int, end: int | None) -> Iterator[bytes]:
    """The bytes from `start` to `end`. Asks for the first of them at once, so that errors come before any byte."""
    if end is not None and end <= start:
        with sentences():
            api.call("GET", path, stream=True).close()  # a missing object is missing in every range
        return iter(())
    with sentences():
        answer = _ask(api, path, start, end)
    return iter(()) if answer is None else _pieces(api, path, answer, start)


def _ask(api: Api, path: str, start: int, end: int | None, etag: str | None = None) -> requests.Response | None:
    """An answer whose body is just this range, or None when the object ends before it."""
    whole = start == 0 and end is None
    headers = {} if whole else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
    try:
        answer = api.call("GET", path, stream=True, headers=headers)
    except Refused as error:
        if error.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise
    if not whole and answer.status_code != HTTPStatus.PARTIAL_CONTENT:
        answer.close()
        raise Unreachable("the whole object instead of a range")
    if not answer.headers.get("Content-Length", "").isdigit():
        answer.close()
        raise Unreachable("an answer without a length")
    if etag and answer.headers.get("ETag") != etag:
        answer.close()
        raise Unreachable("the object was replaced while it was being read")
    return answer


def _pieces(api: Api, path: str, answer: requests.Response, start: int) -> Iterator[bytes]:
    position, end = start, start + int(answer.headers["Content-Length"])
    etag, patience = answer.headers.get("ETag"), Patience()
    with sentences():
        while True:
            cut = "a body that is too short"
            try:
                with answer:
                    for piece in answer.iter_content(CHUNK_BYTES):
                        position += len(piece)
                        patience.progress()
                        yield piece
            except requests.RequestException as error:
                cut = type(error).__name__
            if position >= end:
                return
            patience.failed(Unreachable(cut))
            resumed = _ask(api, path, position, end, etag)
            if resumed is None:
                raise Unreachable("the object became shorter while it was being read")
            answer = resumed
