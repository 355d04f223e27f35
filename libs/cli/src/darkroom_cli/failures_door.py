"""The gateway's inbox of failures, as the commands use it."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, cast

from darkroom_cli.client import Gateway, GatewayAwayError, GatewayError, Json

_POLL_S: Final = 0.3
_AWAY_S: Final = 60.0
_LOOKED_AT: Final = 5_000
_WHOLE: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:[a-z]+")


@dataclass(frozen=True, slots=True)
class FailuresDoor:
    """Calls block and raise GatewayError with a sentence for a person."""

    gateway: Gateway

    def inbox(self) -> Json:
        """What failed and is not whole yet, in groups."""
        return self.gateway.ask("GET", "/v1/failures")

    def items(self, state: str, wanted: Mapping[str, Any]) -> Iterator[Json]:
        """Failures one by one, the newest first; `wanted` may have stage, code and batch."""
        query: dict[str, Any] = {"state": state, "limit": 100, **wanted}
        while True:
            page = self.gateway.ask("GET", "/v1/failures/items", params=query)
            yield from page["items"]
            if page["next"] is None:
                return
            query["cursor"] = page["next"]

    def one(self, text: str) -> Json:
        """The failure whose id is, or begins with, `text`; of the newest ones."""
        known = (
            item
            for state in ("inbox", "discarded")
            for item in islice(self.items(state, {}), _LOOKED_AT)
        )
        found = [item for item in known if str(item["failure_id"]).startswith(text)]
        if len(found) == 1:
            return found[0]
        many = "more than one failure" if found else "no failure"
        raise GatewayError(
            f"{many} has an id that begins with {text!r}; see `failures list --each`"
        )

    def meant(self, text: str) -> str:
        """The id that is, or begins with, `text`."""
        return text if _WHOLE.fullmatch(text) else str(self.one(text)["failure_id"])

    def preview(self, wanted: Json) -> Json:
        """What a replay would do."""
        return self.gateway.ask("POST", "/v1/failures/replay", json={**wanted, "dry_run": True})

    def replay(self, wanted: Json) -> Json:
        """Begin a replay."""
        return self.gateway.ask("POST", "/v1/failures/replay", json=wanted)

    def replays(self, limit: int) -> list[Json]:
        """The newest replays."""
        query = {"limit": limit}
        found = self.gateway.ask("GET", "/v1/failures/replays", params=query)["items"]
        return cast("list[Json]", found)

    def stop(self, replay_id: str, by: str) -> Json:
        """Begin no more of a replay."""
        return self.gateway.ask("POST", f"/v1/failures/replays/{replay_id}/stop", json={"by": by})

    def discard(self, wanted: Json) -> int:
        """Lay failures aside; how many."""
        return int(self.gateway.ask("POST", "/v1/failures/discard", json=wanted)["count"])

    def restore(self, wanted: Json) -> int:
        """Put discarded ones back; how many."""
        return int(self.gateway.ask("POST", "/v1/failures/restore", json=wanted)["count"])

    def follow(self, replay_id: str, report: Callable[[Json], None]) -> Json:
        """Ask until a replay is over, tell `report` each time; gives the last answer. A gateway
        that is away for a moment is waited for: the replay goes on when it is back."""
        away = time.monotonic() + _AWAY_S
        while True:
            try:
                seen = self.gateway.ask("GET", f"/v1/failures/replays/{replay_id}")
            except GatewayAwayError:
                if time.monotonic() > away:
                    raise
            else:
                away = time.monotonic() + _AWAY_S
                report(seen)
                if seen["state"] != "running":
                    return seen
            time.sleep(_POLL_S)
