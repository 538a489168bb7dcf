"""The routes of buckets at the stand-in for Supabase Storage."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request

from novai_web.sandbox.supabase_access import Refusal, duplicate, forbidden, invalid, no_bucket, service
from novai_web.sandbox.supabase_objects import Objects, insert

routes = Blueprint("buckets", __name__, url_prefix="/storage/v1/bucket")
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}  # decimal, as seen: "10MB" gave 10000000


def objects() -> Objects:
    kept: Objects = current_app.extensions["objects"]
    return kept


def body() -> dict[str, Any]:
    given = request.get_json(silent=True, force=True)
    return given if isinstance(given, dict) else {}


@routes.post("")
@service(forbidden)
def create() -> dict[str, str]:
    given = body()
    if "name" not in given:
        raise invalid("body must have required property 'name'")
    bucket = str(given.get("id") or given["name"])
    if len(bucket) > 100 or "/" in bucket or not bucket.isascii():
        raise Refusal(400, "Invalid Input", "Bucket name invalid", "InvalidBucketName")
    now = datetime.now(UTC).isoformat()
    with objects().transaction() as rows:
        if rows.execute("select 1 from buckets where id = ?", [bucket]).fetchone():
            raise duplicate("Bucket")
        row = {"id": bucket, "name": given["name"], "created_at": now, "updated_at": now, "public": False}
        insert(rows, "buckets", row | {"file_size_limit": None, "allowed_mime_types": "null"} | _changes(given))
    return {"name": bucket}


@routes.get("")
@service(lambda: jsonify([]))
def index() -> Response:
    with objects().transaction() as rows:
        names = [row["id"] for row in rows.execute("select id from buckets order by id")]
    return jsonify([{**objects().bucket(name), "type": "STANDARD"} for name in names])


@routes.get("/<bucket>")
@service(no_bucket)
def show(bucket: str) -> dict[str, Any]:
    return objects().bucket(bucket)


@routes.put("/<bucket>")
@service(no_bucket)
def update(bucket: str) -> dict[str, str]:
    objects().bucket(bucket)
    changes = {**_changes(body()), "updated_at": datetime.now(UTC).isoformat()}
    with objects().transaction() as rows:
        for name, value in changes.items():
            rows.execute(f"update buckets set {name} = ? where id = ?", [value, bucket])  # noqa: S608
    return {"message": "Successfully updated"}


@routes.post("/<bucket>/empty")
@service(no_bucket)
def empty(bucket: str) -> dict[str, str]:
    objects().remove(bucket, [row["name"] for row in objects().below(bucket)])
    return {"message": "Empty bucket has been queued. Completion may take up to an hour."}


@routes.delete("/<bucket>")
@service(no_bucket)
def delete(bucket: str) -> dict[str, str]:
    if objects().below(bucket):
        message = "The bucket you tried to delete is not empty"
        raise Refusal(409, "ResourceNotEmpty", message, "ResourceNotEmpty")
    with objects().transaction() as rows:
        rows.execute("delete from buckets where id = ?", [bucket])
    return {"message": "Successfully deleted"}


def _changes(given: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if "public" in given:
        changes["public"] = bool(given["public"])
    if "file_size_limit" in given:
        changes["file_size_limit"] = _bytes(given["file_size_limit"])
    if "allowed_mime_types" in given:
        changes["allowed_mime_types"] = json.dumps(given["allowed_mime_types"])
    return changes


def _bytes(limit: int | str | None) -> int | None:
    if limit is None or isinstance(limit, int):
        return limit
    match = re.fullmatch(r"(\d+)\s*([KMG]?B)?", limit.strip(), re.IGNORECASE)
    if not match:
        raise invalid("body/file_size_limit is not a size")
    return int(match[1]) * _UNITS[(match[2] or "B").upper()]
