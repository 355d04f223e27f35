"""What every stage says alike about its part of an analysis."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

STAGES: Final = ("detector", "ocr", "embedder")
"""The stages whose parts make an outcome."""

_IDENTITY: Final = ("owner", "photo_id", "analysis_id", "revision", "policy_revision", "lane")


def identity(event: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say which analysis an event belongs to, for the next event about it."""
    return {name: event[name] for name in _IDENTITY}


def part(
    request: Mapping[str, Any], *, stage: str, engine: str, model_version: str, ms: float
) -> dict[str, Any]:
    """The fields that every part has: whose, by which engine, in how many milliseconds."""
    return {
        **identity(request),
        "stage": stage,
        "engine": engine,
        "model_version": model_version,
        "ms": round(ms, 3),
        "finished_at": now(),
    }


def failed(
    request: Mapping[str, Any], *, stage: str, code: str, message: str, attempts: int
) -> dict[str, Any]:
    """The event that ends a stage without a part."""
    return {
        **identity(request),
        "stage": stage,
        "code": code,
        "message": message,
        "attempts": attempts,
        "failed_at": now(),
    }


def compared(request: Mapping[str, Any], *, stage: str) -> dict[str, Any]:
    """The fields of what two versions of a model say that tell whose photo it is."""
    own = ("owner", "photo_id", "analysis_id", "revision")
    return {**{name: request[name] for name in own}, "stage": stage, "compared_at": now()}


def now() -> datetime:
    """The present with the milliseconds that events keep."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
