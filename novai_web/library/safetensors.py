"""Weights as `.safetensors`: a header of JSON and the numbers. Read here in pure Python, because nothing in it is run.

The format: eight bytes that say how long the header is (little-endian), the header, then one buffer. The header maps
each tensor to its type, its shape and its place in the buffer; the places fill the buffer without a gap and without
meeting (https://huggingface.co/docs/safetensors, "Format").
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from novai_web.errors import UnusableMedia

LENGTH_BYTES = 8
# A LoRA's header has some 100 KB and a whole model's less than one megabyte.
HEADER_BYTES_MAX = 4 * 1024 * 1024
TENSORS_MAX = 50_000
DIMENSIONS_MAX = 16
NAME_CHARACTERS_MAX = 500
METADATA_MAX = 1000
NOTE_CHARACTERS_MAX = 200
_LARGEST = 2**53

# Bits of one number of each type; F4 and F6 are packed.
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
}

PICKLE = (
    "This is a pickle (.pt, .pth, .ckpt or .bin), which can run a program when somebody opens it. "
    "Save it as .safetensors and send that. Nothing was kept."
)


@dataclass(frozen=True)
class Weights:
    """What a header says: how many tensors and numbers, of which types, the rank of a LoRA, and its short notes."""

    tensors: int
    parameters: int
    types: tuple[str, ...]
    rank: int | None
    notes: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "extension": ".safetensors",
            "tensors": self.tensors,
            "parameters": self.parameters,
            "types": list(self.types),
            "rank": self.rank,
            "notes": dict(self.notes),
        }


def looks_like(head: bytes) -> bool:
    """Whether a file that begins so could be one: a length, and the brace of a JSON object."""
    return (
        len(head) > LENGTH_BYTES and head[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{" and head[4:LENGTH_BYTES] == b"\0" * 4
    )


def is_pickle(head: bytes) -> bool:
    """A pickle of its own (protocol 2 to 5), or the archive in which PyTorch keeps one."""
    in_archive = head.startswith(b"PK\x03\x04") and b"data.pkl" in head[:512]
    return in_archive or (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"))


def read(path: Path) -> Weights:
    """What a file of weights is. Raises UnusableMedia, in plain words, unless every byte of it is accounted for."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(LENGTH_BYTES + 1)
        if is_pickle(head + file.read(512)):
            raise UnusableMedia(PICKLE)
        if not looks_like(head):
            _refuse("it does not begin with a header")
        length = int.from_bytes(head[:LENGTH_BYTES], "little")
        if length > HEADER_BYTES_MAX:
            _refuse(f"its header would have {length:,} bytes, and {HEADER_BYTES_MAX:,} are the most")
        if LENGTH_BYTES + length > size:
            _refuse("it ends within its header")
        file.seek(LENGTH_BYTES)
        header = _parsed(file.read(length))
    return _checked(header, size - LENGTH_BYTES - length)


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw, object_pairs_hook=_once, parse_float=_no_number, parse_constant=_no_number)
    except (ValueError, RecursionError):
        _refuse("its header is not readable")
    if not isinstance(header, dict):
        _refuse("its header is not a list of tensors")
    return header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        _refuse("its header names something twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _checked(header: dict[str, Any], buffer_bytes: int) -> Weights:
    notes = _notes(header.pop("__metadata__", {}))
    if not header:
        _refuse("there are no tensors in it")
    if len(header) > TENSORS_MAX:
        _refuse(f"it has {len(header):,} tensors, and {TENSORS_MAX:,} are the most")
    places = []
    parameters, types, ranks = 0, set(), set()
    for name, said in header.items():
        kind, shape, begin, end = _tensor(name, said)
        count = _count(shape)
        if begin > end or end - begin != -(-count * _BITS[kind] // 8):
            _refuse("a tensor’s size is not what its shape says")
        places.append((begin, end))
        parameters += count
        types.add(kind)
        ranks |= _rank(name, shape)
    _check_places(places, buffer_bytes)
    rank = max(ranks) if ranks else None
    return Weights(len(places), parameters, tuple(sorted(types)), rank, notes)


def _tensor(name: str, said: Any) -> tuple[str, list[int], int, int]:
    """Type, shape, and where it begins and ends in the buffer."""
    if len(name) > NAME_CHARACTERS_MAX or not isinstance(said, dict) or set(said) != {"dtype", "shape", "data_offsets"}:
        _refuse("its header does not describe its tensors as it should")
    kind, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
    if not isinstance(kind, str) or kind not in _BITS:
        _refuse("it holds numbers of an unknown type")
    if not _numbers(shape) or len(shape) > DIMENSIONS_MAX or not _numbers(offsets) or len(offsets) != 2:
        _refuse("its header does not describe its tensors as it should")
    return kind, shape, offsets[0], offsets[1]


def _numbers(said: Any) -> bool:
    return isinstance(said, list) and all(type(each) is int and 0 <= each <= _LARGEST for each in said)


def _count(shape: list[int]) -> int:
    count = 1
    for side in shape:
        count *= side
        if count > _LARGEST:
            _refuse("a tensor’s size is not what its shape says")
    return count


def _check_places(places: list[tuple[int, int]], buffer_bytes: int) -> None:
    """The tensors lie one behind the other and fill the file: no hole for something else, nothing read twice."""
    at = 0
    for begin, end in sorted(places):
        if begin != at:
            _refuse("its tensors overlap, or leave a gap")
        at = end
    if at != buffer_bytes:
        _refuse("its end is missing, or there is more in it than it says")


def _rank(name: str, shape: list[int]) -> set[int]:
    """The inner size of a LoRA's pair of matrices, by any of the names its trainers use."""
    is_down = name.endswith((".lora_A.weight", ".lora_down.weight", ".lora_A.default.weight", ".lora.down.weight"))
    return {shape[0]} if is_down and len(shape) >= 2 else set()


def _notes(said: Any) -> dict[str, str]:
    """The file's own notes, the first short ones of them: they are a stranger's words."""
    if not isinstance(said, dict) or not all(isinstance(each, str) for each in said.values()):
        _refuse("its notes are not words")
    short = [(name[:80], text[:NOTE_CHARACTERS_MAX]) for name, text in said.items() if text.isprintable()]
    return dict(short[:20]) if len(said) <= METADATA_MAX else {}


def _refuse(why: str) -> NoReturn:
    raise UnusableMedia(f"This is not a .safetensors file that can be used: {why}. Nothing was kept.")
