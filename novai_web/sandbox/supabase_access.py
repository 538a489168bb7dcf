"""Who may do what at the stand-in for Supabase Storage, and how it says no."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jwt
from flask import current_app, request
from werkzeug.exceptions import HTTPException

P = ParamSpec("P")
R = TypeVar("R")


class Refusal(Exception):
    """An answer of the contract: HTTP 400, and the true code as a string in the body."""

    def __init__(self, status: int, error: str, message: str, code: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.body = {"statusCode": str(status), "error": error, "message": message, "code": code}


def no_bucket() -> Refusal:
    return Refusal(404, "Bucket not found", "Bucket not found", "NoSuchBucket")


def no_object() -> Refusal:
    return Refusal(404, "not_found", "Object not found", "NoSuchKey")


def duplicate(what: str = "Key") -> Refusal:
    return Refusal(409, "Duplicate", "The resource already exists", f"{what}AlreadyExists")


def invalid(message: str) -> Refusal:
    return Refusal(400, "Error", message, "InvalidRequest")


def forbidden(message: str = "new row violates row-level security policy") -> Refusal:
    return Refusal(403, "Unauthorized", message, "AccessDenied")


def too_large() -> Refusal:
    return Refusal(413, "Payload too large", "The object exceeded the maximum allowed size", "EntityTooLarge")


def sign(claims: dict[str, Any], seconds: int, secret: str | None = None) -> str:
    now = datetime.now(UTC)
    payload = {**claims, "iat": now, "exp": now + timedelta(seconds=seconds)}
    return jwt.encode(payload, secret or current_app.config["JWT_SECRET"], "HS256")


def signed(token: str) -> dict[str, Any]:
    """The claims of a token, or the sentence of the contract as ValueError."""
    try:
        claims: dict[str, Any] = jwt.decode(token, current_app.config["JWT_SECRET"], ["HS256"])
    except jwt.ExpiredSignatureError:
        raise ValueError('"exp" claim timestamp check failed') from None
    except jwt.InvalidSignatureError:
        raise ValueError("signature verification failed") from None
    except jwt.InvalidTokenError:
        raise ValueError("Invalid Compact JWS") from None
    return claims


def signed_for(path: str, scope: str) -> dict[str, Any]:
    """The claims of the `token` in the query, which must be for this "bucket/key"."""
    token = request.args.get("token")
    if not token:
        raise invalid("querystring must have required property 'token'")
    try:
        claims = signed(token)
    except ValueError as error:
        raise Refusal(400, "InvalidJWT", str(error), "InvalidJWT") from None
    if claims.get("url") != path or claims.get("scope") != scope:
        raise Refusal(400, "InvalidSignature", "Invalid signature", "InvalidSignature")
    return claims


def role() -> str:
    """The role in the Authorization header; anything but service_role has no policy that lets it do a thing."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        raise invalid("headers must have required property 'authorization'")
    try:
        return str(signed(token).get("role", ""))
    except ValueError as error:
        if "exp" in str(error) and request.method == "GET" and request.path.startswith("/storage/v1/object/"):
            raise no_bucket() from None
        raise forbidden(str(error)) from None


def service(otherwise: Callable[[], Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The view is for service_role; others get what `otherwise` returns, or raises."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            if role() == "service_role":
                return view(*args, **kwargs)
            answer = otherwise()
            if isinstance(answer, Refusal):
                raise answer
            return answer  # type: ignore[no-any-return]

        return guarded

    return decorate


def refused(error: Refusal) -> tuple[dict[str, str], int]:
    return error.body, 400


def unrouted(error: HTTPException) -> tuple[dict[str, str | int | None], int]:
    """Errors of HTTP itself keep their code."""
    return {"statusCode": error.code, "error": error.name, "message": f"{error.description}"}, error.code or 500
