"""The gateway's trainings, as the commands use them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import quote

from darkroom_cli.client import Gateway, GatewayError, Json, RefusedError

_POLL_S: Final = 0.5

PUBLISHED: Final = "published"

WITHOUT: Final = ("candidate", "not_enough", "skipped")
"""Ends of a training that went as it should, and after which nothing new holds."""


class NotEnoughError(GatewayError):
    """Examples are missing; the text says which."""


@dataclass(frozen=True, slots=True)
class TrainingsDoor:
    """Calls block and raise GatewayError with a sentence for a person. `by` is who asks, where
    there is no key that says so."""

    gateway: Gateway
    by: str

    def all(self, model: str | None, limit: int, *, merged: bool = False) -> list[Json]:
        """The newest requests, of a model or of all, also those that others stand for."""
        query = {"limit": limit, "merged": merged} | ({"model": model} if model else {})
        return cast("list[Json]", self.gateway.ask("GET", "/v1/trainings", params=query)["items"])

    def one(self, request_id: str) -> Json:
        """A training with its report."""
        return self.gateway.ask("GET", f"/v1/trainings/{quote(request_id, safe='')}")

    def meant(self, begin: str, most: int = 100) -> str:
        """The id that is, or begins with, `begin`; `last` is the newest that is not merged."""
        last = begin == "last"
        found = self.all(None, 1 if last else most, merged=not last)
        known = [one["request_id"] for one in found]
        if last and known:
            return str(known[0])
        fitting = [one for one in known if one.startswith(begin)]
        if len(fitting) > 1:
            raise GatewayError(f"more than one training begins with {begin}: {', '.join(fitting)}")
        if last:
            raise GatewayError("there is no training yet: darkroom train")
        return str(fitting[0]) if fitting else begin

    def ask(self, model: str, *, force: bool) -> Json:
        """Have a model trained at once. Raises NotEnoughError, too."""
        body = {"model": model, "force": force, "by": self.by}
        try:
            return self.gateway.ask("POST", "/v1/trainings", json=body)
        except RefusedError as error:
            if error.code == "not_enough_examples":
                raise NotEnoughError(str(error)) from error
            raise

    def cancel(self, request_id: str) -> Json:
        """Call a training off; how it stands then."""
        place = f"/v1/trainings/{quote(request_id, safe='')}/cancel"
        return self.gateway.ask("POST", place, json={"by": self.by})

    def ended(self, request_id: str, timeout_s: float, tell: Callable[[Json], None]) -> Json:
        """Wait until a training, or the one that stands for it, has ended; how it did.

        Raises GatewayError when time is up: it goes on all the same.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.one(request_id)
            if found["merged_into"]:
                request_id = found["merged_into"]
            elif found["ended_at"]:
                return found
            elif time.monotonic() >= deadline:
                raise GatewayError(
                    f"not done after {timeout_s:g} s; it goes on: darkroom trainings show"
                    f" {request_id}"
                )
            tell(found)
            time.sleep(_POLL_S)
