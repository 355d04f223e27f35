"""What the routes share, made once by the wiring."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, BinaryIO, Protocol

from fastapi import Depends
from starlette.requests import HTTPConnection

from gateway.api.admission import Admission
from gateway.api.bodies import UploadBudget
from gateway.api.catalog import Catalog
from gateway.api.feed import Feed
from gateway.api.handing_in import HandingIn
from gateway.api.hub import Hub
from gateway.api.quotas import Quotas
from gateway.api.shares import Shares
from gateway.api.speakers import STRANGER, Keeper, Speaker
from gateway.api.spool import Spool
from gateway.api.system import System
from gateway.api.windows import Windows
from gateway.api.writes import Writes
from gateway.settings import Settings


class Runs(Protocol):
    """What goes on beside the requests."""

    async def run(self) -> None:
        """Until it is done, or cancelled."""
        ...


class Objects(Protocol):
    """The bytes of photos (streamkit's ObjectStore); calls block, raise Reject and Retry."""

    def get(self, uri: str, *, limit: int) -> bytes:
        """The bytes at a URI."""
        ...

    def open(self, uri: str) -> BinaryIO:
        """What is stored at a URI, as a seekable file."""
        ...

    def put(self, key: str, data: bytes) -> str:
        """Store bytes once; returns the URI."""
        ...

    def put_file(self, key: str, file: Path) -> str:
        """Store a file's content; returns the URI."""
        ...

    def delete(self, uri: str) -> None:
        """Remove what was stored."""
        ...

    def list(self, uri: str) -> Iterator[object]:
        """What lies below an allowed prefix."""
        ...


Tell = Callable[[Sequence[Mapping[str, object]]], None]


def _nobody(_news: Sequence[Mapping[str, object]]) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Door:
    """Everything that a route may need; a route's own shows the catalog as who asks may see it."""

    settings: Settings
    catalog: Catalog
    objects: Objects
    writes: Writes
    handing_in: HandingIn
    admission: Admission
    hub: Hub
    feed: Feed
    system: System
    uploads: UploadBudget
    quotas: Quotas
    shares: Shares
    keeper: Keeper
    beside: Sequence[Runs] = ()
    """What else goes on while the door is open."""
    windows: Windows = field(default_factory=Windows)
    spool: Spool = field(default_factory=Spool)
    tell: Tell = _nobody
    """Have all api doors look again at what there is news of."""
    speaker: Speaker = STRANGER

    def asked_by(self, speaker: Speaker) -> "Door":
        """The door as it is for who asks."""
        return replace(self, speaker=speaker, catalog=self.catalog.of(speaker.owner))


async def _door(connection: HTTPConnection) -> Door:
    # Not async it would be handed to a thread, which costs a request more than all that is in it.
    door = connection.app.state.door
    if not isinstance(door, Door):  # pragma: no cover  # set by the wiring
        raise TypeError("the application was started without its door")
    # Routes that are open to all have no speaker, and show nobody's things.
    speaker = connection.scope.get("speaker")
    return door.asked_by(speaker) if isinstance(speaker, Speaker) else door


Wired = Annotated[Door, Depends(_door)]
"""A route's parameter that gets the door."""
