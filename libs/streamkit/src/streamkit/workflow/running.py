"""Running one step of a workflow as a service."""

from collections.abc import Callable, Sequence

from streamkit.codec import AvroSchema
from streamkit.service import Readiness, service_frame
from streamkit.settings import WorkerSettings
from streamkit.worker import connect
from streamkit.workflow.declaration import Workflow
from streamkit.workflow.joins import Join


def serve(
    workflow: Workflow,
    step: str,
    schema_of: Callable[[str], AvroSchema],
    arguments: Sequence[str] = (),
) -> None:
    """Work as the step of that name until SIGTERM or SIGINT.

    `arguments` are flags as `--kafka`, which go before environment variables. Joins need the extra
    `faust`. Raises WorkflowError, and what stops a Worker or a FoldApp.
    """
    found = workflow.step(step)
    if isinstance(found, Join):
        _serve_join(workflow.join(step), schema_of, [*arguments])
    else:
        _serve_stage(workflow, step, schema_of, [*arguments])


def _serve_stage(
    workflow: Workflow, step: str, schema_of: Callable[[str], AvroSchema], arguments: list[str]
) -> None:
    job, writes = workflow.job(step), workflow.step(step).writes
    settings = WorkerSettings.from_command_line(step, arguments)
    readiness = Readiness("schema registry")
    with service_frame(step, settings, readiness, readiness.trouble) as stop:
        worker = connect(job, settings, schema_of, writes, stop)
        readiness.follow(worker.waiting_for, worker.watchdog.trouble)
        worker.run(stop)


def _serve_join(join: Join, schema_of: Callable[[str], AvroSchema], arguments: list[str]) -> None:
    from streamkit.faust import JoinSettings, join_app

    settings = JoinSettings.from_command_line(join.name, arguments)
    readiness = Readiness("schema registry")
    with service_frame(join.name, settings, readiness, readiness.trouble) as stop:
        join_app(join, settings, schema_of).run(stop, readiness)
