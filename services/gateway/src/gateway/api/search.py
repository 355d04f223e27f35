"""/v1/search: find photos by words or by likeness."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from gateway.api.door import Wired
from gateway.api.problems import ProblemError, documented, not_found
from gateway.catalog import read, search
from gateway.catalog.shapes import Hits

router = APIRouter(prefix="/v1/search", tags=["search"])


@router.get("", summary="Find photos", responses=documented(404, 409, 422, 503))
async def find(
    door: Wired,
    q: Annotated[
        str | None, Query(max_length=400, description="words", examples=['espresso -cup "open"'])
    ] = None,
    like: Annotated[UUID | None, Query(description="a photo to find similar ones of")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
) -> Hits:
    """By words that labels, categories or the text on photos hold (`q`), or by likeness (`like`).

    Words: all must occur, in any form ("cats" finds "cat"); `"exact words"`, `-without`, `or`.
    If nothing holds the last word, words that begin like it count. Likeness: the cosine between
    embeddings of the same model, cut off at 0. Best first, scores 0..1.
    """
    if (q is None or not q.strip()) == (like is None):
        raise ProblemError(422, "invalid_request", "Give either words (q) or a photo (like).")
    if "\0" in (q or ""):
        raise ProblemError(422, "invalid_request", "Words (q) have no NUL character.")
    if like is None:
        return Hits(items=await door.catalog.ask(search.by_words, q or "", limit))
    hits = await door.catalog.ask(search.by_likeness, like, limit)
    if hits is not None:
        return Hits(items=hits)
    if await door.catalog.ask(read.photo, like) is None:
        raise not_found("photo")
    raise ProblemError(409, "not_embedded", "This photo has no embedding, so nothing is like it.")
