"""A job that has the user's own labels learned again where there is something new."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from darkroom_schemas import ids
from darkroom_schemas.events import TrainingRequested
from darkroom_schemas.names import TRAINING_REQUESTED
from darkroom_schemas.stages import now
from gateway.catalog import labels, model_reports, trainings
from gateway.catalog.outbox import Outbox
from gateway.catalog.training_needs import LearnedSet, learned_sets
from gateway.control.job_run import Job, JobContext
from gateway.db import Conn
from streamkit import Emit

TRAININGS: Final = "trainings"


def training_job(outbox: Outbox, *, least: int, every_s: float) -> Job:
    """Every night; sets that have not `least` examples of each label are passed over. A model is
    trained once in `every_s` seconds at most."""

    def run(conn: Conn, context: JobContext) -> Mapping[str, Any]:
        found = learned_sets(conn, model_reports.embedding_version(conn))
        asked = 0
        for one in found:
            context.check()
            known = labels.label_set(conn, one.owner, one.name, least, False)
            if one.news and known is not None and known.verdict.enough:
                _ask(conn, outbox, one, every_s)
                asked += 1
        return {"sets": len(found), "asked": asked}

    return Job(TRAININGS, "20 4 * * *", run, time_limit_s=600.0)


def _ask(conn: Conn, outbox: Outbox, one: LearnedSet, every_s: float) -> None:
    event: TrainingRequested = {
        "request_id": str(uuid4()),
        "owner": one.owner,
        "model": one.name,
        "reason": "schedule",
        "batch_id": None,
        "requested_at": now(),
    }
    with conn.transaction():
        trainings.record_training(conn, event, every_s=every_s)
        name = ids.batch_event_id(event["request_id"], "requested")
        outbox.add(conn, [Emit(TRAINING_REQUESTED, one.name, dict(event), name)])
