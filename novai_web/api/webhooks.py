"""Webhooks: the doorbells of vendors. Whoever rings authentically has the job that waits look now, and nothing else."""

import time
from collections.abc import Callable

import structlog
from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field, ValidationError

from novai_web import jobs
from novai_web.config import Settings
from novai_web.db import transaction
from novai_web.vendors import doorbells, fal_bells, plain, wavespeed
from novai_web.web import limits, who
from novai_web.web.safety import csrf

blueprint = Blueprint("webhooks", __name__, url_prefix="/webhooks")
csrf.exempt(blueprint)  # a vendor has no session; its signature says who it is
log = structlog.get_logger()

BODY_BYTES_MAX = 1024 * 1024
MARKER_MAX = 200


class FalSaid(BaseModel):
    """Of what fal says only which request it is about; what became of it we ask for ourselves."""

    request_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")


class WaveSpeedSaid(BaseModel):
    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")


@blueprint.post("/fal")
@limits.webhooks
def fal() -> ResponseReturnValue:
    """The address carries our own signature too: anybody may have fal call it."""
    settings, body = who.settings(), _body()
    marker, place = request.args.get("run", ""), request.args.get("at", "")
    if not doorbells.is_ours(settings, "fal", marker, place, request.args.get("by", "")):
        return _refused("fal")  # before anybody is asked for keys: a stranger makes us ask nobody
    is_sandbox = _is_sandbox(settings.fal_key.get_secret_value(), settings)
    if not fal_bells.is_authentic(dict(request.headers), body, settings, is_sandbox=is_sandbox):
        return _refused("fal")
    return _ring("fal", marker, body, lambda said: f"{place}/requests/{FalSaid.model_validate_json(said).request_id}")


@blueprint.post("/wavespeed")
@limits.webhooks
def wave_speed() -> ResponseReturnValue:
    settings, body = who.settings(), _body()
    is_sandbox = _is_sandbox(settings.wavespeed_key.get_secret_value(), settings)
    secret = wavespeed.SANDBOX_SECRET if is_sandbox else settings.wavespeed_webhook_secret.get_secret_value()
    is_authentic = wavespeed.is_authentic(
        secret,
        webhook_id=request.headers.get("webhook-id", ""),
        sent_at=request.headers.get("webhook-timestamp", ""),
        signature=request.headers.get("webhook-signature", ""),
        body=body,
        now=time.time(),
    )
    if not is_authentic:
        return _refused("wavespeed")
    marker = request.args.get("run", "")
    return _ring("wavespeed", marker, body, lambda said: WaveSpeedSaid.model_validate_json(said).id)


def _body() -> bytes:
    request.max_content_length = BODY_BYTES_MAX
    return request.get_data(cache=False)


def _is_sandbox(key: str, settings: Settings) -> bool:
    return not key and bool(settings.sandbox_url)


def _ring(vendor: str, marker: str, body: bytes, named: Callable[[bytes], str]) -> ResponseReturnValue:
    """Thanks are said for whatever was authentic, also for a run that nobody knows: the vendor would ring again."""
    try:
        external_id = named(body)
    except ValidationError:
        return jsonify(status="ignored")
    with transaction():
        woken = jobs.wake(vendor, marker=plain(marker)[:MARKER_MAX], external_id=external_id)
    log.info("doorbell", vendor=vendor, external_id=external_id, woken=woken)
    return jsonify(status="ok")


def _refused(vendor: str) -> ResponseReturnValue:
    log.warning("doorbell_refused", vendor=vendor)
    return jsonify(status="refused"), 401
