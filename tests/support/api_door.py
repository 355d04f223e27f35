"""The gateway's api door as people meet it: a real server on a port of its own."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from darkroom_cli.infra.ports import any_port
from darkroom_schemas import avro
from gateway import db
from gateway.api.app import build_api
from gateway.catalog.produced import PRODUCED
from gateway.settings import Settings
from infrastructure import Infrastructure
from streamkit import SchemaIds

ABSENT_REGISTRY = "http://127.0.0.1:9/absent"
"""For doors that remember their ids; nothing listens there."""


def remember_ids(cache: Path, prefix: str) -> None:
    """Fill a cache of schema ids, as if ABSENT_REGISTRY had been asked before."""
    cache = SchemaIds(ABSENT_REGISTRY, cache)._cache
    for number, topic in enumerate(PRODUCED):
        known = {"id": number, "schema": json.dumps(avro.schema_of(topic), sort_keys=True)}
        (cache / f"{prefix}{topic}-value.json").write_text(json.dumps(known), encoding="utf-8")


def door_settings(
    infrastructure: Infrastructure, database: str, folder: Path, **changes: Any
) -> Settings:
    """Settings of a door that needs no registry, with its files in `folder`; without rate limits,
    which would make tests of other things wait."""
    prefix = f"t{uuid4().hex[:8]}."
    remember_ids(folder / "ids", prefix)
    settled = {
        "database": database,
        "redis": infrastructure.redis,
        "kafka": infrastructure.kafka,
        "registry": ABSENT_REGISTRY,
        "cache": folder / "ids",
        "objects": f"file://{folder}/objects",
        "api_port": any_port(),
        "topic_prefix": prefix,
        "anonymous": "admin",
        "rate_single": "none",
        "rate_imports": "none",
    }
    return Settings(_cli_parse_args=[], **{**settled, **changes})


@contextmanager
def api_door(settings: Settings) -> Iterator[str]:
    """Serve in a thread until the context ends; gives the base URL.

    The end is that of SIGTERM; raises AssertionError if it takes longer than it may.
    """
    pool = db.open_pool(settings.database, name="test-api")
    server = build_api(settings, pool)
    thread = threading.Thread(target=server.run, name="api")
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started:
            if time.monotonic() > until or not thread.is_alive():
                raise AssertionError("the api door does not start")
            threading.Event().wait(0.02)
        yield f"http://127.0.0.1:{settings.api_port}"
    finally:
        server.should_exit = True
        thread.join(8)
        pool.close()
        if thread.is_alive():
            raise AssertionError("the api door does not stop within 8 seconds")
