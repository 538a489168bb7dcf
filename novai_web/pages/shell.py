"""What every page shows around its own matter: who is signed in, their credits, their queue, the menu."""

from typing import Any

from flask import Flask, g, has_request_context
from sqlalchemy.exc import SQLAlchemyError

from novai_web import credits, jobs
from novai_web.db import session
from novai_web.pages import places
from novai_web.tools import TOOLS
from novai_web.web import who


def register(app: Flask) -> None:
    app.context_processor(_surroundings)


def _surroundings() -> dict[str, Any]:
    """Asked once a request. A page that says the database is away has to do without."""
    if not has_request_context():
        return {}
    if "surroundings" not in g:
        try:
            g.surroundings = _of_this_visitor()
        except SQLAlchemyError:
            session.rollback()
            return {"me": None, "sign_up_open": False}
    return dict(g.surroundings)


def _of_this_visitor() -> dict[str, Any]:
    settings = who.settings()
    if not who.signed_in():
        return {"me": None, "sign_up_open": settings.sign_up == "open"}
    me = who.account()
    return {
        "me": me,
        "wallet": credits.balance(me, settings),
        "queue_count": jobs.active_count(me.id),
        "tools_menu": TOOLS,
        "main_tool": places.MAIN_TOOL,
        "places": places.of(me),
        "sign_up_open": settings.sign_up == "open",
    }
