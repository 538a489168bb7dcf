"""Resumable uploads: tus 1.0 (https://tus.io/protocols/resumable-upload) with creation, termination and expiration."""

import base64
import binascii
from datetime import datetime

from flask import Response, jsonify, request, url_for
from werkzeug.http import http_date

from novai_web.accounts import Account
from novai_web.api.door import Door, Shape
from novai_web.db import session, transaction
from novai_web.errors import Conflict, Gone, InvalidInput, NotFound, NovaiError
from novai_web.jobs import arrivals
from novai_web.jobs.arrivals import Received
from novai_web.library import uploads
from novai_web.library.assets import Library
from novai_web.library.models import Upload
from novai_web.library.uploads import Announced
from novai_web.web import limits, receiving, who

door = Door("uploads")

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,expiration"
PART_TYPE = "application/offset+octet-stream"
METADATA_CHARACTERS_MAX = 8000


class OtherVersion(NovaiError):
    """This server speaks tus 1.0.0. Send the header Tus-Resumable: 1.0.0."""

    code = "tus_version"
    status = 412
    title = "Another version of tus"


class NotAPart(NovaiError):
    """Send the bytes of a part with the header Content-Type: application/offset+octet-stream."""

    code = "not_a_part"
    status = 415
    title = "Not a part of an upload"


class UploadOut(Shape):
    """How far an upload has come."""

    id: str
    offset: int
    size_bytes: int
    expires_at: datetime
    asset_id: int | None


@door.blueprint.after_request
def speak_tus(answer: Response) -> Response:
    answer.headers["Tus-Resumable"] = VERSION
    if request.method == "OPTIONS" or answer.status_code == OtherVersion.status:
        answer.headers["Tus-Version"] = VERSION
        answer.headers["Tus-Extension"] = EXTENSIONS
        answer.headers["Tus-Max-Size"] = str(who.settings().upload_bytes_max)
    return answer


@door.post("/uploads", status=201, streams=True, limit=limits.uploads)
@receiving.takes_files
def uploads_begun(account: Account) -> Response:
    """Announce a file: `Upload-Length`, and `Upload-Metadata` with filename, name, collection_id, sha256."""
    _check_version()
    announced = _announced()
    settings, store = who.settings(), who.store()
    with transaction():
        upload = uploads.begin(Library(account.id), announced, settings, store)
        uploads.partial(upload, settings).create(upload.size_bytes)
    there = url_for("api_uploads.get_upload", upload_id=upload.id)
    if request.mimetype == PART_TYPE:
        answer = _append(upload, 0)
        answer.status_code = 201
    else:
        answer = _said(upload, 0, status=201)
    answer.headers["Location"] = there
    return answer


@door.patch("/uploads/<upload_id>", status=204, streams=True, limit=limits.reads)
@receiving.takes_files
def upload_continued(account: Account, upload_id: str) -> Response:
    """Add bytes at `Upload-Offset`. The answer to the last part names the asset in `Novai-Asset`."""
    _check_version()
    if request.mimetype != PART_TYPE:
        raise NotAPart
    offset = _number("Upload-Offset")
    with transaction():
        upload = uploads.find(Library(account.id), upload_id)
    if upload.finished_at is not None:
        return _said(upload, upload.size_bytes)
    return _append(upload, offset)


@door.get("/uploads/<upload_id>", gives=UploadOut, limit=limits.reads)
def upload(account: Account, upload_id: str) -> Response:
    """How far it has come. HEAD says the same in headers."""
    if request.method == "HEAD":
        _check_version()
    with transaction():
        found = uploads.find(Library(account.id), upload_id)
    if found.finished_at is not None:
        return _said(found, found.size_bytes, status=200)
    offset = uploads.partial(found, who.settings()).offset
    received = _finish(found) if offset == found.size_bytes else None
    return _said(found, offset, received, status=200)


@door.delete("/uploads/<upload_id>", status=204, streams=True)
def upload_ended(account: Account, upload_id: str) -> Response:
    """Give an upload up. What it became already stays in the library."""
    _check_version()
    with transaction():
        found = uploads.find(Library(account.id), upload_id)
    uploads.partial(found, who.settings()).discard()
    with transaction():
        uploads.abandon(found)
    return Response(status=204)


def _append(upload: Upload, offset: int) -> Response:
    """Take the bytes of this request. The database is not held while they come in."""
    library, upload_id = Library(upload.account_id), upload.id
    try:
        reached = uploads.partial(upload, who.settings()).append(offset, request.stream, request.content_length)
    except (Conflict, NotFound):
        with transaction():
            upload = uploads.find(library, upload_id)
        if upload.finished_at is None:
            raise
        return _said(upload, upload.size_bytes)  # another connection has overtaken this one
    with transaction():
        uploads.heard(upload)
    received = _finish(upload) if reached == upload.size_bytes else None
    return _said(upload, reached, received)


def _finish(upload: Upload) -> Received:
    finished = uploads.partial(upload, who.settings()).finish()
    return arrivals.receive(upload, finished, who.store(), who.settings())


def _said(upload: Upload, offset: int, received: Received | None = None, status: int = 204) -> Response:
    """An answer in tus's headers, and for GET also as JSON."""
    asset_id = received.asset.id if received else upload.asset_id
    if upload.finished_at is not None and asset_id is None:
        raise Gone("What this upload became was deleted since.")
    with transaction():
        session.refresh(upload)
    shape = UploadOut(
        id=upload.id,
        offset=offset,
        size_bytes=upload.size_bytes,
        expires_at=upload.expires_at,
        asset_id=asset_id,
    )
    answer = jsonify(shape.model_dump(mode="json")) if status == 200 else Response(status=status)
    answer.status_code = status
    answer.headers["Upload-Offset"] = str(offset)
    answer.headers["Upload-Length"] = str(upload.size_bytes)
    answer.headers["Upload-Expires"] = http_date(upload.expires_at)
    if asset_id is not None:
        answer.headers["Novai-Asset"] = str(asset_id)
    if received and received.is_duplicate:
        answer.headers["Novai-Duplicate"] = "1"
    return answer


def _announced() -> Announced:
    told = _metadata(request.headers.get("Upload-Metadata", ""))
    return Announced(
        size_bytes=_number("Upload-Length"),
        filename=told.get("filename", ""),
        name=told.get("name", ""),
        collection_id=_id(told.get("collection_id", "")),
        sha256=told.get("sha256", "").lower() or None,
    )


def _metadata(header: str) -> dict[str, str]:
    """`key base64,key base64`; a key alone stands for the empty text."""
    if len(header) > METADATA_CHARACTERS_MAX:
        raise InvalidInput({"Upload-Metadata": f"At most {METADATA_CHARACTERS_MAX} characters."})
    found: dict[str, str] = {}
    try:
        for pair in filter(None, (part.strip() for part in header.split(","))):
            key, _, value = pair.partition(" ")
            found[key] = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidInput({"Upload-Metadata": "Send pairs of a name and a text in base64 (UTF-8)."}) from None
    return found


def _number(header: str) -> int:
    given = request.headers.get(header, "")
    if not (given.isascii() and given.isdecimal() and len(given) <= 18):
        raise InvalidInput({header: "Send the header with a whole number of bytes."})
    return int(given)


def _id(given: str) -> int | None:
    if not given:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) <= 18):
        raise InvalidInput({"collection_id": "This is not the id of a collection."})
    return int(given)


def _check_version() -> None:
    if request.headers.get("Tus-Resumable") != VERSION:
        raise OtherVersion
