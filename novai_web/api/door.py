"""How an endpoint of the JSON API is declared: its words, the shapes it takes and gives, and who may call it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, ValidationError

from novai_web.db import transaction
from novai_web.errors import InvalidInput
from novai_web.tools.sentences import sentences
from novai_web.web import limits, who
from novai_web.web.safety import csrf

View = Callable[..., Any]


class Shape(BaseModel):
    """The body or the query of a request, or an answer. What is not declared is refused."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One endpoint as OpenAPI describes it."""

    method: str
    rule: str
    view: View
    takes: type[BaseModel] | None
    asks: type[BaseModel] | None
    gives: type[BaseModel] | None
    form: type[BaseModel] | None
    status: int
    public: bool
    media_type: str


ENDPOINTS: list[Endpoint] = []


class Door:
    """A blueprint whose views are plain functions: the account, then `given` (body), `asked` (query), URL parts.

    A view that changes something runs inside one transaction unless it `streams`. It returns a model, or any
    Flask response. `described` and `form` only describe what a view reads for itself: a body, or a `file` and the
    fields that go with it.
    """

    def __init__(self, name: str) -> None:
        self.blueprint = Blueprint(f"api_{name}", __name__, url_prefix="/api/v1")
        csrf.exempt(self.blueprint)

    def get(self, rule: str, **declared: Any) -> Callable[[View], View]:
        return self._route("GET", rule, **declared)

    def post(self, rule: str, **declared: Any) -> Callable[[View], View]:
        return self._route("POST", rule, **declared)

    def put(self, rule: str, **declared: Any) -> Callable[[View], View]:
        return self._route("PUT", rule, **declared)

    def patch(self, rule: str, **declared: Any) -> Callable[[View], View]:
        return self._route("PATCH", rule, **declared)

    def delete(self, rule: str, **declared: Any) -> Callable[[View], View]:
        return self._route("DELETE", rule, **declared)

    def _route(
        self,
        method: str,
        rule: str,
        *,
        takes: type[BaseModel] | None = None,
        described: type[BaseModel] | None = None,
        asks: type[BaseModel] | None = None,
        gives: type[BaseModel] | None = None,
        form: type[BaseModel] | None = None,
        status: int = 200,
        public: bool = False,
        streams: bool = False,
        media_type: str = "application/json",
        limit: Callable[[View], View] | None = None,
    ) -> Callable[[View], View]:
        allow = limit or (limits.reads if method == "GET" else limits.changes)

        def declare(view: View) -> View:
            answer = _Answer(view, takes, asks, status, public, streams or method == "GET")
            name = f"{method.lower()}_{view.__name__}"
            self.blueprint.add_url_rule(rule, name, allow(wraps(view)(answer)), methods=[method])
            ENDPOINTS.append(
                Endpoint(
                    method=method,
                    rule=rule,
                    view=view,
                    takes=described or takes,
                    asks=asks,
                    gives=gives,
                    form=form,
                    status=status,
                    public=public,
                    media_type=media_type,
                )
            )
            return view

        return declare


class _Answer:
    """The steps from a request to the answer of one view."""

    def __init__(
        self,
        view: View,
        takes: type[BaseModel] | None,
        asks: type[BaseModel] | None,
        status: int,
        public: bool,
        streams: bool,
    ) -> None:
        self.view, self.takes, self.asks = view, takes, asks
        self.status, self.public, self.streams = status, public, streams

    def __call__(self, **url: Any) -> ResponseReturnValue:
        if not self.public:
            url["account"] = who.account()
            _guard_cookie()
        if self.takes:
            url["given"] = read(self.takes, _json())
        if self.asks:
            url["asked"] = read(self.asks, {name: value for name, value in request.args.items() if value != ""})
        if self.streams:
            return self._dress(self.view(**url))
        with transaction():
            found = self.view(**url)
        return self._dress(found)

    def _dress(self, found: Any) -> ResponseReturnValue:
        if isinstance(found, BaseModel):
            answer = jsonify(found.model_dump(mode="json"))
            answer.status_code = self.status
            return answer
        return Response(status=204) if found is None else found


def _guard_cookie() -> None:
    """A browser's session may use the API too, but then a change needs the page's CSRF token."""
    if who.bearer(request) is None and request.method not in ("GET", "HEAD", "OPTIONS"):
        csrf.protect()


def _json() -> Any:
    is_empty = not request.content_length and "Transfer-Encoding" not in request.headers
    body = {} if is_empty else request.get_json(silent=True)
    if not isinstance(body, dict):
        raise InvalidInput({"body": "Send a JSON object, with the header Content-Type: application/json."})
    return body


def idempotency_key() -> str | None:
    """What the client sent, in a space of its own: a client's keys and our forms' keys never meet."""
    key = request.headers.get("Idempotency-Key")
    return f"api:{key}" if key else None


def credits_max() -> int | None:
    """The most that the client agrees to pay, if it says so. Raises InvalidInput."""
    said = request.headers.get("Credits-Max")
    if said is None:
        return None
    if not (said.isascii() and said.isdigit() and len(said) <= 12):
        raise InvalidInput({"Credits-Max": "Send a whole number of credits, such as 12, or leave this header out."})
    return int(said)


def read(shape: type[BaseModel], raw: Any) -> BaseModel:
    """`raw` as a `shape`. Raises InvalidInput with a sentence for each wrong field."""
    try:
        return shape.model_validate(raw)
    except ValidationError as error:
        raise InvalidInput(sentences(error)) from None
