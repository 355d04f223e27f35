"""The real infrastructure, as tests across services see it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """Where the real services are."""

    kafka: str
    registry: str
    database: str
    redis: str
    objects: str
