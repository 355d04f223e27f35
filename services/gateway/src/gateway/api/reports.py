"""/v1/imports/{id}/…: an import as a whole, to read and to keep."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from gateway.api import report_csv, report_page
from gateway.api.cursors import decode_index, encode_index
from gateway.api.door import Door, Wired
from gateway.api.problems import documented, not_found
from gateway.api.report_pictures import Pictures
from gateway.catalog import read_batches, read_failures, reports
from gateway.catalog.report_shapes import Failures, Statistics
from gateway.catalog.reports import Line
from gateway.catalog.shapes import Batch

router = APIRouter(prefix="/v1/imports", tags=["imports"])

_CSV_LINES: Final = 1_000
_PAGE_LINES: Final = 200
"""Files that are in memory at once; of the page with their pictures."""


@router.get(
    "/{batch_id}/statistics", summary="An import in numbers", responses=documented(404, 422, 503)
)
async def get_statistics(batch_id: UUID, door: Wired) -> Statistics:
    """Totals, labels and durations. Reads the whole import: for people, not for progress bars."""
    found = await door.catalog.ask(reports.statistics, batch_id)
    if found is None:
        raise not_found("import")
    return found


@router.get("/{batch_id}/failures", summary="Why files failed", responses=documented(404, 422, 503))
async def list_failures(
    batch_id: UUID,
    door: Wired,
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
    cursor: Annotated[str | None, Query(max_length=300, description="an answer's `next`")] = None,
) -> Failures:
    """All reasons with their number of files, and the files by index: those that could not be
    read, those that are no photos, and those that a stage gave up on. What a later try made whole
    is left out."""
    await _batch(door, batch_id)
    reasons = [] if cursor else await door.catalog.ask(read_failures.reasons, batch_id)
    items, index = await door.catalog.ask(
        read_failures.failed_files, batch_id, after=decode_index(cursor), limit=limit
    )
    return Failures(reasons=reasons, items=items, next=encode_index(index))


@router.get(
    "/{batch_id}/report.csv",
    summary="What became of every file, as CSV",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/csv": {"schema": {"type": "string"}}}},
        **documented(404, 422, 503),
    },
)
async def get_csv(batch_id: UUID, door: Wired) -> StreamingResponse:
    """A line for every file by index. `end` is what the import counts it as, the other columns
    say how it stands now. A text that a spreadsheet would take for a formula has an apostrophe in
    front."""
    batch = await _batch(door, batch_id)

    async def pieces() -> AsyncIterator[bytes]:
        yield report_csv.head()
        async for lines in _pages(door, batch_id, _CSV_LINES):
            yield report_csv.rows(lines)

    headers = {"Content-Disposition": f'attachment; filename="{_name(batch)}.csv"'}
    return StreamingResponse(pieces(), headers=headers, media_type="text/csv; charset=utf-8")


@router.get(
    "/{batch_id}/report.html",
    summary="What became of the files, as a page",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        **documented(404, 422, 503),
    },
)
async def get_page(batch_id: UUID, door: Wired) -> StreamingResponse:
    """One page that needs nothing else: numbers, reasons, and the first 10,000 files, 500 of them
    with a picture."""
    batch = await _batch(door, batch_id)
    statistics = await get_statistics(batch_id, door)
    told = report_page.Told(
        batch, statistics, await door.catalog.ask(read_failures.reasons, batch_id)
    )
    pictures = Pictures(door.objects, report_page.PICTURED)
    pieces = report_page.page(told, _pages(door, batch_id, _PAGE_LINES), pictures)
    headers = {
        "Content-Disposition": f'inline; filename="{_name(batch)}.html"',
        "Content-Security-Policy": report_page.POLICY,
    }
    return StreamingResponse(pieces, headers=headers, media_type="text/html; charset=utf-8")


async def _batch(door: Door, batch_id: UUID) -> Batch:
    batch = await door.catalog.ask(read_batches.batch, batch_id)
    if batch is None:
        raise not_found("import")
    return batch


async def _pages(door: Door, batch_id: UUID, limit: int) -> AsyncIterator[Sequence[Line]]:
    """The files of an import by index, so many at a time; no connection is held in between."""
    after = -1
    while lines := await door.catalog.ask(reports.lines, batch_id, after=after, limit=limit):
        yield lines
        after = lines[-1].index


def _name(batch: Batch) -> str:
    return f"darkroom-import-{batch.batch_id[:8]}"
