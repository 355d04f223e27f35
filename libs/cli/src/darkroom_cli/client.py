"""The gateway's REST door, as the commands use it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import httpx

_WAIT_S: Final = 60
"""As long as the gateway waits at most."""

_TIMEOUT_S: Final = 90.0
"""Above that."""

Json = dict[str, Any]


class GatewayError(RuntimeError):
    """The gateway does not answer, or says why it refuses."""


class GatewayAwayError(GatewayError):
    """The gateway does not answer."""


class Gateway:
    """Calls that block. All raise GatewayError with a sentence for a person."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT_S)

    def analyze(self, file: Path) -> Json:
        """Hand a photo in and wait for what becomes of it; `status` may still be pending."""
        with file.open("rb") as body:
            return self._ask(
                "POST",
                "/v1/photos",
                content=body,
                params={"lane": "high", "file_name": file.name},
                headers={"Prefer": f"wait={_WAIT_S}", "Content-Type": "application/octet-stream"},
            )

    def photo(self, photo_id: str) -> Json:
        """One photo with all that is known of it."""
        return self._ask("GET", f"/v1/photos/{photo_id}")

    def start_import(self, paths: Sequence[Path], lane: str) -> Json:
        """Begin an import of files and folders on the gateway's machine."""
        body = {"paths": [str(path) for path in paths], "lane": lane}
        return self._ask("POST", "/v1/imports", json=body)

    def batch(self, batch_id: str) -> Json:
        """Where an import stands."""
        return self._ask("GET", f"/v1/imports/{batch_id}")

    def items(self, batch_id: str) -> Iterator[Json]:
        """Every file of an import, in its order."""
        query: dict[str, str] = {"limit": "200"}
        while True:
            page = self._ask("GET", f"/v1/imports/{batch_id}/photos", params=query)
            yield from page["items"]
            if page["next"] is None:
                return
            query["cursor"] = str(page["next"])

    def search(self, *, text: str | None, like: str | None, limit: int) -> list[Json]:
        """Photos by their words and labels, or by their likeness to a photo; best first."""
        query = {"limit": str(limit)} | ({"q": text} if text else {"like": like or ""})
        return cast(list[Json], self._ask("GET", "/v1/search", params=query)["items"])

    def system(self) -> Json:
        """Versions of what the gateway talks to."""
        return self._ask("GET", "/v1/system")

    def _ask(self, method: str, path: str, **request: Any) -> Json:
        try:
            answer = self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise GatewayAwayError(
                f"no answer from the gateway at {self._url} ({error}); is it up? `darkroom status`"
            ) from error
        if answer.is_error:
            raise GatewayError(_reason(answer))
        return cast(Json, answer.json())


def _reason(answer: httpx.Response) -> str:
    """The sentence of a problem (RFC 9457), else the bare status."""
    try:
        problem: Mapping[str, Any] = answer.json()
        return str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, AttributeError):
        return f"the gateway answered {answer.status_code} {answer.reason_phrase}"
