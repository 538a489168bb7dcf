"""Small real `.safetensors` files, and some that are none."""

import json
import pickle
from typing import Any

from novai_web.library import safetensors


def weights(seed: int = 1, rank: int = 4, notes: dict[str, str] | None = None) -> bytes:
    """A LoRA of two layers; another for each seed."""
    header: dict[str, Any] = {"__metadata__": notes} if notes is not None else {}
    data = b""
    for layer in range(2):
        for name, shape in (("lora_A", [rank, 8]), ("lora_B", [8, rank])):
            size = 2 * shape[0] * shape[1]
            offsets = [len(data), len(data) + size]
            header[f"blocks.{layer}.attn.{name}.weight"] = {"dtype": "F16", "shape": shape, "data_offsets": offsets}
            data += bytes((seed * 31 + layer * 7 + at) % 251 for at in range(size))
    return whole(header, data)


def whole(header: Any, data: bytes, *, length: int | None = None) -> bytes:
    """A file of this header, which may be JSON or bytes, and this buffer. `length` is what it says of its header."""
    said = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(said) if length is None else length).to_bytes(safetensors.LENGTH_BYTES, "little") + said + data


def tensor(shape: list[int], begin: int, end: int, kind: str = "U8") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


class Program:
    """What a pickle can do: run something as soon as it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this would have been run",)


def pickled() -> bytes:
    return pickle.dumps(Program())
