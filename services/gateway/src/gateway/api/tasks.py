"""/v1/operations/tasks: what stages had to do, and what became of it."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field

from gateway.api.cursors import decode_task, encode_task
from gateway.api.door import Wired
from gateway.api.problems import documented
from gateway.catalog import tasks
from gateway.catalog.tasks import TaskFilter, TaskPage

router = APIRouter(prefix="/v1/operations/tasks", tags=["operations"])


class TaskQuery(TaskFilter):
    """Which tasks, and how many of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=300, description="an answer's `next`")


@router.get("", summary="What stages had to do, newest first", responses=documented(422, 503))
async def list_tasks(wanted: Annotated[TaskQuery, Query()], door: Wired) -> TaskPage:
    """A task for each analysis and stage: done, failed or cancelled by when it ended, waiting by
    when the photo was handed in. `revision` is that of the analysis in which its stage spoke last.

    Follow `next` for more. A task that ends in between moves to the front, so a walk through the
    pages may meet it twice or not at all.
    """
    items, place = await door.catalog.ask(
        tasks.tasks, wanted, decode_task(wanted.cursor), wanted.limit
    )
    return TaskPage(items=items, next=encode_task(place))
