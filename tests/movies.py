"""Takes MP4s apart into boxes, and puts them together otherwise, for tests."""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from novai_web.engines.ffmpeg.mp4.boxes import box, boxes

CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"}

Change = bytes | None | Callable[[bytes], bytes]  # another payload, or without this box


def changed(path: Path, changes: Mapping[str, Change], target: Path | None = None) -> Path:
    """The file with other payloads in its boxes, its index last, so that nothing in it moves.

    A name is "moov/trak/tkhd"; "moov/trak#1/tkhd" is in the second track. What is not there yet is appended.
    """
    data = path.read_bytes()
    parts = {part.name: data[part.start : part.end] for part in boxes(data, 0, len(data))}
    head = box(b"ftyp", parts[b"ftyp"])
    moved = len(head) + 8 - data.index(parts[b"mdat"])
    index = _moved_chunks(parts[b"moov"], moved)
    for name, change in changes.items():
        index = _with(index, name.removeprefix("moov/").split("/"), change)
    target = target or path.with_name(f"changed-{path.name}")
    target.write_bytes(head + box(b"mdat", parts[b"mdat"]) + box(b"moov", index))
    return target


def payload(path: Path, name: str) -> bytes:
    """Of the box of that name."""
    data = path.read_bytes()
    for step in name.split("/"):
        data = _parts(data)[_place(data, step)][1]
    return data


def rows(layout: str, *values: tuple[int, ...], head: int = 0) -> bytes:
    """A table as most are: version and flags, a number of rows, and the rows."""
    return struct.pack(">II", head, len(values)) + b"".join(struct.pack(layout, *row) for row in values)


def _parts(data: bytes) -> list[tuple[bytes, bytes]]:
    return [(part.name, data[part.start : part.end]) for part in boxes(data, 0, len(data))]


def _place(data: bytes, step: str) -> int:
    name, _, number = step.partition("#")
    places = [place for place, (found, _) in enumerate(_parts(data)) if found == name.encode()]
    return places[int(number or 0)] if places else -1


def _with(data: bytes, steps: list[str], change: Change) -> bytes:
    parts, place = _parts(data), _place(data, steps[0])
    if place < 0:
        assert isinstance(change, bytes)
        new = change
        for step in reversed(steps[1:]):
            new = box(step.encode(), new)
        parts.append((steps[0].encode(), new))
    elif len(steps) > 1:
        parts[place] = (parts[place][0], _with(parts[place][1], steps[1:], change))
    elif change is None:
        del parts[place]
    else:
        parts[place] = (parts[place][0], change if isinstance(change, bytes) else change(parts[place][1]))
    return b"".join(box(name, content) for name, content in parts)


def _moved_chunks(data: bytes, by: int) -> bytes:
    moved = []
    for name, content in _parts(data):
        if name in CONTAINERS:
            content = _moved_chunks(content, by)
        elif name in (b"stco", b"co64"):
            layout = ">I" if name == b"stco" else ">Q"
            content = content[:8] + b"".join(
                struct.pack(layout, offset + by) for (offset,) in struct.iter_unpack(layout, content[8:])
            )
        moved.append(box(name, content))
    return b"".join(moved)
