"""The periodic work: what expired is deleted, what was left behind is cleared away, also at vendors."""

import shutil
import time

import structlog
from sqlalchemy import delete, func, select, update

from novai_web import accounts
from novai_web.config import Settings
from novai_web.db import now, session, transaction
from novai_web.engines.store import Store
from novai_web.jobs.cleaning import clean_library, clear_after_ends
from novai_web.jobs.models import OPEN, Job, Output, Periodic, Submission
from novai_web.jobs.reconciling import reconcile

log = structlog.get_logger()

SUBMISSIONS_LIVE_DAYS = 7
PERIODIC_LIVE_DAYS = 2
SCRATCH_LIVES_SECONDS = 24 * 3600


def keep_house(store: Store, settings: Settings) -> None:
    """Everything that must be done now and then. Each part may be repeated, and killed half way."""
    clean_library(store, settings)
    clear_after_ends(store)
    reconcile(settings)
    with transaction():
        _mark_expired_outputs()
        _forget_old_keys()
        accounts.forget_expired()
    _clear_scratch(settings)
    log.info("house_kept")


def _mark_expired_outputs() -> None:
    """An output whose asset was deleted says so, and can be rebuilt."""
    session.execute(
        update(Output)
        .where(Output.state == "done", Output.asset_id.is_(None))
        .values(state="expired")
        .execution_options(synchronize_session=False)
    )


def _forget_old_keys() -> None:
    old = func.make_interval(0, 0, 0, SUBMISSIONS_LIVE_DAYS)
    session.execute(delete(Submission).where(Submission.created_at < now() - old))
    session.execute(delete(Periodic).where(Periodic.at < now() - func.make_interval(0, 0, 0, PERIODIC_LIVE_DAYS)))


def _clear_scratch(settings: Settings) -> None:
    """Folders of workers that died on this machine, unless their job still runs somewhere."""
    folders = [path for path in settings.scratch_folder.glob("job-*-*") if path.is_dir()]
    ids = {int(path.name.split("-")[1]) for path in folders}
    with transaction():
        alive = set(session.scalars(select(Job.id).where(Job.id.in_(ids), Job.state.in_(OPEN))))
    for path in folders:
        is_old = time.time() - path.stat().st_mtime > SCRATCH_LIVES_SECONDS
        if is_old or int(path.name.split("-")[1]) not in alive:
            shutil.rmtree(path, ignore_errors=True)
