"""The stand-in for Supabase Storage answers as the contract says, to plain requests and to Supabase's own client."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests
from storage3 import SyncStorageClient
from storage3.exceptions import StorageApiError

from novai_web.sandbox import started
from novai_web.sandbox.supabase_storage import SECRET, project_key

MIB = 1024 * 1024
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}


class Client:
    """Requests as one of the project's roles."""

    def __init__(self, address: str, key: str | None) -> None:
        self.base = f"{address}/storage/v1"
        self.address = address
        self.headers = {"Authorization": f"Bearer {key}"} if key is not None else {}

    def __call__(self, method: str, path: str, headers: dict[str, str] | None = None, **options) -> requests.Response:
        url = path if path.startswith("http") else f"{self.base}{path}"
        return requests.request(method, url, headers={**self.headers, **(headers or {})}, timeout=20, **options)

    def put(self, bucket: str, key: str, content: bytes = b"hello", kind: str = "text/plain") -> None:
        self("POST", f"/object/{bucket}/{key}", {"Content-Type": kind}, data=content).raise_for_status()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    with started("supabase_storage", "--data", tmp_path_factory.mktemp("supabase")) as url:
        yield url


@pytest.fixture
def admin(address) -> Client:
    return Client(address, project_key())


@pytest.fixture
def bucket(admin, request) -> str:
    name = f"b{abs(hash(request.node.nodeid))}"
    assert admin("POST", "/bucket", json={"id": name, "name": name}).json() == {"name": name}
    return name


def refusal(answer: requests.Response, http: int = 400) -> tuple[str, str, str, str]:
    """(statusCode, error, message, code), and the HTTP code is checked."""
    assert answer.status_code == http, answer.text
    body = answer.json()
    return body["statusCode"], body["error"], body["message"], body["code"]


def test_it_says_that_it_is_a_sandbox(address):
    answer = requests.get(address, timeout=5)
    assert answer.json()["sandbox"] is True
    assert "not Supabase" in answer.headers["Server"]


# Who may do what


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_without_a_policy_nobody_but_the_service_role_sees_or_changes_anything(address, admin, bucket, role):
    admin.put(bucket, "a.txt")
    other = Client(address, project_key(role))
    message = "new row violates row-level security policy"
    for answer in (other("POST", f"/object/{bucket}/b.txt", data=b"x"), other("POST", "/bucket", json={"name": "n"})):
        assert refusal(answer) == ("403", "Unauthorized", message, "AccessDenied")
    assert other("POST", f"/object/list/{bucket}", json={"prefix": ""}).json() == []
    assert other("GET", "/bucket").json() == []
    for answer in (
        other("GET", f"/object/{bucket}/a.txt"),
        other("POST", f"/object/sign/{bucket}/a.txt", json={"expiresIn": 60}),
    ):
        assert refusal(answer) == ("404", "not_found", "Object not found", "NoSuchKey")


@pytest.mark.parametrize(
    ("key", "code", "message"),
    [
        (None, "400", "headers must have required property 'authorization'"),
        ("garbage", "403", "Invalid Compact JWS"),
        (project_key(seconds=-10), "403", '"exp" claim timestamp check failed'),
        (project_key(secret="x" * 40), "403", "signature verification failed"),
    ],
)
def test_a_missing_or_wrong_token_is_refused_with_its_reason(address, key, code, message):
    answer = refusal(Client(address, key)("GET", "/bucket"))
    assert (answer[0], answer[2]) == (code, message)


def test_an_expired_token_finds_no_bucket_behind_a_private_object(address, admin, bucket):
    admin.put(bucket, "a.txt")
    expired = Client(address, project_key(seconds=-10))
    answer = refusal(expired("GET", f"/object/{bucket}/a.txt"))
    assert answer == ("404", "Bucket not found", "Bucket not found", "NoSuchBucket")


# Buckets


def test_a_bucket_lives_its_life(admin):
    made = admin("POST", "/bucket", json={"id": "life", "name": "life", "file_size_limit": "10MB"})
    assert made.json() == {"name": "life"}
    shown = admin("GET", "/bucket/life").json()
    assert (shown["public"], shown["file_size_limit"], "type" in shown) == (False, 10_000_000, False)
    listed = next(one for one in admin("GET", "/bucket").json() if one["id"] == "life")
    assert listed["type"] == "STANDARD"
    assert admin("PUT", "/bucket/life", json={"public": True}).json() == {"message": "Successfully updated"}
    assert admin("GET", "/bucket/life").json()["public"] is True
    admin.put("life", "a.txt")
    message = "The bucket you tried to delete is not empty"
    assert refusal(admin("DELETE", "/bucket/life")) == ("409", "ResourceNotEmpty", message, "ResourceNotEmpty")
    emptied = admin("POST", "/bucket/life/empty", json={}).json()["message"]
    assert emptied == "Empty bucket has been queued. Completion may take up to an hour."
    assert admin("DELETE", "/bucket/life", json={}).json() == {"message": "Successfully deleted"}
    assert refusal(admin("GET", "/bucket/life"))[3] == "NoSuchBucket"


def test_a_bucket_that_cannot_be_made_says_why(admin, bucket):
    exists = refusal(admin("POST", "/bucket", json={"name": bucket}))
    assert exists == ("409", "Duplicate", "The resource already exists", "BucketAlreadyExists")
    assert refusal(admin("POST", "/bucket", json={}))[2:] == (
        "body must have required property 'name'",
        "InvalidRequest",
    )
    for name in ("a/b", "n" * 101):
        answer = refusal(admin("POST", "/bucket", json={"name": name}))
        assert answer == ("400", "Invalid Input", "Bucket name invalid", "InvalidBucketName")


def test_a_bucket_keeps_out_what_is_too_large_or_of_another_type(admin):
    limits = {"file_size_limit": 10, "allowed_mime_types": ["image/*", "video/mp4"]}
    admin("POST", "/bucket", json={"name": "strict", **limits}).raise_for_status()
    large = admin("POST", "/object/strict/a.png", {"Content-Type": "image/png"}, data=b"x" * 11)
    message = "The object exceeded the maximum allowed size"
    assert refusal(large) == ("413", "Payload too large", message, "EntityTooLarge")
    other = admin("POST", "/object/strict/a.pdf", {"Content-Type": "application/pdf"}, data=b"x")
    message = "mime type application/pdf is not supported"
    assert refusal(other) == ("415", "invalid_mime_type", message, "InvalidMimeType")
    admin.put("strict", "b.png", b"x", "image/png")
    assert admin("POST", "/object/list/strict", json={}).json()[0]["name"] == "b.png"


# Objects


@pytest.mark.parametrize("key", ["a/[.png", "%D0%B6.png", "caf%C3%A9.png", "a%23b", "a%25b"])
def test_keys_are_ascii_of_a_narrow_kind(admin, bucket, key):
    answer = refusal(admin("POST", f"/object/{bucket}/{key}", data=b"x"))
    assert answer[0] == "400"
    assert answer[1] == answer[3] == "InvalidKey"
    assert answer[2].startswith("Invalid key: ")


def test_every_allowed_character_of_a_key_works(admin, bucket):
    key = "aZ0_/!.*'() &$=@;:+,%3F-"
    admin.put(bucket, key)
    assert admin("GET", f"/object/{bucket}/{key}").content == b"hello"


def test_an_upload_replaces_only_when_told(admin, bucket):
    path = f"/object/{bucket}/a.txt"
    first = admin("POST", path, data=b"1").json()
    assert first["Key"] == f"{bucket}/a.txt" and len(first["Id"]) == 36
    exists = ("409", "Duplicate", "The resource already exists", "KeyAlreadyExists")
    assert refusal(admin("POST", path, data=b"2")) == exists
    assert admin("POST", path, {"x-upsert": "true"}, data=b"3").json()["Id"] == first["Id"]
    assert admin("PUT", path, data=b"4").ok
    assert admin("PUT", f"/object/{bucket}/new.txt", data=b"5").ok
    assert admin("GET", path).content == b"4"


def test_raw_and_multipart_uploads_keep_type_cache_and_metadata(admin, bucket):
    about = {"x-metadata": base64.b64encode(json.dumps({"by": "raw"}).encode()).decode()}
    admin("POST", f"/object/{bucket}/raw", {"Content-Type": "video/mp4", **about}, data=b"1").raise_for_status()
    form = {"cacheControl": "3600", "metadata": json.dumps({"by": "form"})}
    files = {"file": ("name.mp3", b"22", "audio/mpeg")}
    admin("POST", f"/object/{bucket}/form", data=form, files=files).raise_for_status()
    raw, form = (admin("GET", f"/object/info/{bucket}/{name}").json() for name in ("raw", "form"))
    assert (raw["content_type"], raw["cache_control"], raw["metadata"]) == ("video/mp4", "no-cache", {"by": "raw"})
    assert (form["content_type"], form["cache_control"]) == ("audio/mpeg", "max-age=3600")
    assert (form["metadata"], form["size"]) == ({"by": "form"}, 2)
    assert {"id", "name", "version", "bucket_id", "etag", "last_modified", "created_at"} <= set(form)


def test_bytes_come_with_tag_ranges_and_conditions(admin, bucket):
    admin.put(bucket, "a.txt", b"0123456789")
    path = f"/object/{bucket}/a.txt"
    whole = admin("GET", f"/object/authenticated/{bucket}/a.txt")
    assert (whole.content, whole.headers["Accept-Ranges"]) == (b"0123456789", "bytes")
    assert whole.headers["X-Robots-Tag"] == "none"
    part = admin("GET", path, {"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["Content-Range"] == "bytes 2-4/10"
    assert admin("GET", path, {"If-None-Match": whole.headers["ETag"]}).status_code == 304
    assert admin("GET", path, {"Range": "bytes=10-"}).status_code == 416
    head = admin("HEAD", path)
    assert (head.headers["Content-Length"], head.content) == ("10", b"")


def test_missing_things_are_400_with_404_inside(admin, bucket):
    assert refusal(admin("GET", f"/object/{bucket}/no")) == ("404", "not_found", "Object not found", "NoSuchKey")
    assert refusal(admin("GET", "/object/nowhere/no"))[3] == "NoSuchBucket"
    assert refusal(admin("POST", "/object/nowhere/no", data=b"x"))[3] == "NoSuchBucket"
    assert admin("HEAD", f"/object/{bucket}/no").status_code == 400


def test_public_objects_are_for_everyone_and_private_buckets_do_not_exist(address, admin, bucket):
    admin.put(bucket, "a.txt")
    anyone = Client(address, None)
    assert refusal(anyone("GET", f"/object/public/{bucket}/a.txt"))[2] == "Bucket not found"
    admin("PUT", f"/bucket/{bucket}", json={"public": True}).raise_for_status()
    answer = anyone("GET", f"/object/public/{bucket}/a.txt?download=b.txt")
    assert answer.content == b"hello"
    assert answer.headers["Content-Disposition"] == "attachment; filename=b.txt; filename*=UTF-8''b.txt"


def test_a_folder_is_listed_with_its_folders_as_bare_names(admin, bucket):
    for key in ("a/2.txt", "a/1.txt", "a/deep/3.txt", "ab/4.txt"):
        admin.put(bucket, key)
    ask = {"prefix": "a", "limit": 100, "offset": 0, "sortBy": {"column": "name", "order": "asc"}}
    entries = admin("POST", f"/object/list/{bucket}", json=ask).json()
    assert [entry["name"] for entry in entries] == ["1.txt", "2.txt", "deep"]
    assert set(entries[0]["metadata"]) == {
        *("eTag", "size", "mimetype", "cacheControl", "lastModified", "contentLength", "httpStatusCode"),
    }
    assert {value for name, value in entries[2].items() if name != "name"} == {None}
    page = admin("POST", f"/object/list/{bucket}", json={**ask, "limit": 1, "offset": 1}).json()
    assert [entry["name"] for entry in page] == ["2.txt"]
    found = admin("POST", f"/object/list/{bucket}", json={**ask, "search": "dee"}).json()
    assert [entry["name"] for entry in found] == ["deep"]


def test_a_bucket_is_listed_by_cursor(admin, bucket):
    for number in range(5):
        admin.put(bucket, f"a/{number}.txt")
    admin.put(bucket, "a/deep/x")
    names, ask = [], {"prefix": "a/", "limit": 4, "with_delimiter": False}
    while True:
        page = admin("POST", f"/object/list-v2/{bucket}", json=ask).json()
        names += [entry["name"] for entry in page["objects"]]
        if not page["hasNext"]:
            break
        assert page["nextCursorKey"] == names[-1]
        ask["cursor"] = page["nextCursor"]
    assert names == [*(f"a/{number}.txt" for number in range(5)), "a/deep/x"]
    page = admin("POST", f"/object/list-v2/{bucket}", json={"prefix": "a/", "with_delimiter": True}).json()
    assert (len(page["objects"]), len(page["folders"])) == (5, 1)


def test_objects_move_and_copy_but_not_onto_others(admin, bucket):
    admin.put(bucket, "a")
    keys = {"bucketId": bucket, "sourceKey": "a", "destinationKey": "b"}
    assert admin("POST", "/object/copy", json=keys).json()["Key"] == f"{bucket}/b"
    assert refusal(admin("POST", "/object/copy", json=keys))[3] == "KeyAlreadyExists"
    moved = admin("POST", "/object/move", json={**keys, "destinationKey": "c"})
    assert moved.json() == {"message": "Successfully moved"}
    assert refusal(admin("POST", "/object/move", json={**keys, "destinationKey": "d"}))[3] == "NoSuchKey"
    assert [admin("GET", f"/object/{bucket}/{key}").content for key in "bc"] == [b"hello"] * 2


def test_deleting_many_passes_over_what_is_missing(admin, bucket):
    admin.put(bucket, "a/1.png")
    admin.put(bucket, "b.png")
    gone = admin("DELETE", f"/object/{bucket}", json={"prefixes": ["a/1.png", "no.png"]}).json()
    assert [row["name"] for row in gone] == ["a/1.png"]
    assert admin("DELETE", f"/object/{bucket}/b.png").json() == {"message": "Successfully deleted"}
    assert refusal(admin("DELETE", f"/object/{bucket}/b.png"))[3] == "NoSuchKey"
    for names in ([], ["x"] * 1001):
        assert refusal(admin("DELETE", f"/object/{bucket}", json={"prefixes": names}))[3] == "InvalidRequest"


# Signed addresses


def test_a_signed_address_is_relative_and_for_anyone_until_it_expires(address, admin, bucket):
    admin.put(bucket, "a.txt")
    for seconds in (60, "60"):
        signed = admin("POST", f"/object/sign/{bucket}/a.txt", json={"expiresIn": seconds}).json()["signedURL"]
        assert signed.startswith(f"/object/sign/{bucket}/a.txt?token=eyJ")
    claims = jwt.decode(parse_qs(urlsplit(signed).query)["token"][0], SECRET, ["HS256"])
    assert (claims["url"], claims["scope"], claims["exp"] - claims["iat"]) == (f"{bucket}/a.txt", "download", 60)
    anyone = Client(address, None)
    answer = anyone("GET", f"{signed}&download=name.png")
    assert (answer.content, "Expires" in answer.headers) == (b"hello", True)
    assert answer.headers["Content-Disposition"] == "attachment; filename=name.png; filename*=UTF-8''name.png"
    admin.put(bucket, "b.txt")
    other = anyone("GET", signed.replace("a.txt", "b.txt"))
    assert refusal(other) == ("400", "InvalidSignature", "Invalid signature", "InvalidSignature")
    assert refusal(anyone("GET", f"{signed}x"))[3] == "InvalidJWT"
    assert refusal(anyone("GET", signed.partition("?")[0]))[3] == "InvalidRequest"
    expired = jwt.encode({**claims, "exp": int(time.time()) - 5}, SECRET, "HS256")
    answer = refusal(anyone("GET", f"/object/sign/{bucket}/a.txt?token={expired}"))
    assert answer == ("400", "InvalidJWT", '"exp" claim timestamp check failed', "InvalidJWT")


def test_signing_wants_an_object_and_a_time(admin, bucket):
    path = f"/object/sign/{bucket}/no.txt"
    assert refusal(admin("POST", path, json={"expiresIn": 60}))[3] == "NoSuchKey"
    for seconds in (0, "x", None):
        assert refusal(admin("POST", path, json={"expiresIn": seconds}))[3] == "InvalidRequest"
    admin.put(bucket, "a")
    first, second = admin("POST", f"/object/sign/{bucket}", json={"expiresIn": 60, "paths": ["a", "zz"]}).json()
    assert (first["error"], first["path"]) == (None, "a")
    assert second == {
        "error": "Either the object does not exist or you do not have access to it",
        "path": "zz",
        "signedURL": None,
    }


def test_a_signed_upload_works_once(address, admin, bucket):
    made = admin("POST", f"/object/upload/sign/{bucket}/a.txt").json()
    assert made["url"] == f"/object/upload/sign/{bucket}/a.txt?token={made['token']}"
    anyone = Client(address, None)
    assert anyone("PUT", made["url"], data=b"1").json() == {"Key": f"{bucket}/a.txt"}
    assert refusal(anyone("PUT", made["url"], data=b"2"))[3] == "KeyAlreadyExists"
    assert refusal(admin("POST", f"/object/upload/sign/{bucket}/a.txt"))[3] == "KeyAlreadyExists"
    again = admin("POST", f"/object/upload/sign/{bucket}/a.txt", {"x-upsert": "true"}).json()
    assert anyone("PUT", again["url"], files={"file": ("x", b"3", "text/plain")}).ok
    assert admin("GET", f"/object/{bucket}/a.txt").content == b"3"


# Resumable uploads


def announce(bucket: str, key: str, size: int) -> dict[str, str]:
    pairs = {"bucketName": bucket, "objectName": key, "contentType": "video/mp4", "cacheControl": "3600"}
    encoded = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in pairs.items())
    return {**TUS, "Upload-Length": str(size), "Upload-Metadata": encoded}


def test_a_large_file_arrives_in_chunks_of_exactly_six_megabytes(address, admin, bucket):
    content = os.urandom(13 * MIB)
    made = admin("POST", "/upload/resumable", announce(bucket, "big.mp4", len(content)))
    assert made.status_code == 201
    where = made.headers["Location"]
    assert where.startswith(f"{address}/storage/v1/upload/resumable/")
    upload_id = where.rpartition("/")[2]
    bucket_and_key = base64.urlsafe_b64decode(upload_id + "=" * (-len(upload_id) % 4)).decode()
    assert bucket_and_key.startswith(f"{bucket}/big.mp4/")
    small = admin("PATCH", where, {**BYTES, "Upload-Offset": "0"}, data=content[: 5 * MIB])
    assert (small.status_code, small.headers["Content-Type"]) == (400, "text/plain")
    for start in range(0, len(content), 6 * MIB):
        answer = admin("PATCH", where, {**BYTES, "Upload-Offset": str(start)}, data=content[start : start + 6 * MIB])
        assert answer.status_code == 204
        assert ("tus-complete" in answer.headers) == (start == 12 * MIB)
        head = admin("HEAD", where, TUS)
        assert (head.status_code, head.headers["Upload-Length"]) == (200, str(len(content)))
        assert head.headers["Upload-Offset"] == answer.headers["Upload-Offset"]
    assert admin("GET", f"/object/{bucket}/big.mp4").content == content
    info = admin("GET", f"/object/info/{bucket}/big.mp4").json()
    assert (info["content_type"], info["cache_control"]) == ("video/mp4", "max-age=3600")


def test_resumable_errors_have_their_true_code_and_are_text(address, admin, bucket):
    def says(answer: requests.Response) -> tuple[int, str]:
        assert answer.headers["Content-Type"] == "text/plain"
        return answer.status_code, answer.text

    path = "/upload/resumable"
    where = admin("POST", path, announce(bucket, "a", 3)).headers["Location"]
    assert says(admin("PATCH", where, {**BYTES, "Upload-Offset": "1"}, data=b"bc")) == (409, "Upload-Offset conflict")
    assert says(admin("PATCH", where, {**BYTES, "Upload-Offset": "0"}, data=b"abcd")) == (413, "Maximum size exceeded")
    assert says(admin("POST", path, {**TUS, "Upload-Length": "3"})) == (400, "Metadata header is required")
    anon = Client(address, project_key("anon"))
    refused = (403, "new row violates row-level security policy")
    assert says(anon("POST", path, announce(bucket, "a", 3))) == refused
    admin.put(bucket, "there")
    assert says(admin("POST", path, announce(bucket, "there", 3))) == (409, "The resource already exists")
    admin("PUT", f"/bucket/{bucket}", json={"file_size_limit": 10}).raise_for_status()
    assert says(admin("POST", path, announce(bucket, "b", 11))) == (413, "Maximum size exceeded")
    assert admin("DELETE", where, TUS).status_code == 204
    assert admin("HEAD", where, TUS).status_code == 404


def test_it_says_what_it_can_do(address):
    answer = requests.options(f"{address}/storage/v1/upload/resumable", timeout=5)
    assert answer.status_code == 204
    extensions = "creation,creation-with-upload,creation-defer-length,termination,expiration"
    assert answer.headers["tus-extension"] == extensions
    assert int(answer.headers["tus-max-size"]) > 0


def test_creation_may_carry_bytes_or_put_off_the_length(admin, bucket):
    made = admin("POST", "/upload/resumable", {**announce(bucket, "a", 3), **BYTES}, data=b"abc")
    assert (made.status_code, made.headers["Upload-Offset"]) == (201, "3")
    later = {**announce(bucket, "b", 3), "Upload-Defer-Length": "1"}
    del later["Upload-Length"]
    where = admin("POST", "/upload/resumable", later).headers["Location"]
    assert admin("HEAD", where, TUS).headers["Upload-Defer-Length"] == "1"
    last = {**BYTES, "Upload-Offset": "0", "Upload-Length": "3"}
    assert admin("PATCH", where, last, data=b"xyz").headers["tus-complete"] == "1"
    assert [admin("GET", f"/object/{bucket}/{key}").content for key in "ab"] == [b"abc", b"xyz"]


def test_a_signed_resumable_upload_needs_no_key(address, admin, bucket):
    token = admin("POST", f"/object/upload/sign/{bucket}/a").json()["token"]
    anyone = Client(address, None)
    headers = {**announce(bucket, "a", 3), "x-signature": token}
    where = anyone("POST", "/upload/resumable/sign", headers).headers["Location"]
    part = {**BYTES, "Upload-Offset": "0", "x-signature": token}
    assert anyone("PATCH", where, part, data=b"abc").status_code == 204
    assert admin("GET", f"/object/{bucket}/a").content == b"abc"
    assert anyone("POST", "/upload/resumable/sign", announce(bucket, "b", 3)).status_code == 400


# Faults


@pytest.fixture
def faults(address) -> Iterator[Client]:
    yield Client(address, project_key())
    requests.delete(f"{address}/sandbox/faults", timeout=5)


def plan(client: Client, *faults: dict) -> None:
    requests.post(f"{client.address}/sandbox/faults", json=list(faults), timeout=5).raise_for_status()


def test_faults_happen_as_often_as_asked_and_are_seen_in_the_record(faults):
    requests.delete(f"{faults.address}/sandbox/requests", timeout=5)
    plan(faults, {"fault": "status", "status": 429, "times": 2, "path": "/bucket", "retry_after": 7})
    answers = [faults("GET", "/bucket") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"
    record = requests.get(f"{faults.address}/sandbox/requests", timeout=5).json()
    assert [entry["fault"] for entry in record] == ["status", "status", ""]


def test_one_request_can_ask_for_its_own_fault(faults):
    header = {"x-sandbox-fault": json.dumps({"fault": "status", "status": 503})}
    assert faults("GET", "/bucket", header).status_code == 503
    assert faults("GET", "/bucket", {"x-sandbox-fault": "{}"}).status_code == 422
    assert faults("GET", "/bucket").ok


def test_connections_are_cut_slowed_garbled_and_answers_lost(faults, bucket):
    faults.put(bucket, "a", b"x" * MIB)
    path = f"/object/{bucket}/a"
    plan(faults, {"fault": "cut", "method": "GET", "after_bytes": 1000})
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        faults("GET", path)
    plan(faults, {"fault": "lost", "method": "PUT"})
    with pytest.raises(requests.ConnectionError):
        faults("PUT", path, data=b"new")
    assert faults("GET", path).content == b"new"
    plan(faults, {"fault": "cut", "method": "PUT", "after_bytes": 2})
    with pytest.raises(requests.ConnectionError):
        faults("PUT", path, data=b"newer")
    assert faults("GET", path).content == b"new"
    plan(faults, {"fault": "slow", "seconds": 0.2}, {"fault": "garbled"})
    before = time.monotonic()
    assert faults("GET", "/bucket").json()
    assert time.monotonic() - before >= 0.2
    assert faults("GET", "/bucket").text.startswith("<html>")


# Supabase's own client, and the process itself


def test_the_official_client_understands_it(address, bucket, tmp_path):
    key = project_key()
    client = SyncStorageClient(f"{address}/storage/v1/", {"apikey": key, "Authorization": f"Bearer {key}"})
    assert client.get_bucket(bucket).public is False
    assert bucket in [one.id for one in client.list_buckets()]
    files = client.from_(bucket)
    source = tmp_path / "a.txt"
    source.write_bytes(b"hello")
    files.upload("a/b.txt", source, {"content-type": "text/plain", "metadata": {"x": 1}})
    with pytest.raises(StorageApiError) as duplicate:
        files.upload("a/b.txt", source)
    assert str(duplicate.value.status) == "409"
    assert files.download("a/b.txt") == b"hello"
    assert files.info("a/b.txt")["metadata"] == {"x": 1}
    assert files.exists("a/b.txt") and not files.exists("a/c.txt")
    signed = files.create_signed_url("a/b.txt", 60, {"download": "n.txt"})["signedURL"]
    answer = requests.get(signed, timeout=5)
    assert answer.content == b"hello" and "n.txt" in answer.headers["Content-Disposition"]
    assert [one["error"] is None for one in files.create_signed_urls(["a/b.txt", "zz"], 60)] == [True, False]
    upload = files.create_signed_upload_url("a/c.txt")
    files.upload_to_signed_url("a/c.txt", upload["token"], b"three")
    assert [entry["name"] for entry in files.list("a")] == ["b.txt", "c.txt"]
    assert [entry.name for entry in files.list_v2({"prefix": "a/"}).objects] == ["a/b.txt", "a/c.txt"]
    files.move("a/c.txt", "d.txt")
    files.copy("d.txt", "e.txt")
    assert len(files.remove(["a/b.txt", "d.txt", "e.txt", "zz"])) == 3
    with pytest.raises(StorageApiError) as missing:
        files.download("a/b.txt")
    assert str(missing.value.status) == "404"


def test_a_restart_finds_everything_and_an_attached_sandbox_dies_with_its_parent(tmp_path):
    with started("supabase_storage", "--data", tmp_path) as url:
        client = Client(url, project_key())
        client("POST", "/bucket", json={"name": "kept"}).raise_for_status()
        client.put("kept", "a")
    with started("supabase_storage", "--data", tmp_path) as url:
        assert Client(url, project_key())("GET", "/object/kept/a").content == b"hello"
    code = f"""
import time
from novai_web.sandbox import started
with started("supabase_storage", "--data", {str(tmp_path)!r}) as url:
    print(url, flush=True)
    time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    url = parent.stdout.readline().strip()
    assert requests.get(url, timeout=5).ok
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            requests.get(url, timeout=1)
        except requests.ConnectionError:
            return
        time.sleep(0.05)
    pytest.fail("the sandbox outlived its parent")
