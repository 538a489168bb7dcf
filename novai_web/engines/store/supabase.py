"""The store in a private bucket of Supabase Storage."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

import requests
from pydantic import SecretStr

from novai_web.engines.store import ranged, resumable
from novai_web.engines.store.durable import disk_errors
from novai_web.engines.store.keys import check_key, check_prefix, check_range
from novai_web.engines.store.official import Official
from novai_web.engines.store.supabase_api import Api, Refused, Unreachable, json_object, sentences
from novai_web.errors import NotFound, StoreFailed

if TYPE_CHECKING:
    from storage3.types import SearchV2Options, SearchV2Result

DELETE_MAX = 1000  # names in one call
LIST_PAGE = 1000
LINK_READ_SECONDS = 10.0  # somebody is waiting for a page


class SupabaseStore:
    """Reading, writing and links need only `requests`; lists and deletions load Supabase's own client."""

    def __init__(self, url: str, key: SecretStr, bucket: str) -> None:
        self._api = Api(url, key)
        self._official = Official(self._api)
        self._bucket = bucket
        self._bucket_checked = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"SupabaseStore({self._api.base!r}, bucket={self._bucket!r})"

    def put(self, key: str, path: Path, content_type: str) -> None:
        check_key(key)
        size = path.stat().st_size
        with sentences():
            self._ensure_bucket()
            try:
                if size > resumable.CHUNK_BYTES:
                    self._put_large(key, path, size, content_type)
                else:
                    headers = {"Content-Type": content_type}
                    self._api.ask(_stored, "PUT", self._object(key), data=path.read_bytes(), headers=headers)
            except Refused as error:
                if error.status != 404:
                    raise
                self._bucket_checked = False
                raise StoreFailed("The bucket of the file storage is gone. Try again: it is made anew.") from error

    def fetch(self, key: str, path: Path) -> None:
        path.parent.stat()  # a missing folder is the caller's error
        arriving = path.with_name(f".{uuid4().hex}")
        pieces = self.read(key)
        try:
            with disk_errors(), arriving.open("xb") as file:
                for piece in pieces:
                    file.write(piece)
            arriving.replace(path)
        finally:
            arriving.unlink(missing_ok=True)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        check_range(start, end)
        return ranged.read(self._api, self._object(key), start, end)

    def local_path(self, key: str) -> None:
        check_key(key)

    def link(self, key: str, *, seconds: int, download_name: str | None = None) -> str:
        with sentences():
            signed = self._api.ask(
                _signed_path,
                "POST",
                f"object/sign/{self._bucket}/{check_key(key)}",
                json={"expiresIn": seconds},
                repeatable=True,  # it changes nothing
                attempts=2,
                read_seconds=LINK_READ_SECONDS,
            )
        download = f"&download={quote(download_name, safe='')}" if download_name else ""
        return f"{self._api.base}{signed}{download}"

    def size(self, key: str) -> int | None:
        """Asks for the information, not with HEAD: an error then has no body, and so no code."""
        with suppress(NotFound), sentences():
            return self._api.ask(_size, "GET", f"object/info/{self._bucket}/{check_key(key)}")
        return None

    def delete(self, keys: Iterable[str]) -> None:
        checked = iter([check_key(key) for key in keys])
        while some := list(islice(checked, DELETE_MAX)):
            with sentences():
                self._remove(some)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        folder = check_prefix(prefix)
        return self._below(f"{folder}/" if folder else "")

    def free_bytes(self) -> None:
        return None

    def _object(self, key: str) -> str:
        return f"object/{self._bucket}/{check_key(key)}"

    def _put_large(self, key: str, path: Path, size: int, content_type: str) -> None:
        try:
            resumable.upload(self._api, self._bucket, key, path, content_type)
        except resumable.UploadLost:
            resumable.upload(self._api, self._bucket, key, path, content_type)
        if self.size(key) != size:
            raise Unreachable("an object of another size than was sent")

    def _remove(self, keys: Sequence[str]) -> None:
        try:
            self._official.call(lambda client: client.from_(self._bucket).remove(list(keys)))
        except Refused as error:
            if error.status != 404:  # no bucket yet, so nothing in it
                raise

    def _below(self, start: str) -> Iterator[tuple[str, int]]:
        """Pages by cursor: with offsets, objects deleted meanwhile would make others be skipped."""
        with sentences():
            self._ensure_bucket()
            page = self._page({"prefix": start})
            while True:
                for entry in page.objects:
                    yield entry.key or entry.name, int((entry.metadata or {}).get("size", 0))
                if not page.hasNext or not page.nextCursor:
                    return
                page = self._page({"prefix": start, "cursor": page.nextCursor})

    def _page(self, where: "SearchV2Options") -> "SearchV2Result":
        options: SearchV2Options = {**where, "limit": LIST_PAGE, "with_delimiter": False}
        return self._official.call(lambda client: client.from_(self._bucket).list_v2(options))

    def _ensure_bucket(self) -> None:
        """Make the bucket if it is missing, and refuse one that the whole world may read. Asks once."""
        with self._lock:
            if self._bucket_checked:
                return
            try:
                bucket = self._official.call(lambda client: client.get_bucket(self._bucket))
                if bucket.public:
                    raise StoreFailed(f"The storage bucket {self._bucket} is public. Make it private, then try again.")
            except Refused as error:
                if error.status != 404:
                    raise
                self._create_bucket()
            self._bucket_checked = True

    def _create_bucket(self) -> None:
        try:
            self._official.call(lambda client: client.create_bucket(self._bucket, options={"public": False}))
        except Refused as error:
            if error.status != 409:  # another process was quicker
                raise


def _stored(answer: requests.Response) -> None:
    """A 200 from something in between is not a stored file."""
    if "Key" not in json_object(answer):
        raise Unreachable("no word of what was stored")


def _size(answer: requests.Response) -> int:
    size = json_object(answer).get("size")
    if not isinstance(size, int):
        raise Unreachable("no size")
    return size


def _signed_path(answer: requests.Response) -> str:
    """Relative to /storage/v1."""
    signed = json_object(answer).get("signedURL")
    if not isinstance(signed, str) or not signed.startswith("/object/sign/"):
        raise Unreachable("no signed address")
    return signed
