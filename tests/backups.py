"""Backups taken apart and put together again, honestly or not."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Members = dict[str, bytes]


def contents(path: Path) -> Members:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def manifest(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(contents(path)["manifest.json"])
    return found


def remade(source: Path, target: Path, change: Callable[[Members, dict[str, Any]], None], *, sign: bool = True) -> Path:
    """A copy in which `change` has altered members and manifest. With `sign` sizes and hashes are made to fit again."""
    members = contents(source)
    said = json.loads(members.pop("manifest.json"))
    change(members, said)
    if sign:
        for name, content in members.items():
            family, _, key = name.partition("/")
            if key in said.get(family, {}):
                facts = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                said[family][key].update(facts)
    write(target, {**members, "manifest.json": json.dumps(said).encode()})
    return target


def write(target: Path, members: Members) -> None:
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members.items():
            add(tar, name, content)


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", **header: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in header.items():
        setattr(member, field, value)
    tar.addfile(member, io.BytesIO(content))
