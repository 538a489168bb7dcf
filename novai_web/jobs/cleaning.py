"""Deleting for good, in small transactions: what is half done after a crash is done again by the next run."""

import shutil
import time
from datetime import timedelta

import structlog
from sqlalchemy import and_, or_, select

from novai_web import failpoints
from novai_web.config import Settings
from novai_web.db import now, session, transaction
from novai_web.engines.store import Store
from novai_web.engines.store.parts import abandoned
from novai_web.errors import Conflict, StoreFailed
from novai_web.jobs.models import OVER, Job, State
from novai_web.library import expiry, undoing, uploads
from novai_web.library.models import Asset, Upload

log = structlog.get_logger()

CANCELS = timedelta(minutes=15)  # several rounds of housekeeping
ENDS = timedelta(minutes=3)  # fewer, because they are many more, and seldom leave anything
ABANDONED_SECONDS = 2 * uploads.LIFE.total_seconds()


def clean_library(store: Store, settings: Settings) -> None:
    """Delete what has expired, what was in the trash for too long, and uploads that came to nothing."""
    with transaction():
        expiry.mark(settings)
        undoing.forget_lapsed()
    failpoints.hit("expire.after_mark")
    _delete_marked(store)
    _delete_lapsed(store, settings)
    _delete_strays(settings)


def clear_after_ends(store: Store) -> None:
    """A job that was cancelled while no worker had it, or whose worker died right after its end, has nobody else to
    clear up behind it. One that succeeded in one slice leaves nothing."""
    cancelled = and_(Job.cancel_requested_at > now() - CANCELS, Job.slices > 0)
    ended = and_(Job.ended_at > now() - ENDS, or_(Job.slices > 1, Job.state != State.SUCCEEDED), Job.slices > 0)
    with transaction():
        over = session.scalars(select(Job.id).where(Job.state.in_(OVER), or_(cancelled, ended))).all()
    for job_id in over:
        clear_strays(job_id, store)


def _delete_marked(store: Store) -> None:
    last_id = 0
    while True:
        with transaction():
            assets = expiry.marked(last_id)
        if not assets:
            return
        last_id = assets[-1].id
        erased = []
        for asset in assets:
            try:
                expiry.erase(store, asset)
            except StoreFailed as problem:
                log.warning("asset_not_erased", asset_id=asset.id, problem=str(problem))
                continue
            erased.append(asset)
        failpoints.hit("expire.after_blob")
        with transaction():
            expiry.forget(erased)


def _delete_lapsed(store: Store, settings: Settings) -> None:
    with transaction():
        lapsed = expiry.lapsed_uploads()
    for upload in lapsed:
        try:
            with transaction():
                expiry.erase_upload(store, upload, settings)
                uploads.forget(upload)
        except (Conflict, StoreFailed) as problem:  # somebody is writing to it, or the store is away: next time
            log.warning("upload_not_erased", upload_id=upload.id, problem=str(problem))


def _delete_strays(settings: Settings) -> None:
    """Folders whose row never was committed, or is gone."""
    for stray in abandoned(settings.uploads_folder, ABANDONED_SECONDS):
        with transaction():
            is_known = session.get(Upload, stray.upload_id) is not None
        if not is_known:
            stray.discard()
    for path in settings.arriving_folder.glob("*"):  # of web processes that died while a form came in
        if time.time() - path.stat().st_mtime <= ABANDONED_SECONDS:
            continue
        if path.is_dir():  # a ZIP that was being unpacked
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def clear_strays(job_id: int, store: Store) -> None:
    """Delete the files of a finished job that no row knows: a worker was killed between storing one and its row."""
    with transaction():
        made = session.scalars(select(Asset).where(Asset.made_by_job_id == job_id)).all()
    known = {key for asset in made for key in (asset.store_key, *asset.previews.values())}
    try:
        store.delete([key for key, _ in store.list(f"jobs/{job_id}") if key not in known])
    except StoreFailed as problem:
        log.warning("strays_not_cleared", job_id=job_id, problem=str(problem))
