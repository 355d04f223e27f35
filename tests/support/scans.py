"""A small workflow for tests: three stages look at a page, a join says what they found.

`python scans.py` runs its join, with the settings of any join.
"""

from typing import Any

from streamkit import Readiness, service_frame
from streamkit.faust import JoinSettings, join_app
from streamkit.workflow import (
    Branch,
    Failures,
    Join,
    Joined,
    Part,
    Stage,
    Value,
    Workflow,
    chain,
    group,
)

STAGES = ("borders", "colors", "words")
FAILED = "scan.failed.v1"
FOUND = "scan.found.v1"
PARTIAL = "scan.partly-found.v1"


def _record(name: str, **fields: Any) -> dict[str, Any]:
    listed = [{"name": field, "type": type_} for field, type_ in fields.items()]
    return {"type": "record", "name": name, "namespace": "scans", "fields": listed}


def schema_of(topic: str) -> dict[str, Any]:
    """The schema of a topic's values."""
    if topic == FAILED:
        return _record("Failed", stage="string")
    if topic in (FOUND, PARTIAL):
        return _record("Found", total="long", partial="boolean", revision="int")
    return _record("Part", score="long")


def topic_of(stage: str) -> str:
    """Where a stage's parts go."""
    return f"scan.{stage}.v1"


def decide(joined: Joined) -> Value:
    """The sum of the scores."""
    total = sum(part["score"] for part in joined.parts.values())
    return {"total": total, "partial": joined.partial, "revision": joined.revision}


def completeness(value: Value) -> str:
    """Which way an outcome goes."""
    return "partial" if value["partial"] else "whole"


def failed_stage(value: Value) -> str:
    """The stage that a failure is of."""
    return str(value["stage"])


SCANS = Workflow(
    name="scans",
    key="page",
    entries="scan.requested.v1",
    flow=chain(
        group(*(Stage(name=name, into=topic_of(name), also=(FAILED,)) for name in STAGES)),
        Join(
            name="scanjoin",
            parts=tuple(Part(name, topic_of(name)) for name in STAGES),
            failures=(Failures(FAILED, failed_stage),),
            decide=decide,
        ),
        Branch(
            name="completeness", choose=completeness, topics={"whole": FOUND, "partial": PARTIAL}
        ),
    ),
)


def main() -> None:
    """Run the join until SIGTERM."""
    settings = JoinSettings.from_command_line("scans.py")
    readiness = Readiness("start")
    with service_frame("scanjoin", settings, readiness, readiness.trouble) as stop:
        join_app(SCANS.join("scanjoin"), settings, schema_of).run(stop, readiness)


if __name__ == "__main__":
    main()
