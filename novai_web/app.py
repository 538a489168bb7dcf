"""The web process. create_app() is the one place where all the parts meet."""

from pathlib import Path

from flask import Flask, make_response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import MethodNotAllowed

from novai_web import api, cli, db, logs, pages, queue
from novai_web.api.errors import problem
from novai_web.config import Settings
from novai_web.embedded import servers
from novai_web.pages.errors import say
from novai_web.web import compressing, errors, limits, receiving, safety, who
from novai_web.web.paths import IdConverter

ROOT = Path(__file__).parent.parent


def create_app(settings: Settings | None = None) -> Flask:
    settings = settings or servers.found(Settings.read())
    logs.start(settings)
    app = Flask(__name__, template_folder=str(ROOT / "templates"), static_folder=None)
    app.extensions["novai_settings"] = settings
    app.url_map.converters["int"] = IdConverter
    db.connect(app, settings)
    db.migrations(app, ROOT / "migrations")
    queue.connect(settings)
    compressing.register(app)
    receiving.register(app, settings)
    safety.register(app, settings)
    limits.register(app, settings)
    who.register(app)
    pages.register(app, settings)
    api.register(app)
    cli.register(app)
    app.register_error_handler(Exception, _translate)
    return app


def _translate(error: Exception) -> ResponseReturnValue:
    """One shape of error a door, whatever went wrong and wherever."""
    found = errors.ours(error)
    answer = make_response(problem(found) if request.path.startswith("/api/") else say(found))
    if isinstance(error, MethodNotAllowed):
        answer.allow.update(error.valid_methods or ())
    return answer
