"""The routes of objects at the stand-in for Supabase Storage."""

import json
import shutil
from base64 import b64decode
from datetime import UTC, datetime
from typing import IO, Any
from urllib.parse import quote
from uuid import uuid4

from flask import Blueprint, Response, jsonify, request, send_file
from werkzeug.http import http_date

from novai_web.sandbox import supabase_listing
from novai_web.sandbox.supabase_access import (
    forbidden,
    invalid,
    no_bucket,
    no_object,
    service,
    sign,
    signed_for,
)
from novai_web.sandbox.supabase_buckets import body, objects
from novai_web.sandbox.supabase_objects import described, shown

routes = Blueprint("objects", __name__, url_prefix="/storage/v1/object")
UPLOAD_SIGNED_SECONDS = 2 * 3600
DELETE_MAX = 1000
_UNSEEN = "Either the object does not exist or you do not have access to it"


@routes.post("/<bucket>/<path:name>")
@service(forbidden)
def upload(bucket: str, name: str) -> dict[str, str]:
    return _receive(bucket, name, upsert=_wants_upsert())


@routes.put("/<bucket>/<path:name>")
@service(forbidden)
def replace(bucket: str, name: str) -> dict[str, str]:
    return _receive(bucket, name, upsert=True)


@routes.get("/<bucket>/<path:name>")
@routes.get("/authenticated/<bucket>/<path:name>")
@service(no_object)
def download(bucket: str, name: str) -> Response:
    return _serve(objects().find(bucket, name))


@routes.get("/info/<bucket>/<path:name>")
@routes.get("/info/authenticated/<bucket>/<path:name>")
@service(no_object)
def info(bucket: str, name: str) -> dict[str, Any]:
    row = objects().find(bucket, name)
    same = ("id", "name", "version", "bucket_id", "size", "content_type", "cache_control", "etag", "created_at")
    return {key: row[key] for key in same} | {
        "metadata": json.loads(row["user_metadata"] or "{}"),
        "last_modified": row["updated_at"],
    }


@routes.get("/public/<bucket>/<path:name>")
def public(bucket: str, name: str) -> Response:
    if not objects().bucket(bucket)["public"]:
        raise no_bucket()
    return _serve(objects().find(bucket, name))


@routes.post("/list/<bucket>")
@service(lambda: jsonify([]))
def index(bucket: str) -> Response:
    return jsonify(supabase_listing.folder(objects(), bucket, body()))


@routes.post("/list-v2/<bucket>")
@service(lambda: {"hasNext": False, "folders": [], "objects": []})
def index_by_cursor(bucket: str) -> dict[str, Any]:
    return supabase_listing.page(objects(), bucket, body())


@routes.post("/move")
@service(no_object)
def move() -> dict[str, str]:
    row, target = _two_keys()
    with objects().transaction() as rows:
        rows.execute(
            "update objects set name = ? where bucket_id = ? and name = ?", [target, row["bucket_id"], row["name"]]
        )
    return {"message": "Successfully moved"}


@routes.post("/copy")
@service(no_object)
def copy() -> dict[str, Any]:
    row, target = _two_keys()
    blob = objects().blobs / str(uuid4())
    shutil.copyfile(objects().blobs / row["version"], blob)
    kept = {name: row[name] for name in ("content_type", "cache_control", "user_metadata")}
    made = objects().store(row["bucket_id"], target, blob, upsert=False, **kept)
    return {"Key": f"{row['bucket_id']}/{target}", "Id": made["id"], **made, "metadata": described(made)}


@routes.delete("/<bucket>/<path:name>")
@service(no_object)
def delete(bucket: str, name: str) -> dict[str, str]:
    objects().find(bucket, name)
    objects().remove(bucket, [name])
    return {"message": "Successfully deleted"}


@routes.delete("/<bucket>")
@service(lambda: jsonify([]))
def delete_many(bucket: str) -> Response:
    objects().bucket(bucket)
    names = body().get("prefixes")
    if not isinstance(names, list):
        raise invalid("body must have required property 'prefixes'")
    if not 1 <= len(names) <= DELETE_MAX:
        raise invalid(f"body/prefixes must NOT have {'more than 1000' if names else 'fewer than 1'} items")
    return jsonify([{"bucket_id": bucket, **shown(row)} for row in objects().remove(bucket, names)])


@routes.post("/sign/<bucket>/<path:name>")
@service(no_object)
def sign_one(bucket: str, name: str) -> dict[str, str]:
    seconds = _expires_in()
    objects().find(bucket, name)
    return {"signedURL": _signed_url(bucket, name, seconds)}


@routes.post("/sign/<bucket>")
@service(no_object)
def sign_many(bucket: str) -> Response:
    seconds = _expires_in()
    answers: list[dict[str, str | None]] = []
    for name in body().get("paths", []):
        found = objects().exists(bucket, name)
        address = _signed_url(bucket, name, seconds) if found else None
        answers.append({"error": None if found else _UNSEEN, "path": name, "signedURL": address})
    return jsonify(answers)


@routes.get("/sign/<bucket>/<path:name>")
def download_signed(bucket: str, name: str) -> Response:
    claims = signed_for(f"{bucket}/{name}", "download")
    answer = _serve(objects().find(bucket, name))
    answer.headers["Expires"] = http_date(datetime.fromtimestamp(claims["exp"], UTC))
    return answer


@routes.post("/upload/sign/<bucket>/<path:name>")
@service(forbidden)
def sign_upload(bucket: str, name: str) -> dict[str, str]:
    upsert = _wants_upsert()
    objects().admit(bucket, name, "", 0, upsert=upsert)
    claims = {"url": f"{bucket}/{name}", "upsert": upsert, "scope": "upload"}
    token = sign(claims, UPLOAD_SIGNED_SECONDS)
    return {"url": f"/object/upload/sign/{bucket}/{quote(name)}?token={token}", "token": token}


@routes.put("/upload/sign/<bucket>/<path:name>")
def upload_signed(bucket: str, name: str) -> dict[str, str]:
    claims = signed_for(f"{bucket}/{name}", "upload")
    return {"Key": _receive(bucket, name, upsert=bool(claims["upsert"]))["Key"]}


def _receive(bucket: str, name: str, *, upsert: bool) -> dict[str, str]:
    """Raw bytes, or the first file of a multipart body with its `cacheControl` and `metadata` fields."""
    source: IO[bytes] = request.stream
    content_type = request.headers.get("Content-Type", "application/octet-stream")
    cache = request.headers.get("Cache-Control", "no-cache")
    metadata = b64decode(request.headers.get("x-metadata", "")).decode() or "{}"
    if content_type.startswith("multipart/form-data"):
        file = next(iter(request.files.values()), None)
        if file is None:
            raise invalid("body must have a file")
        source, content_type = file.stream, file.content_type or "application/octet-stream"
        cache = f"max-age={request.form['cacheControl']}" if "cacheControl" in request.form else "no-cache"
        metadata = request.form.get("metadata", "{}")
    blob = objects().blobs / str(uuid4())
    try:
        objects().admit(bucket, name, content_type, 0, upsert=upsert)
        with blob.open("xb") as target:
            shutil.copyfileobj(source, target)
        objects().admit(bucket, name, content_type, blob.stat().st_size, upsert=upsert)
    except BaseException:
        blob.unlink(missing_ok=True)
        raise
    details = {"content_type": content_type, "cache_control": cache, "user_metadata": metadata}
    row = objects().store(bucket, name, blob, upsert=upsert, **details)
    return {"Key": f"{bucket}/{name}", "Id": row["id"]}


def _serve(row: dict[str, Any]) -> Response:
    answer = send_file(
        objects().blobs / row["version"],
        mimetype=row["content_type"],
        conditional=True,
        etag=row["etag"].strip('"'),
        last_modified=datetime.fromisoformat(row["updated_at"]),
    )
    answer.headers["Cache-Control"] = row["cache_control"]
    answer.headers["X-Robots-Tag"] = "none"
    del answer.headers["Content-Disposition"]  # Flask says "inline"
    if "download" in request.args:
        name = quote(request.args["download"], safe="")
        named = f" filename={name}; filename*=UTF-8''{name}" if name else ""
        answer.headers["Content-Disposition"] = f"attachment;{named}"
    return answer


def _signed_url(bucket: str, name: str, seconds: int) -> str:
    token = sign({"url": f"{bucket}/{name}", "scope": "download"}, seconds)
    return f"/object/sign/{bucket}/{quote(name)}?token={token}"


def _expires_in() -> int:
    given = body().get("expiresIn")
    if not (isinstance(given, int) or (isinstance(given, str) and given.isdigit())):
        raise invalid("body must have required property 'expiresIn'")
    if int(given) < 1:
        raise invalid("body/expiresIn must be >= 1")
    return int(given)


def _wants_upsert() -> bool:
    return request.headers.get("x-upsert", "false").lower() == "true"


def _two_keys() -> tuple[dict[str, Any], str]:
    """The row of `sourceKey` and the free, valid `destinationKey`."""
    given = body()
    bucket, source, target = (str(given.get(name, "")) for name in ("bucketId", "sourceKey", "destinationKey"))
    row = objects().find(bucket, source)
    objects().admit(bucket, target, row["content_type"], row["size"], upsert=False)
    return row, target
