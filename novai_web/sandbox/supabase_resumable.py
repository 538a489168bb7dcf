"""Resumable uploads (TUS 1.0.0) at the stand-in for Supabase Storage; its errors have their true code and are text."""

import json
import threading
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from uuid import uuid4

from flask import Blueprint, Response, request
from werkzeug.http import http_date

from novai_web.sandbox.supabase_access import Refusal, forbidden, role, signed
from novai_web.sandbox.supabase_buckets import objects
from novai_web.sandbox.supabase_objects import insert

routes = Blueprint("resumable", __name__, url_prefix="/storage/v1/upload/resumable")
CHUNK_BYTES = 6 * 1024 * 1024
UPLOAD_BYTES_MAX = 50 * 1024**3
VALID = timedelta(hours=24)
_EXTENSIONS = "creation,creation-with-upload,creation-defer-length,termination,expiration"
_BYTES = "application/offset+octet-stream"
_TEXTS = {404: "The file for this url was not found", 413: "Maximum size exceeded"}
_busy: set[str] = set()
_busy_lock = threading.Lock()
P = ParamSpec("P")


class TusError(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@routes.errorhandler(TusError)
def tus_error(error: TusError) -> Response:
    return Response(str(error), error.status, content_type="text/plain")


def admitted(view: Callable[P, Response]) -> Callable[P, Response]:
    """For service_role, or below /sign for whoever has an upload's token; refusals become TUS errors."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            if "/resumable/sign" in request.path:
                _token()
            elif role() != "service_role":
                raise forbidden()
            answer = view(*args, **kwargs)
        except Refusal as refusal:
            raise TusError(refusal.status, _TEXTS.get(refusal.status, refusal.message)) from None
        answer.headers["Tus-Resumable"] = "1.0.0"
        return answer

    return guarded


@routes.route("", methods=["OPTIONS"], provide_automatic_options=False)
@routes.route("/<upload_id>", methods=["OPTIONS"], provide_automatic_options=False)
def options(upload_id: str = "") -> Response:
    headers = {"Tus-Version": "1.0.0", "Tus-Extension": _EXTENSIONS, "Tus-Max-Size": str(UPLOAD_BYTES_MAX)}
    return Response(status=204, headers={"Tus-Resumable": "1.0.0", **headers})


@routes.post("")
@routes.post("/sign", endpoint="create_signed")
@admitted
def create() -> Response:
    row = _announced()
    length = row["length"] or 0
    if length > UPLOAD_BYTES_MAX:
        raise TusError(413, "Maximum size exceeded")
    objects().admit(row["bucket_id"], row["name"], row["content_type"], length, upsert=row["upsert"])
    path = f"{row['bucket_id']}/{row['name']}/{row['version']}"
    row["id"] = urlsafe_b64encode(path.encode()).decode().rstrip("=")
    _bytes(row).touch()
    with objects().transaction() as rows:
        insert(rows, "uploads", row)
    headers = {"Location": f"{request.base_url}/{row['id']}", **_expiry(row)}
    if request.headers.get("Content-Type") == _BYTES:
        headers |= _append(row)
    return Response(status=201, headers=headers)


@routes.route("/<upload_id>", methods=["HEAD"])
@routes.route("/sign/<upload_id>", methods=["HEAD"], endpoint="offset_signed")
@admitted
def offset(upload_id: str) -> Response:
    row = _find(upload_id)
    headers = {"Upload-Offset": str(_offset(row)), "Cache-Control": "no-store", **_expiry(row)}
    headers |= {"Upload-Defer-Length": "1"} if row["length"] is None else {"Upload-Length": str(row["length"])}
    return Response(status=200, headers=headers)


@routes.patch("/<upload_id>")
@routes.patch("/sign/<upload_id>", endpoint="append_signed")
@admitted
def append(upload_id: str) -> Response:
    if request.headers.get("Content-Type") != _BYTES:
        raise TusError(415, "Invalid Content-Type")
    with _alone(upload_id):
        row = _find(upload_id)
        if row["length"] is None and request.headers.get("Upload-Length", "").isdigit():
            row["length"] = int(request.headers["Upload-Length"])
            with objects().transaction() as rows:
                rows.execute("update uploads set length = ? where id = ?", [row["length"], upload_id])
        if request.headers.get("Upload-Offset") != str(_offset(row)):
            raise TusError(409, "Upload-Offset conflict")
        return Response(status=204, headers=_append(row) | _expiry(row))


@routes.delete("/<upload_id>")
@routes.delete("/sign/<upload_id>", endpoint="delete_signed")
@admitted
def delete(upload_id: str) -> Response:
    with _alone(upload_id):
        row = _find(upload_id)
        _bytes(row).unlink(missing_ok=True)
        with objects().transaction() as rows:
            rows.execute("delete from uploads where id = ?", [upload_id])
    return Response(status=204)


def _announced() -> dict[str, Any]:
    """The upload that the headers describe."""
    if not request.headers.get("Upload-Metadata"):
        raise TusError(400, "Metadata header is required")
    given: dict[str, str] = {}
    for pair in request.headers["Upload-Metadata"].split(","):
        name, _, value = pair.strip().partition(" ")
        given[name] = b64decode(value).decode()
    upsert = request.headers.get("x-upsert") == "true"
    if "/resumable/sign" in request.path:
        claims = _token()
        if claims["url"] != f"{given.get('bucketName')}/{given.get('objectName')}":
            raise TusError(400, "Invalid signature")
        upsert = bool(claims["upsert"])
    length = request.headers.get("Upload-Length", "")
    if not length.isdigit() and request.headers.get("Upload-Defer-Length") != "1":
        raise TusError(400, "Upload-Length or Upload-Defer-Length header required")
    return {
        "bucket_id": given.get("bucketName", ""),
        "name": given.get("objectName", ""),
        "version": str(uuid4()),
        "length": int(length) if length.isdigit() else None,
        "content_type": given.get("contentType", "application/octet-stream"),
        "cache_control": f"max-age={given['cacheControl']}" if "cacheControl" in given else "no-cache",
        "user_metadata": given.get("metadata", json.dumps({})),
        "upsert": upsert,
        "created_at": datetime.now(UTC).isoformat(),
        "completed": 0,
    }


def _append(row: dict[str, Any]) -> dict[str, str]:
    """Take the body, whatever of it comes; the last byte makes the object."""
    size, start = request.content_length or 0, _offset(row)
    if row["length"] is not None and start + size > row["length"]:
        raise TusError(413, "Maximum size exceeded")
    if size != CHUNK_BYTES and start + size != row["length"]:
        raise TusError(400, "Every chunk but the last must be exactly 6 MB")
    with _bytes(row).open("ab", buffering=0) as target:
        while chunk := request.stream.read(64 * 1024):
            target.write(chunk)
    reached = {"Upload-Offset": str(_offset(row))}
    if _offset(row) != row["length"]:
        return reached
    details = {name: row[name] for name in ("content_type", "cache_control", "user_metadata")}
    blob = _bytes(row).rename(objects().blobs / row["version"])
    objects().store(row["bucket_id"], row["name"], blob, upsert=bool(row["upsert"]), **details)
    with objects().transaction() as rows:
        rows.execute("update uploads set completed = 1 where id = ?", [row["id"]])
    return {**reached, "tus-complete": "1"}


def _find(upload_id: str) -> dict[str, Any]:
    with objects().transaction() as rows:
        found = rows.execute("select * from uploads where id = ?", [upload_id]).fetchone()
    if found is None or datetime.now(UTC) > datetime.fromisoformat(found["created_at"]) + VALID:
        raise TusError(404, _TEXTS[404])
    return dict(found)


def _offset(row: dict[str, Any]) -> int:
    return int(row["length"]) if row["completed"] else _bytes(row).stat().st_size


def _bytes(row: dict[str, Any]) -> Path:
    return objects().blobs / f"{row['version']}.part"


def _expiry(row: dict[str, Any]) -> dict[str, str]:
    return {"Upload-Expires": http_date(datetime.fromisoformat(row["created_at"]) + VALID)}


def _token() -> dict[str, Any]:
    """The claims of the token for a signed upload, which replaces the Authorization header."""
    try:
        claims = signed(request.headers.get("x-signature", ""))
    except ValueError as error:
        raise TusError(400, str(error)) from None
    if claims.get("scope") != "upload":
        raise TusError(400, "Invalid signature")
    return claims


@contextmanager
def _alone(upload_id: str) -> Iterator[None]:
    with _busy_lock:
        if upload_id in _busy:
            raise TusError(409, "Another request is using this upload")
        _busy.add(upload_id)
    try:
        yield
    finally:
        with _busy_lock:
            _busy.discard(upload_id)
