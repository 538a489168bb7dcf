"""The shelf of the sandbox: files that were sent to a stand-in, or made by it, in the folder of its book."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4

CHUNK_BYTES = 256 * 1024
FILE_BYTES_MAX = 2 * 1024**3
ID = re.compile(r"[0-9a-f]{32}")
_FILE = re.compile(r"/files/(?P<id>[0-9a-f]{32})/[^/?]+(?:\?[^/]*)?\Z")


@dataclass(frozen=True)
class Kept:
    """One file: what it was called, what it was said to be, how many bytes were announced, and where it lies."""

    id: str
    name: str
    mime: str
    size: int | None
    path: Path

    @property
    def is_whole(self) -> bool:
        return self.path.is_file()


class Shelf:
    """Files in `folder`, under ids. What people call them is only remembered."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def promise(self, name: str, mime: str, size: int | None = None) -> Kept:
        """A place for a file that is to come."""
        kept = Kept(uuid4().hex, name, mime, size, self.folder)
        note = {key: value for key, value in asdict(kept).items() if key != "path"}
        self._note(kept.id).write_text(json.dumps(note))
        return self._at(kept.id, note)

    def receive(self, kept: Kept, body: IO[bytes], size: int) -> bool:
        """Take a promised file in, whole or not at all. False: its sender hung up, or it is larger than it may be."""
        if size > FILE_BYTES_MAX:
            return False
        arriving = kept.path.with_name(f"{kept.path.name}.{uuid4().hex}")
        try:
            with arriving.open("wb") as file:
                left = size
                while left and (chunk := body.read(min(CHUNK_BYTES, left))):
                    file.write(chunk)
                    left -= len(chunk)
            if not left:
                arriving.replace(kept.path)
            return not left
        finally:
            arriving.unlink(missing_ok=True)

    def find(self, file_id: str) -> Kept | None:
        note = self._note(file_id)
        return self._at(file_id, json.loads(note.read_text())) if ID.fullmatch(file_id) and note.is_file() else None

    def named(self, url: object) -> Kept | None:
        """The file that an address ending in `/files/<id>/<name>` means, whatever is asked of it besides; None: it is
        not of this shelf, or not whole."""
        found = _FILE.search(url) if isinstance(url, str) else None
        kept = self.find(found["id"]) if found else None
        return kept if kept and kept.is_whole else None

    def _note(self, file_id: str) -> Path:
        return self.folder / f"{file_id}.json"

    def _at(self, file_id: str, note: dict[str, object]) -> Kept:
        size = note["size"]
        return Kept(
            file_id,
            str(note["name"]),
            str(note["mime"]),
            size if isinstance(size, int) else None,
            self.folder / f"{file_id}.file",
        )
