"""`python -m bench.runtime.darkroom.join`: the join as a service of its own."""

from bench.runtime.darkroom.pipeline import JOIN, WORKFLOW

from darkroom_schemas.avro import schema_of
from streamkit import Readiness, service_frame
from streamkit.faust import JoinSettings, join_app


def main() -> None:
    """Work until SIGTERM."""
    settings = JoinSettings()
    readiness = Readiness("partitions and tables")
    with service_frame(JOIN, settings, readiness) as stop:
        join_app(WORKFLOW.join(JOIN), settings, schema_of).run(stop, readiness)


if __name__ == "__main__":
    main()
