"""Room that a finished MP4 keeps free in front of its index, so that it can be signed without being written anew.

A whole copy of every variant, and the offsets in its index moved, would cost several times what signing does.
"""

import os
from collections.abc import Sequence
from hashlib import sha256
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple

from novai_web.engines.ffmpeg.malformed import Malformed
from novai_web.engines.ffmpeg.mp4.boxes import box, boxes
from novai_web.engines.ffmpeg.mp4.writing import SIGNED_FROM

Pieces = Sequence[tuple[int, str]]

HEAD_BYTES = 8  # of a box: its length, its name
# The name of the box that a manifest is in, C2PA 2.2, A.5.3.
MANIFEST = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
# What no hash of the file covers, or only in part: the manifest itself, what may be moved, the media data but its head.
EXCLUSIONS: list[dict[str, Any]] = [
    {"xpath": "/uuid", "data": [{"offset": HEAD_BYTES, "value": list(MANIFEST)}]},
    *({"xpath": f"/{name}"} for name in ("ftyp", "mfra", "free", "skip")),
    {"xpath": "/mdat", "subset": [{"offset": SIGNED_FROM, "length": 0}]},
]


class Room(NamedTuple):
    """A `free` box that follows the kind of the file: where it begins, and its length with its head."""

    start: int
    length: int

    def takes(self, size: int) -> bool:
        """Whether so many bytes fit, with nothing left over or at least the head of a smaller box."""
        return size == self.length or size + HEAD_BYTES <= self.length

    def filled(self, manifest: bytes) -> bytes:
        """What the room then holds."""
        left = self.length - len(manifest)
        return manifest + (box(b"free", bytes(left - HEAD_BYTES)) if left else b"")


def find(path: Path) -> Room | None:
    """None where there is none, or where the file has other names, whose bytes must not change."""
    if path.stat().st_nlink > 1 or not os.access(path, os.W_OK):
        return None
    try:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            found = iter(boxes(data, 0, len(data)))
            kind, free = next(found, None), next(found, None)
    except (Malformed, ValueError):  # an empty file cannot be mapped
        return None
    if not kind or not free or kind.name != b"ftyp" or free.name != b"free":
        return None
    return Room(kind.end, free.end - kind.end)


def binding(path: Path, pieces: Pieces) -> dict[str, Any]:
    """The assertion that binds a manifest to an MP4 (C2PA 2.2, 9.2.3): its media data by a row of hashes, one a piece.

    The pieces follow each other from 16 bytes behind the beginning of the media data to its end. Where they are not
    known, all of it is one. What lies around it is hashed by the library.
    """
    pieces = pieces or [_whole(path)]
    row = {
        "uniqueId": 0,
        "localId": 0,
        "count": len(pieces),
        "alg": "sha256",
        "hashes": [list(bytes.fromhex(digest)) for _, digest in pieces],
        "variableBlockSizes": [length for length, _ in pieces],
    }
    data = {"name": "file", "alg": "sha256", "hash": [0] * 32, "exclusions": EXCLUSIONS, "merkle": [row]}
    return {"label": "c2pa.hash.bmff.v3", "data": data}


def _whole(path: Path) -> tuple[int, str]:
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        before = 0  # where the box begins, whose own head may be short or long
        for each in boxes(data, 0, len(data)):
            if each.name == b"mdat":
                with memoryview(data) as view, view[before + SIGNED_FROM : each.end] as part:
                    return len(part), sha256(part).hexdigest()
            before = each.end
    raise Malformed("it has no media data")
