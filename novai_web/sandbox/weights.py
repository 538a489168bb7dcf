"""What the sandbox trains: weights of a LoRA that parse and load, small, and of no use but to show that all works."""

import json
import random
import struct
from collections.abc import Mapping

RANK = 4
WIDTH = 64
BLOCKS = 4
LAYERS = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "ffn.0", "ffn.2")
NOTICE = "SANDBOX: these weights were drawn at random and have learned nothing."


def safetensors(seed: int, metadata: Mapping[str, str]) -> bytes:
    """A file of the format safetensors (github.com/huggingface/safetensors), the same for the same seed.

    Its metadata say that it is the sandbox's; its tensors have the names and types that those of a Wan LoRA have.
    """
    drawn = random.Random(seed)  # noqa: S311 (it is to come out alike each time)
    header: dict[str, object] = {"__metadata__": {"format": "pt", "novai_sandbox": NOTICE, **metadata}}
    content = bytearray()
    for block in range(BLOCKS):
        for layer in LAYERS:
            for side, shape in (("lora_A", (RANK, WIDTH)), ("lora_B", (WIDTH, RANK))):
                values = struct.pack(f"<{RANK * WIDTH}e", *(drawn.gauss(0, 0.02) for _ in range(RANK * WIDTH)))
                header[f"diffusion_model.blocks.{block}.{layer}.{side}.weight"] = {
                    "dtype": "F16",
                    "shape": list(shape),
                    "data_offsets": [len(content), len(content) + len(values)],
                }
                content += values
    said = json.dumps(header, separators=(",", ":")).encode()
    said += b" " * (-len(said) % 8)  # the tensors begin on a multiple of eight
    return struct.pack("<Q", len(said)) + said + bytes(content)


def config(wanted: Mapping[str, object]) -> bytes:
    """The configuration that goes with the weights."""
    kept = {name: wanted.get(name) for name in ("trigger_phrase", "steps", "learning_rate", "is_style")}
    return json.dumps({"sandbox": NOTICE, **kept}, indent=2).encode()
