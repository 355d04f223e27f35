"""A service that does tasks: `python -m worker_program`, with settings in the environment."""

import sys

from pydantic import Field

import worker_tasks
from streamkit import EngineLoadError, Readiness, WorkerSettings, connect, service_frame


class Settings(WorkerSettings):
    """Settings of the service."""

    trail: str = Field("", description="file that tells of every call of a handler")
    batch: int = Field(0, ge=0, description="records of a micro-batch at most; 0: none")
    ordered: bool = Field(False, description="whether records of a key keep their order")


def main() -> str | None:
    """Run until asked to stop; a sentence where the handlers can't be loaded."""
    name, settings = worker_tasks.SERVICE, Settings.from_command_line(worker_tasks.SERVICE)
    readiness = Readiness("schema registry")
    job = worker_tasks.job(settings.trail, settings.batch, settings.ordered)
    try:
        with service_frame(name, settings, readiness, readiness.trouble) as stop:
            writes = [worker_tasks.DONE]
            worker = connect(job, settings, worker_tasks.schema_of, writes, stop)
            readiness.follow(worker.waiting_for, worker.watchdog.trouble)
            worker.run(stop)
    except EngineLoadError as error:
        return f"{name}: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main())
