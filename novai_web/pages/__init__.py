"""The HTML door: pages, and the fragments that HTMX asks for."""

from flask import Blueprint, Flask, request
from flask.typing import ResponseReturnValue

from novai_web.config import Settings
from novai_web.pages import (
    accounts,
    admin,
    assets,
    batches,
    collections,
    consents,
    credits,
    dashboard,
    diagrams,
    health,
    hooks,
    jobs,
    library,
    media,
    models,
    presets,
    prices,
    samples,
    search,
    shell,
    state,
    static_files,
    tools,
    trash,
    unchanged,
    undo,
    variants,
    vendors,
    wording,
)

BLUEPRINTS: tuple[Blueprint, ...] = (
    accounts.bp,
    dashboard.bp,
    tools.bp,
    variants.bp,
    presets.bp,
    jobs.bp,
    batches.bp,
    library.bp,
    models.bp,
    hooks.bp,
    collections.bp,
    diagrams.bp,
    consents.bp,
    trash.bp,
    samples.bp,
    undo.bp,
    credits.bp,
    admin.bp,
    state.bp,
    vendors.bp,
    prices.bp,
    search.bp,
    media.bp,
)


def register(app: Flask, settings: Settings) -> None:
    static_files.register(app)
    assets.register(app)
    wording.register(app)
    shell.register(app)
    vendors.register(app)
    for blueprint in (health.bp, *BLUEPRINTS):
        app.register_blueprint(blueprint)
    app.before_request(_welcome)
    unchanged.register(app, settings)


def _welcome() -> ResponseReturnValue | None:
    """A fresh installation asks for its administrator before anything else."""
    if request.blueprint in {blueprint.name for blueprint in BLUEPRINTS}:
        return accounts.send_first_visitor_to_setup()
    return None
