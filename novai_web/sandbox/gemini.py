"""A SANDBOX in place of Gemini's image models: answers as Google does, odd ways included, and bills nobody.

What to write into a prompt for trouble: `[sandbox:refuse]` (the picture is blocked, as HTTP 200), `[sandbox:block]`
(the prompt is), `[sandbox:words]` (an answer without a picture), `[sandbox:nothing]` (NO_IMAGE), `[sandbox:draft]`
(drafts of a model that thinks aloud come first), `[sandbox:jpeg]` (a JPEG that says it is a PNG),
`[sandbox:garbage]` (a picture that is none), `[sandbox:html]` (a web page with status 200), `[sandbox:today]` (no
more today), `[sandbox:busy]` (429 with a RetryInfo of two seconds), `[sandbox:down]` (503), `[sandbox:bad]` (400).
A key that begins with `wrong` is not valid, one that begins with `poor` has no billing. One picture takes as long as
the book says; a model that Google has shut down is not found here either.
"""

import base64
import binascii
import hashlib
import time
from typing import Any, Literal

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue

from novai_web.sandbox import pictures
from novai_web.sandbox.book import Book, Run
from novai_web.sandbox.wishes import wish

VENDOR = "gemini"
MODELS = (
    "gemini-nano-banana-2.1",
    "gemini-3-pro-image",
    "gemini-3.1-flash-lite-image",
    "gemini-3.1-flash-image",
    "gemini-2.5-flash-image",
)
SIZELESS = ("gemini-2.5-flash-image", "gemini-3.1-flash-lite-image")
ASPECTS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
SIDES = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}
PICTURES_MAX = 14
BODY_BYTES_MAX = 100 * 1024 * 1024
IMAGE_TOKENS, PICTURE_TOKENS = 1120, 258  # of a picture made, and of one looked at
UNBILLED = ("refuse", "block")
NOT_VALID = "API key not valid. Please pass a valid API key."


class Wrong(Exception):
    """Answered in Google's envelope."""

    def __init__(self, code: int, status: str, message: str, *details: dict[str, Any]) -> None:
        super().__init__(message)
        self.code, self.status, self.message, self.details = code, status, message, details


def create_app(book: Book) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config.update(PROPAGATE_EXCEPTIONS=True, MAX_CONTENT_LENGTH=BODY_BYTES_MAX)

    @app.errorhandler(Wrong)
    def wrong(problem: Wrong) -> ResponseReturnValue:
        said: dict[str, Any] = {"code": problem.code, "message": problem.message, "status": problem.status}
        return jsonify({"error": {**said, "details": list(problem.details)} if problem.details else said}), problem.code

    @app.post("/v1beta/models/<model>:generateContent")
    def generate(model: str) -> ResponseReturnValue:
        _check_key()
        _check_model(model)
        asked = _Asked(model, request.get_json(force=True, silent=True))
        _check_mood(asked.wish)
        run = book.start(VENDOR, model, asked.wanted, marker=request.headers.get("X-Novai-Run", ""))
        time.sleep(run.seconds)
        return _answer(run, asked)

    @app.get("/v1beta/models/<model>")
    def show(model: str) -> ResponseReturnValue:
        _check_key()
        _check_model(model)
        return jsonify({"name": f"models/{model}", "supportedGenerationMethods": ["generateContent"]})

    @app.get("/sandbox/bill")
    def bill() -> ResponseReturnValue:
        runs = book.all(VENDOR)
        return jsonify([run.billed(is_billed=run.wanted.get("wish") not in UNBILLED) for run in runs])

    return app


def _check_key() -> None:
    key = request.headers.get("x-goog-api-key") or request.args.get("key") or ""
    if not key:
        words = "Method doesn't allow unregistered callers (callers without established identity)."
        raise Wrong(403, "PERMISSION_DENIED", words)
    if key.startswith("wrong"):
        reason = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        }
        localized = {
            "@type": "type.googleapis.com/google.rpc.LocalizedMessage",
            "locale": "en-US",
            "message": NOT_VALID,
        }
        raise Wrong(400, "INVALID_ARGUMENT", NOT_VALID, reason, localized)
    if key.startswith("poor"):
        raise Wrong(400, "FAILED_PRECONDITION", "Please enable billing on project novai-sandbox to use this model.")


def _check_model(model: str) -> None:
    if model not in MODELS:
        words = f"models/{model} is not found for API version v1beta, or is not supported for generateContent."
        raise Wrong(404, "NOT_FOUND", words)


def _check_mood(wanted: str) -> None:
    """What is said before anything begins."""
    if wanted == "busy":
        raise Wrong(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted.", _quota("PerMinute"), _retry_in("2s"))
    if wanted == "today":
        words = "You exceeded your current quota, please check your plan and billing details."
        raise Wrong(429, "RESOURCE_EXHAUSTED", words, _quota("PerDay"), _retry_in("41s"))
    if wanted == "down":
        raise Wrong(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
    if wanted == "bad":
        raise Wrong(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")


def _quota(span: str) -> dict[str, Any]:
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
        "quotaId": f"GenerateRequests{span}PerProjectPerModel",
        "quotaDimensions": {"location": "global"},
        "quotaValue": "10",
    }
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}


def _retry_in(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


class _Asked:
    """A request's body, read as Google reads it. Raises Wrong."""

    def __init__(self, model: str, body: Any) -> None:
        try:
            parts = [part for content in body["contents"] for part in content["parts"]]
            config = body.get("generationConfig") or {}
            shape = dict(config.get("imageConfig") or {})
            self.prompt = " ".join(part["text"] for part in parts if "text" in part)
            inline = [part["inlineData"] for part in parts if "inlineData" in part]
            self.pictures = [base64.b64decode(each["data"], validate=True) for each in inline]
            for each in self.pictures:
                pictures.check(each)
        except (KeyError, TypeError, AttributeError, binascii.Error) as problem:
            raise Wrong(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {problem}") from problem
        except pictures.Unreadable as problem:
            raise Wrong(400, "INVALID_ARGUMENT", "Unable to process input image. Please retry.") from problem
        if not parts or len(self.pictures) > PICTURES_MAX:
            raise Wrong(400, "INVALID_ARGUMENT", f"1 part at least, {PICTURES_MAX} images at most.")
        if "IMAGE" not in config.get("responseModalities", []):
            raise Wrong(400, "INVALID_ARGUMENT", "This model only answers with the modality IMAGE.")
        self.size = _size(model, shape)
        self.wish = wish(self.prompt)

    @property
    def wanted(self) -> dict[str, Any]:
        """What is kept of it: enough to draw the same again, without the pictures themselves."""
        seen = [hashlib.sha256(each).hexdigest() for each in self.pictures]
        return {"prompt": self.prompt, "pictures": seen, "size": self.size, "wish": self.wish}


def _size(model: str, shape: dict[str, Any]) -> tuple[int, int]:
    """Width and height in pixels."""
    aspect, size = shape.pop("aspectRatio", "1:1"), shape.pop("imageSize", None)
    if shape:
        raise Wrong(400, "INVALID_ARGUMENT", f'Unknown name "{next(iter(shape))}" at generation_config.image_config')
    if aspect not in ASPECTS:
        raise Wrong(400, "INVALID_ARGUMENT", f"aspect_ratio must be one of {', '.join(ASPECTS)}.")
    if size is not None and (model in SIZELESS or size not in SIDES or (size == "512" and "3.1" not in model)):
        raise Wrong(400, "INVALID_ARGUMENT", f"image_size {size} is not supported by this model.")
    across, down = map(int, aspect.split(":"))
    side = SIDES[size or "1K"]
    scale = side / (across * down) ** 0.5
    return min(4096, round(across * scale / 16) * 16), min(4096, round(down * scale / 16) * 16)


def _answer(run: Run, asked: _Asked) -> ResponseReturnValue:
    if asked.wish == "html":
        return Response("<!doctype html><title>Sign in</title>", mimetype="text/html")
    said: dict[str, Any] = {"modelVersion": run.model, "responseId": run.id}
    told = len(asked.prompt.split()) + PICTURE_TOKENS * len(asked.pictures)
    if asked.wish == "block":
        counts = {"promptTokenCount": told, "totalTokenCount": told}
        return jsonify({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": counts, **said})
    candidate = _candidate(run, asked)
    made = IMAGE_TOKENS if "content" in candidate and asked.wish != "words" else 0
    usage: dict[str, Any] = {
        "promptTokenCount": told,
        "candidatesTokenCount": made,
        "totalTokenCount": told + made,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": told - PICTURE_TOKENS * len(asked.pictures)},
            {"modality": "IMAGE", "tokenCount": PICTURE_TOKENS * len(asked.pictures)},
        ],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": made}],
    }
    return jsonify({"candidates": [{**candidate, "index": 0}], "usageMetadata": usage, **said})


def _candidate(run: Run, asked: _Asked) -> dict[str, Any]:
    if asked.wish == "refuse":
        words = "Unable to show the generated image. The image violated our policies."
        return {"finishReason": "IMAGE_SAFETY", "finishMessage": words}
    if asked.wish == "nothing":
        return {"finishReason": "NO_IMAGE"}
    if asked.wish == "words":
        words = "I would rather describe this than draw it."
        return {"content": {"role": "model", "parts": [{"text": words}]}, "finishReason": "STOP"}
    drafts = [{**_drawn(run, asked, "A first idea"), "thought": True}] if asked.wish == "draft" else []
    drawn = {**_drawn(run, asked, asked.prompt), "thoughtSignature": "c2FuZGJveA=="}
    parts = [*drafts, {"text": "Here is the picture."}, drawn]
    return {"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}


def _drawn(run: Run, asked: _Asked, words: str) -> dict[str, Any]:
    kind: Literal["png", "jpeg"] = "jpeg" if asked.wish == "jpeg" else "png"
    data = pictures.picture(*asked.size, run.seed, words, asked.pictures, kind)
    data = b"<html>no picture</html>" if asked.wish == "garbage" else data
    return {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(data).decode()}}
