"""A library of many thousand rows, written in one statement a table: what lists do is in the rows, not in the files."""

from sqlalchemy import text

from novai_web.db import db, session, transaction

COLLECTIONS = text("""
    INSERT INTO collections (account_id, kind, name)
    SELECT :account, kind, :named || ' ' || n
    FROM unnest(ARRAY['video', 'audio', 'image']) AS kind, generate_series(1, 20) AS n""")
# Of twenty: fourteen videos, three audios, two images, a model. A tenth are outputs that are not kept yet, another
# tenth kept ones, a twentieth lies in the trash; half have tags, half are in a collection.
ASSETS = text("""
    INSERT INTO assets (account_id, kind, type, name, status, collection_id, tags, store_key, previews, mime, sha256,
        size_bytes, media, duration_seconds, width, height, made_by_tool, recipe, created_at, expires_at, trashed_at)
    SELECT :account, each.kind, CASE WHEN n % 10 < 2 THEN 'variant' ELSE 'source' END,
        (ARRAY['Beach walk', 'Unboxing', 'Talking head', 'City lights', 'Recipe'])[1 + n % 5] || ' take ' || n, 'ready',
        CASE WHEN n % 2 = 0 THEN shelf.id END,
        CASE WHEN n % 4 < 2 THEN ARRAY['tag ' || n % 40, 'tag ' || n % 7] ELSE '{}'::text[] END,
        'assets/' || n || '/original.mp4', '{"thumb": "assets/1/thumb.webp", "poster": "assets/1/poster.webp",
        "clip": "assets/1/clip.mp4"}'::jsonb, 'video/mp4', md5(:account || :named || n) || md5(n::text), 1000000 + n,
        '{"extension": ".mp4", "codec": "h264"}'::jsonb, 5 + n % 60, 720, 1280,
        CASE WHEN n % 10 < 2 THEN 'variants' END, '{}'::jsonb, now() - n * interval '1 minute',
        CASE WHEN n % 10 = 0 THEN now() + interval '20 hours' END,
        CASE WHEN n % 20 = 7 THEN now() - n * interval '1 second' END
    FROM generate_series(1, :count) AS n
    CROSS JOIN LATERAL (SELECT CASE WHEN n % 20 < 14 THEN 'video' WHEN n % 20 < 17 THEN 'audio'
        WHEN n % 20 < 19 THEN 'image' ELSE 'model' END AS kind) AS each
    LEFT JOIN LATERAL (SELECT id FROM collections WHERE account_id = :account AND collections.kind = each.kind
        AND name = :named || ' ' || 1 + n / 20 % 20) AS shelf ON true""")
HOOKS = text("""
    INSERT INTO hooks (account_id, text, category)
    SELECT :account, :named || ': wait for number ' || n, 'Category ' || n % 12 FROM generate_series(1, :count) AS n""")


def fill(account_id: int, count: int, named: str = "Collection") -> None:
    """`count` assets in sixty collections of this name, and as many hooks. A second time takes another name."""
    given = {"account": account_id, "named": named}
    with transaction():
        session.execute(COLLECTIONS, given)
        for statement in (ASSETS, HOOKS):
            session.execute(statement, given | {"count": count})


def settle() -> None:
    """What autovacuum does by itself a minute later: figures for the planner, and pages known to be visible to all."""
    session.remove()
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE assets, hooks, collections"))
