"""What the gateway says of workers and stages, as the commands use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from urllib.parse import quote

from darkroom_cli.client import Gateway, Json


@dataclass(frozen=True, slots=True)
class OperationsDoor:
    """Calls block and raise GatewayError with a sentence for a person."""

    gateway: Gateway

    def overview(self) -> Json:
        """All that goes on."""
        return self.gateway.ask("GET", "/v1/operations")

    def workers(self, service: str | None = None) -> list[Json]:
        """All workers, or those of a service."""
        query = {} if service is None else {"service": service}
        found = self.gateway.ask("GET", "/v1/operations/workers", params=query)["items"]
        return cast("list[Json]", found)

    def worker(self, name: str) -> Json:
        """One worker."""
        return self.gateway.ask("GET", f"/v1/operations/workers/{quote(name, safe='')}")

    def history(self, series: Sequence[str], since: datetime, points: int) -> Json:
        """What was measured since then."""
        query = {"series": list(series), "since": since.isoformat(), "points": points}
        return self.gateway.ask("GET", "/v1/operations/history", params=query)

    def series(self) -> list[str]:
        """What is measured."""
        found = self.gateway.ask("GET", "/v1/operations/history/series")["items"]
        return cast("list[str]", found)
