"""`python -m bench.runtime.darkroom.stage STAGE BURN_MS`: a stage as a service of its own."""

import sys
from dataclasses import replace
from functools import partial

from bench.runtime.darkroom.pipeline import WORKFLOW, load

from darkroom_schemas.avro import schema_of
from streamkit import Readiness, WorkerSettings, connect, service_frame


def main() -> None:
    """Work until SIGTERM."""
    stage, burn_ms = sys.argv[1], float(sys.argv[2])
    job = replace(WORKFLOW.job(stage), handlers=partial(load, stage, burn_ms))
    settings = WorkerSettings()
    readiness = Readiness("schema registry")
    with service_frame(stage, settings, readiness) as stop:
        worker = connect(job, settings, schema_of, WORKFLOW.step(stage).writes, stop)
        readiness.follow(worker.waiting_for)
        worker.run(stop)


if __name__ == "__main__":
    main()
