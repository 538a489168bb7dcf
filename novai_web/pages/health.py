"""Whether this process is alive, whether the installation is ready for people, and figures for who watches over it."""

import hmac

import structlog
from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from novai_web import metrics
from novai_web.errors import NotFound
from novai_web.operations import doctor
from novai_web.web import who

bp = Blueprint("health", __name__)
log = structlog.get_logger()


@bp.get("/health")
def health() -> ResponseReturnValue:
    """This process answers. Nothing else is asked, so that a restart is never tried for what it cannot mend."""
    return jsonify(status="alive")


@bp.get("/ready")
def ready() -> ResponseReturnValue:
    """503 with the remedy for each thing that is missing, else 200."""
    checks = [_shown(found) for found in doctor.examine(who.settings(), doctor.READY)]
    is_ready = all(check["ok"] for check in checks)
    return jsonify(status="ready" if is_ready else "not ready", checks=checks), 200 if is_ready else 503


def _shown(found: doctor.Finding) -> dict[str, object]:
    if found.trouble is None:
        return {"name": found.name, "ok": True, "problem": None, "remedy": None}
    log.warning("not_ready", check=found.name, problem=found.trouble.problem)
    return {"name": found.name, "ok": False, "problem": found.trouble.problem, "remedy": found.trouble.remedy}


@bp.get("/metrics")
def measured() -> ResponseReturnValue:
    """For Prometheus, and for administrators. To everybody else there is nothing here."""
    if not _may_measure():
        raise NotFound
    return Response(metrics.page(who.settings(), who.store()), mimetype=metrics.MIME)


@bp.after_app_request
def count(answer: Response) -> Response:
    metrics.requests.count(answer.status_code, who.settings())
    return answer


def _may_measure() -> bool:
    """The token goes first: it works also while the database, which knows the administrators, is away."""
    expected = who.settings().metrics_token.get_secret_value()
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if expected and scheme.lower() == "bearer":
        return hmac.compare_digest(given.strip().encode(), expected.encode())
    return who.signed_in() and who.account().is_admin
