"""Errors as the JSON API says them: RFC 9457 problem details, with a code and the fields that need another look."""

import json

from flask import Response, g

from novai_web.errors import InvalidInput, NovaiError


def problem(error: NovaiError) -> Response:
    """One error as `application/problem+json`."""
    body: dict[str, object] = {
        "type": f"/api/docs#error-{error.code}",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": str(error),
        "errors": [],
        "request_id": g.get("request_id"),
    }
    if isinstance(error, InvalidInput):
        body["errors"] = [{"field": field, "message": message} for field, message in error.fields.items()]
    answer = Response(json.dumps(body, ensure_ascii=False), status=error.status, mimetype="application/problem+json")
    if error.retry_after_seconds is not None:
        answer.headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="novai"'
    return answer
