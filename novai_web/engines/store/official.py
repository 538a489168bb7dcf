"""The calls for which Supabase's own client fits: buckets, lists and deletions."""

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from novai_web.engines.store.supabase_api import CONNECT_SECONDS, READ_SECONDS, Api, Unreachable, patiently

if TYPE_CHECKING:
    from storage3 import SyncStorageClient

T = TypeVar("T")


class Official:
    """The storage client of the `supabase` package, imported when first used: that takes most of a second."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._own = threading.local()

    def call(self, action: Callable[["SyncStorageClient"], T]) -> T:
        """Do something that may be done twice, patiently. Raises Refused or Unreachable."""
        return patiently(lambda: self._once(action))

    def _once(self, action: Callable[["SyncStorageClient"], T]) -> T:
        import httpx
        from storage3.exceptions import StorageApiError

        try:
            return action(self._client())
        except StorageApiError as error:
            answer = getattr(error.__cause__, "response", None)
            retry_after = answer.headers.get("retry-after") if isinstance(answer, httpx.Response) else None
            status = int(error.status) if str(error.status).isdigit() else 500
            raise self._api.refused(status, str(error.code), str(error.message), retry_after) from None
        except (httpx.HTTPError, ValueError, TypeError) as error:  # the last two: not the answer it should be
            raise Unreachable(type(error).__name__) from error

    def _client(self) -> "SyncStorageClient":
        """One a thread, and none inherited through a fork."""
        import httpx
        from storage3 import SyncStorageClient

        if getattr(self._own, "process", None) != os.getpid():
            http = httpx.Client(timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS))
            self._own.process = os.getpid()
            self._own.client = SyncStorageClient(f"{self._api.base}/", self._api.headers, http_client=http)
        client: SyncStorageClient = self._own.client
        return client
