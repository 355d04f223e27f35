"""What is drawn once per data folder: the broker's cluster id and two passwords."""

import base64
import os
import secrets
import uuid
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Credentials(BaseModel):
    """Kept in a file that only its owner can read."""

    model_config = ConfigDict(frozen=True)

    cluster_id: str
    database_password: str
    redis_password: str


def load_or_draw(file: Path) -> Credentials:
    """The data folder's credentials; drawn at the first call."""
    if file.is_file():
        return Credentials.model_validate_json(file.read_bytes())
    drawn = Credentials(
        cluster_id=_cluster_id(),
        database_password=secrets.token_urlsafe(24),
        redis_password=secrets.token_urlsafe(24),
    )
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(drawn.model_dump_json())
    return drawn


def _cluster_id() -> str:
    """A UUID as Kafka writes it: 22 characters of URL-safe base64, none leading with a dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
