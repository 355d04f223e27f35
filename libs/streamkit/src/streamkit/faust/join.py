"""The join of a workflow as a service on Faust."""

import socket
from collections.abc import Callable

from pydantic import Field

from streamkit.codec import AvroSchema
from streamkit.faust.app import FoldApp
from streamkit.faust.folding import Fold
from streamkit.settings import TopicSettings
from streamkit.workflow import Join, application_of, dead_letters_of


class JoinSettings(TopicSettings):
    """Settings of a join's service."""

    join_instance: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="name of this process, unlike that of any other of the same join; "
        "that of the machine by default",
    )
    join_records: int = Field(
        1_000, ge=1, le=10_000, description="records that are worked on at a time"
    )


def fold_of(join: Join) -> Fold:
    """A join as a fold."""
    return Fold(
        lane="joins",
        table="joins",
        topics=join.reads,
        partitions=join.partitions,
        step=join.step,
        due=join.due if join.expiry is not None else None,
    )


def join_app(join: Join, settings: JoinSettings, schema_of: Callable[[str], AvroSchema]) -> FoldApp:
    """The service of a workflow's join (`workflow.join(name)`), to be run by `run`.

    Its topics, the changelog (`changelog_of`) and the dead letters must exist. `schema_of` gives
    the schema of a topic's values.
    """
    return FoldApp(
        service=join.name,
        version=join.version,
        application=application_of(join.name),
        dead_letters=dead_letters_of(join.name),
        folds=(fold_of(join),),
        writes=join.writes,
        settings=settings,
        schema_of=schema_of,
        instance=settings.join_instance,
        most=settings.join_records,
    )
