"""The models of the sandbox of fal: what each takes, within which bounds, and what it makes."""

import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from novai_web.sandbox import pictures, weights
from novai_web.sandbox.book import Run
from novai_web.sandbox.shelf import Kept

SIZES = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
PICKLE = pickle.dumps({"state_dict": ["what no safetensors file is"]})


@dataclass(frozen=True)
class Made:
    """One file of an output: the key it stands under, its name, its type, and how its bytes come about."""

    key: str
    name: str
    mime: str
    extra: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Number:
    low: float
    high: float
    is_whole: bool = False


@dataclass(frozen=True)
class Model:
    """What one endpoint is asked, and with which files it answers."""

    required: tuple[str, ...]
    numbers: Mapping[str, Number]
    makes: Callable[[Mapping[str, Any]], list[Made]]
    units: Callable[[Mapping[str, Any]], float]
    texts: tuple[str, ...] = ()  # where a wish may stand


def size(given: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of a picture in pixels."""
    said = given.get("image_size", "square_hd")
    if isinstance(said, dict):
        return int(said.get("width", 1024)), int(said.get("height", 1024))
    return SIZES[str(said)]


def _training(given: Mapping[str, Any]) -> list[Made]:
    octets = "application/octet-stream"
    return [
        Made("diffusers_lora_file", "pytorch_lora_weights_low.safetensors", octets),
        Made("high_noise_lora", "pytorch_lora_weights_high.safetensors", octets),
        Made("config_file", "config.json", octets),
    ]


def _picture(given: Mapping[str, Any]) -> list[Made]:
    kind = str(given.get("image_format", "jpeg"))
    width, height = size(given)
    return [Made("image", f"picture.{kind}", f"image/{kind}", {"width": width, "height": height})]


def _swap(given: Mapping[str, Any]) -> list[Made]:
    return [Made("video", "swapped.mp4", "video/mp4")]


TRAINER = "fal-ai/wan-22-image-trainer"
PICTURE = "fal-ai/wan/v2.2-a14b/text-to-image/lora"
SWAP = "half-moon-ai/ai-face-swap/faceswapvideo"

MODELS: Mapping[str, Model] = {
    TRAINER: Model(
        required=("training_data_url", "trigger_phrase"),
        numbers={"steps": Number(10, 6000, is_whole=True), "learning_rate": Number(1e-6, 0.1)},
        makes=_training,
        units=lambda given: max(100, int(given.get("steps", 1000))),
        texts=("trigger_phrase",),
    ),
    PICTURE: Model(
        required=("prompt",),
        numbers={
            "num_inference_steps": Number(2, 40, is_whole=True),
            "guidance_scale": Number(1, 10),
            "guidance_scale_2": Number(1, 10),
            "shift": Number(1, 10),
        },
        makes=_picture,
        units=lambda given: 1,
        texts=("prompt",),
    ),
    SWAP: Model(
        required=("source_face_url", "target_video_url"),
        numbers={},
        makes=_swap,
        units=lambda given: 1,
    ),
}


def problems(model: Model, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is wrong with an input, as fal lists it."""
    found = [_problem(name, "field required", "missing", given) for name in model.required if not given.get(name)]
    for name, number in model.numbers.items():
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or (number.is_whole and value != int(value)):
            found.append(_problem(name, "value is not a valid number", "value_error", given))
        elif value < number.low:
            words = f"ensure this value is greater than or equal to {number.low:g}"
            found.append(_problem(name, words, "greater_than_equal", given))
        elif value > number.high:
            words = f"ensure this value is less than or equal to {number.high:g}"
            found.append(_problem(name, words, "less_than_equal", given))
    return found + _wrong_loras(given)


def _wrong_loras(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    loras = given.get("loras", [])
    if not isinstance(loras, list) or not all(isinstance(each, dict) and each.get("path") for each in loras):
        return [_problem("loras", "field required", "missing", given)]
    scales = [each.get("scale", 1) for each in loras]
    if any(not isinstance(scale, int | float) or not 0 <= scale <= 4 for scale in scales):
        return [_problem("loras", "ensure this value is less than or equal to 4", "less_than_equal", given)]
    if any(each.get("transformer", "high") not in ("high", "low", "both") for each in loras):
        return [_problem("loras", "unexpected value; permitted: 'high', 'low', 'both'", "one_of", given)]
    return []


def _problem(name: str, words: str, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "loc": ["body", name],
        "msg": words,
        "type": kind,
        "url": f"https://docs.fal.ai/errors/#{kind}",
        "input": dict(given),
    }


def refusal(name: str, words: str, kind: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One error of a model, as fal lists it."""
    return [_problem(name, words, kind, given)]


def wrong_archive(archive: Kept | None) -> str | None:
    """What a training says of its ZIP; None when it can use it."""
    if archive is None:
        return "The archive could not be downloaded."
    try:
        with zipfile.ZipFile(archive.path) as opened:
            names = [name for name in opened.namelist() if "/" not in name]
    except (zipfile.BadZipFile, OSError):
        return "The file is not a valid archive."
    return None if any(name.lower().endswith(PICTURES) for name in names) else "The archive holds no images."


def content(run: Run, made: Made) -> bytes:
    """The bytes of a file that a run made; the same each time. A swapped video is not made here."""
    if run.wanted.get("wish") == "pickle" and made.name.endswith(".safetensors"):
        return PICKLE
    if made.key == "config_file":
        return weights.config(run.wanted)
    if made.key in ("diffusers_lora_file", "high_noise_lora"):
        said = {"novai_trigger": str(run.wanted.get("trigger_phrase", "")), "novai_part": made.key}
        return weights.safetensors(run.seed + (made.key == "high_noise_lora"), said)
    if made.key == "image":
        width, height = size(run.wanted)
        words = str(run.wanted.get("prompt", ""))
        return pictures.picture(width, height, run.seed, words, kind="png" if made.name.endswith("png") else "jpeg")
    return json.dumps(run.wanted).encode()
