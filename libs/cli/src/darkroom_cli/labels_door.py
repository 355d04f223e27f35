"""The gateway's sets of labels and their examples, as the commands use them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

from darkroom_cli.client import Gateway, Json, RefusedError


@dataclass(frozen=True, slots=True)
class LabelsDoor:
    """Calls block and raise GatewayError with a sentence for a person. `by` is who asks, where
    there is no key that says so."""

    gateway: Gateway
    by: str

    def sets(self) -> list[Json]:
        """All sets."""
        return cast("list[Json]", self.gateway.ask("GET", "/v1/labels")["items"])

    def show(self, name: str) -> Json:
        """A set, its counts and whether they are enough."""
        return self.gateway.ask("GET", _place(name))

    def known(self, name: str) -> list[str] | None:
        """The labels of a set, None if there is none."""
        try:
            return cast("list[str]", self.show(name)["labels"])
        except RefusedError as error:
            if error.code == "no_such_set":
                return None
            raise

    def put(self, name: str, labels: Sequence[str]) -> Json:
        """Have a set with these labels and no others."""
        return self.gateway.ask("PUT", _place(name), json={"labels": [*labels], "by": self.by})

    def examples(self, name: str, limit: int) -> list[Json]:
        """The newest examples of a set."""
        query = {"limit": str(limit)}
        page = self.gateway.ask("GET", f"{_place(name)}/examples", params=query)
        return cast("list[Json]", page["items"])

    def add(self, name: str, photo_id: str, label: str | None) -> Json:
        """Have a photo be an example."""
        body = {"photo_id": photo_id, "label": label, "by": self.by}
        return self.gateway.ask("POST", f"{_place(name)}/examples", json=body)

    def remove(self, name: str, photo_id: str) -> None:
        """Have a photo be no example any more."""
        query = {"by": self.by}
        self.gateway.ask(
            "DELETE", f"{_place(name)}/examples/{quote(photo_id, safe='')}", params=query
        )

    def take(self, name: str, batch_id: str, folders: Mapping[str, str | None]) -> Json:
        """Have the photos of an import be examples, by the folders that they lie in."""
        body = {"batch_id": batch_id, "folders": dict(folders), "by": self.by}
        return self.gateway.ask("POST", f"{_place(name)}/examples/import", json=body)


def _place(name: str) -> str:
    return f"/v1/labels/{quote(name, safe='')}"
