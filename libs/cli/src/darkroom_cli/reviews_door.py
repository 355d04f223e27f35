"""The gateway's reviews, as the commands use them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast
from urllib.parse import quote

from darkroom_cli.client import Gateway, GatewayError, Json


@dataclass(frozen=True, slots=True)
class ReviewsDoor:
    """Calls block and raise GatewayError with a sentence for a person. `by` is who asks, where
    there is no key that says so."""

    gateway: Gateway
    by: str

    def next(self, count: int, order: str) -> list[Json]:
        """Photos that nobody else looks at now."""
        query = {"count": str(count), "order": order, "by": self.by}
        found = self.gateway.ask("GET", "/v1/reviews/next", params=query)
        return cast("list[Json]", found["items"])

    def answer(self, photo_id: str, said: Json) -> Json:
        """Say what a photo shows; `said` has `answer`, and may have label, lease and answer_id."""
        return self.gateway.ask("POST", _place(photo_id), json={**said, "by": self.by})

    def undo(self, answer: Json) -> Json:
        """Take back an answer."""
        query = {"answer_id": str(answer["answer_id"]), "by": self.by}
        return self.gateway.ask("DELETE", _place(answer["photo_id"]), params=query)

    def release(self, photo_id: str) -> bool:
        """Give a photo back; whether it was held."""
        told = self.gateway.ask("POST", f"{_place(photo_id)}/release", json={"by": self.by})
        return bool(told["released"])

    def stats(self) -> Json:
        """How much waits, and who answered."""
        return self.gateway.ask("GET", "/v1/reviews")

    def precision(self) -> Json:
        """How often labels are right, as far as people have said so."""
        return self.gateway.ask("GET", "/v1/precision")

    def last(self, photo_id: str | None) -> Json:
        """The last answer of who asks that counts, about this photo if one is named."""
        query = {"reviewer": self._name(), "limit": "50"}
        chosen = query | ({"photo": photo_id} if photo_id else {})
        for one in islice(self._answers(chosen), 1_000):
            if one["undone_at"] is None:
                return one
        raise GatewayError("there is nothing to undo")

    def _name(self) -> str:
        """As which the gateway knows who asks."""
        session = self.gateway.ask("GET", "/v1/session")
        return self.by if session["anonymous"] else str(session["name"])

    def _answers(self, query: dict[str, Any]) -> Iterator[Json]:
        while True:
            page = self.gateway.ask("GET", "/v1/reviews/answers", params=query)
            yield from page["items"]
            if page["next"] is None:
                return
            query = query | {"cursor": page["next"]}


def _place(photo_id: str) -> str:
    return f"/v1/reviews/{quote(photo_id, safe='')}"
