"""Settings of the gateway's doors."""

from pathlib import Path
from typing import Final

from pydantic import Field

from imaging.limits import LIMITS, Limits
from streamkit import ObjectSettings, WorkerSettings

SERVICE: Final = "gateway"
"""Name of the service in groups, dead letters, events and metrics."""


class Settings(ObjectSettings, WorkerSettings):
    """Read once, frozen. Each setting is the variable DARKROOM_NAME or the flag --name."""

    database: str = Field(
        "postgresql://127.0.0.1:5432/darkroom", description="PostgreSQL of the catalog, as URL"
    )
    api_host: str = Field("127.0.0.1", description="where the api door listens")
    api_port: int = Field(8080, description="its port; 0 takes a free one")
    import_roots: tuple[Path, ...] = Field(
        (), description="folders that may be imported from (JSON)"
    )
    import_roots_file: Path | None = Field(
        None, description="file with more of them, an absolute path as a JSON string a line"
    )
    import_in_flight: int = Field(
        100, ge=1, description="photos of one import that may wait for their outcome"
    )
    photo_max_bytes: int = Field(
        LIMITS.max_bytes, gt=0, description="bytes of the largest photo; intake has it too"
    )
    photo_max_pixels: int = Field(
        LIMITS.max_pixels, gt=0, description="width x height of one; intake has it too"
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="further host names of the api door beside the loopback's (JSON); * for all"
    )
    outbox_limit: int = Field(
        10_000, ge=1, description="events that may wait for Kafka before new photos are refused"
    )
    upload_memory: int = Field(
        400_000_000, ge=1, description="bytes of memory for uploads in progress"
    )
    websocket_backlog: int = Field(
        1_000, ge=1, description="photos and imports that a slow WebSocket may be behind"
    )

    @property
    def photo_limits(self) -> Limits:
        """What an upload's header is checked against."""
        return Limits(max_bytes=self.photo_max_bytes, max_pixels=self.photo_max_pixels)
