"""Uploads to Supabase Storage that survive a cut connection: the client's side of TUS 1.0.0."""

import re
from base64 import b64encode
from pathlib import Path
from typing import BinaryIO

import requests

from novai_web.engines.store.supabase_api import Api, Patience, Refused, Unreachable

CHUNK_BYTES = 6 * 1024 * 1024  # Supabase wants exactly this, but for the last one
_VERSION = {"Tus-Resumable": "1.0.0"}
_UPLOAD_ID = re.compile(r"[A-Za-z0-9_=-]+")


class UploadLost(Unreachable):
    """The server has forgotten this upload; it must begin again."""


def upload(api: Api, bucket: str, key: str, path: Path, content_type: str) -> None:
    """Upload the file, replacing what was there. Raises Refused, Unreachable or UploadLost."""
    size = path.stat().st_size
    address = _create(api, size, {"bucketName": bucket, "objectName": key, "contentType": content_type})
    offset, patience = 0, Patience()
    with path.open("rb") as file:
        while offset < size:
            reached = offset
            try:
                offset = _send(api, address, file, offset)
            except (Refused, Unreachable) as error:
                if not _disagrees(error):
                    patience.failed(error)
                offset = _offset(api, address)
                if offset <= reached and _disagrees(error):
                    patience.failed(Unreachable("the server takes no more and does not say why"))
            if offset > reached:
                patience.progress()


def _create(api: Api, size: int, metadata: dict[str, str]) -> str:
    """Path of the new upload. Only its last part is believed: behind proxies the rest may be anybody's."""
    pairs = [f"{name} {b64encode(value.encode()).decode()}" for name, value in metadata.items()]
    headers = {**_VERSION, "Upload-Length": str(size), "Upload-Metadata": ",".join(pairs), "x-upsert": "true"}
    location = api.call("POST", "upload/resumable", headers=headers).headers.get("Location", "")
    upload_id = location.rpartition("/")[2]
    if not _UPLOAD_ID.fullmatch(upload_id):
        raise Unreachable("no Location for a new upload")
    return f"upload/resumable/{upload_id}"


def _send(api: Api, address: str, file: BinaryIO, offset: int) -> int:
    file.seek(offset)
    chunk = file.read(CHUNK_BYTES)
    headers = {**_VERSION, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    reached = api.ask(_upload_offset, "PATCH", address, attempts=1, headers=headers, data=chunk)
    if not offset < reached <= offset + len(chunk):
        raise Unreachable("an Upload-Offset that cannot be")
    return reached


def _offset(api: Api, address: str) -> int:
    try:
        return api.ask(_upload_offset, "HEAD", address, headers=_VERSION)
    except Refused as error:
        if error.status in (404, 410):
            raise UploadLost("the upload is gone") from error
        raise


def _disagrees(error: Refused | Unreachable) -> bool:
    """It has another offset than we, or an earlier connection still holds the upload, or it has forgotten it."""
    return isinstance(error, Refused) and error.status in (404, 409, 410, 423)


def _upload_offset(answer: requests.Response) -> int:
    offset = answer.headers.get("Upload-Offset", "")
    if not offset.isdigit():
        raise Unreachable("no Upload-Offset")
    return int(offset)
