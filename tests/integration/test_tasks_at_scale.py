"""The list of tasks among many analyses: every question is answered from an index."""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest

from darkroom_schemas import ids
from gateway import db
from gateway.catalog.tasks import TaskFilter, tasks

OWNER: Final = ids.LOCAL_OWNER
MANY: Final = int(os.environ.get("HD_MANY", "30000"))
EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)

_ANALYSES: Final = """
INSERT INTO analyses (analysis_id, photo_id, owner, submission_id, lane, submitted_at,
  cancelled_at, open)
SELECT md5('a' || n)::uuid, md5('p' || n)::uuid, %(owner)s, 'x',
  CASE WHEN n %% 2000 = 7 THEN 'high' ELSE 'batch' END, %(at)s + n * interval '1 second',
  CASE WHEN n %% 1000 = 3 THEN %(at)s + n * interval '1 second' END, false
FROM generate_series(1, %(many)s) n
"""
_PARTS: Final = """
INSERT INTO parts (analysis_id, stage, revision, photo_id, owner, engine, model_version, ms,
  finished_at, body, words)
SELECT md5('a' || n)::uuid, stage, 1, md5('p' || n)::uuid, %(owner)s, 'stub',
  CASE WHEN n < 20 THEN 'old@1' ELSE 'new@1' END, CASE WHEN n = 30 THEN 9000 ELSE 5 END,
  %(at)s + n * interval '1 second' + interval '1 minute', '{}', ''
FROM generate_series(1, %(many)s) n, unnest(ARRAY['detector', 'ocr', 'embedder']) stage
WHERE n %% 1000 NOT IN (2, 3) AND NOT (n %% 50 = 5 AND stage = 'ocr')
"""
_FAILURES: Final = """
INSERT INTO stage_failures (analysis_id, stage, revision, photo_id, owner, code, message, attempts,
  failed_at)
SELECT md5('a' || n)::uuid, 'ocr', 1, md5('p' || n)::uuid, %(owner)s,
  CASE WHEN n < 100 THEN 'rare' ELSE 'engine_failed' END, 'x', 4,
  %(at)s + n * interval '1 second' + interval '1 minute'
FROM generate_series(1, %(many)s) n WHERE n %% 50 = 5
"""
_OUTCOMES: Final = """
INSERT INTO outcomes (analysis_id, revision, photo_id, owner, policy_revision, lane, outcome,
  calibrated, labels, partial, failed_stages, parts, reason, decided_at, event_id)
SELECT md5('a' || n)::uuid, 1, md5('p' || n)::uuid, %(owner)s, 1, 'batch', 'review', false, '[]',
  false, '{}', '[]', 'x', %(at)s + n * interval '1 second', md5('e' || n)::uuid
FROM generate_series(1, %(many)s) n WHERE n %% 1000 NOT IN (2, 3)
"""
_ITEMS: Final = """
INSERT INTO batches (batch_id, owner, lane, state, roots, started_at)
VALUES (md5('b')::uuid, %(owner)s, 'batch', 'running', '[]', now());
"""


def seeded(conn: db.Conn) -> None:
    with conn.transaction():
        given = {"owner": OWNER, "at": EPOCH, "many": MANY}
        conn.execute("ALTER TABLE outcomes DISABLE TRIGGER ALL")
        conn.execute("ALTER TABLE analyses DISABLE TRIGGER ALL")
        for statement in (_ANALYSES, _PARTS, _FAILURES, _OUTCOMES):
            conn.execute(statement, given)
        conn.execute(
            "UPDATE analyses SET open = true WHERE analysis_id NOT IN (SELECT analysis_id FROM outcomes)"
        )
        conn.execute("ALTER TABLE outcomes ENABLE TRIGGER ALL")
        conn.execute("ALTER TABLE analyses ENABLE TRIGGER ALL")
        for name, below in (("small", 100), ("big", MANY // 2)):
            conn.execute(
                "INSERT INTO batches (batch_id, owner, lane, state, roots, started_at) VALUES (md5(%s)::uuid, %s, 'batch', 'running', '[]', now())",
                (name, OWNER),
            )
            conn.execute(
                "INSERT INTO batch_items (batch_id, index, path, state, photo_id, analysis_id) SELECT md5(%s)::uuid, n, n::text, 'submitted', md5('p' || n)::uuid, md5('a'||n)::uuid FROM generate_series(1, %s) n",
                (name, below),
            )
    for t in ("analyses", "parts", "stage_failures", "outcomes", "rejections", "batch_items"):
        conn.execute(f"VACUUM ANALYZE {t}")


def test_x(conn: db.Conn) -> None:
    t0 = time.time()
    seeded(conn)
    print("seeded", time.time() - t0)
    small, big = (
        conn.execute("SELECT md5(%s)::uuid u", (n,)).fetchone()["u"] for n in ("small", "big")
    )
    photo = conn.execute("SELECT md5('p500')::uuid u").fetchone()["u"]
    middle = EPOCH + timedelta(seconds=MANY // 2)
    for name, chosen in {
        "default": {},
        "stage": {"stage": "ocr"},
        "intake": {"stage": "intake"},
        "rare lane": {"lane": "high"},
        "common lane": {"lane": "batch"},
        "no lane": {"lane": "learning"},
        "rare lane done": {"lane": "high", "state": "done"},
        "done": {"state": "done"},
        "failed": {"state": "failed"},
        "cancelled": {"state": "cancelled"},
        "waiting": {"state": "waiting"},
        "until": {"until": middle},
        "since": {"since": middle},
        "photo": {"photo_id": photo},
        "small": {"batch_id": small},
        "big": {"batch_id": big},
        "big done": {"batch_id": big, "state": "done"},
        "old": {"model_version": "old@1"},
        "new": {"model_version": "new@1"},
        "none": {"model_version": "none@1"},
        "rare": {"code": "rare"},
        "common": {"code": "engine_failed"},
        "slow": {"slower_ms": 1000},
        "fast": {"slower_ms": 1},
    }.items():
        t0 = time.time()
        items, place = tasks(conn, OWNER, TaskFilter(**chosen), None, 50)
        t1 = time.time()
        if place:
            tasks(conn, OWNER, TaskFilter(**chosen), place, 50)
        print(
            f"{name:12} {len(items):3} {1e3 * (t1 - t0):8.1f} ms   second page {1e3 * (time.time() - t1):8.1f} ms"
        )
    if os.environ.get("HD_EXPLAIN"):
        chosen = json.loads(os.environ["HD_EXPLAIN"])
        if "batch_id" in chosen:
            chosen["batch_id"] = big

        class Spy:
            def execute(self, q, a=None, **k):
                for row in conn.execute("EXPLAIN (ANALYZE, BUFFERS) " + q, a, prepare=False):
                    print(row["QUERY PLAN"])
                return conn.execute(q, a, **k)

        tasks(Spy(), OWNER, TaskFilter(**chosen), None, 50)
