"""Where files are kept: local disk or Supabase Storage, behind one small Protocol."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from novai_web.config import Settings


class Store(Protocol):
    """Objects under ASCII keys such as "assets/42/original.mp4" (see `keys.check_key`).

    Raises `NotFound`, `DiskFull`, `TooLarge` and `StoreFailed`, and ValueError for a key that no store may have.
    """

    def put(self, key: str, path: Path, content_type: str) -> None:
        """Store the file at `path`, replacing what was there. Durable when it returns, and never half visible.

        The file may be linked rather than copied, so it must not be written to afterwards; deleting it is fine.
        """

    def fetch(self, key: str, path: Path) -> None:
        """Bring an object to a local file, which appears whole or not at all and is for reading only."""

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to but without `end`; nothing past the end. A missing object raises at once."""

    def local_path(self, key: str) -> Path | None:
        """The file itself when the store is this machine's disk, otherwise None."""

    def link(self, key: str, *, seconds: int, download_name: str | None = None) -> str | None:
        """A signed address anyone may read for that long; None when the store is this machine's disk."""

    def size(self, key: str) -> int | None:
        """Size in bytes, or None when there is no such object."""

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; missing ones are fine."""

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Key and size of everything in the folder `prefix` and below it ("": everything), in no promised order."""

    def free_bytes(self) -> int | None:
        """Room left, or None when the store cannot say."""


def open_store(settings: Settings) -> Store:
    """The store these settings ask for. Touches no network."""
    if settings.supabase_url:
        from novai_web.engines.store.supabase import SupabaseStore

        return SupabaseStore(settings.supabase_url, settings.supabase_key, settings.supabase_bucket)
    from novai_web.engines.store.local import LocalStore

    return LocalStore(settings.files_folder)
