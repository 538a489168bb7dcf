"""The HTML door: pages, and the fragments that HTMX asks for."""

from flask import Blueprint, Flask, request
from flask.typing import ResponseReturnValue

from novai_web.pages import accounts, assets, health, shell, static_files, wording

BLUEPRINTS: tuple[Blueprint, ...] = (accounts.pages,)


def register(app: Flask) -> None:
    static_files.register(app)
    assets.register(app)
    wording.register(app)
    shell.register(app)
    for blueprint in (health.pages, *BLUEPRINTS):
        app.register_blueprint(blueprint)
    app.before_request(_welcome)


def _welcome() -> ResponseReturnValue | None:
    """A fresh installation asks for its administrator before anything else."""
    if request.blueprint in {blueprint.name for blueprint in BLUEPRINTS}:
        return accounts.send_first_visitor_to_setup()
    return None
