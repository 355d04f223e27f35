"""The registry's schemas into a file and back, with the ids that records name them by.

Confluent's API can't set ids everywhere, so this speaks Apicurio's own.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from gateway.backup.manifest import BackupError

Ids = dict[str, dict[int, int]]
"""Subject → version → id."""

_TIMEOUT_S: Final = 60.0
_API: Final = re.compile(r"/apis/ccompat/v\d+$")
_ADMIN: Final = "/apis/registry/v3/admin"
_KEEP_IDS: Final = {
    "X-Registry-Preserve-GlobalId": "true",
    "X-Registry-Preserve-ContentId": "true",
    "Content-Type": "application/zip",
}


class Registry:
    """An Apicurio registry, by the URL of its Confluent API. Raises BackupError where it does not
    answer, or is none."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url.rstrip("/")
        self._root = _API.sub("", self._url)
        if self._root == self._url:
            raise BackupError(
                f"The registry at {self._url} is not Apicurio's.",
                "Back it up by its own means, and this without it: --without-schemas.",
            )
        self._http = httpx.Client(timeout=_TIMEOUT_S, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def ids(self) -> Ids:
        """The id of each version of each subject."""
        return {
            subject: {
                version: int(self._get(f"/subjects/{subject}/versions/{version}").json()["id"])
                for version in self._get(f"/subjects/{subject}/versions").json()
            }
            for subject in sorted(self._get("/subjects").json())
        }

    def export(self, file: Path) -> None:
        """Write all that it has into a file."""
        file.write_bytes(self._ask("GET", f"{self._root}{_ADMIN}/export").content)

    def fill(self, file: Path) -> None:
        """Read what `export` wrote, with its ids, into a registry that is empty."""
        url = f"{self._root}{_ADMIN}/import"
        self._ask("POST", url, content=file.read_bytes(), headers=_KEEP_IDS)

    def _get(self, path: str) -> httpx.Response:
        return self._ask("GET", self._url + path)

    def _ask(
        self,
        method: str,
        url: str,
        content: bytes | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        try:
            answer = self._http.request(method, url, content=content, headers=headers)
        except httpx.TransportError as error:
            raise BackupError(f"No answer from the registry at {self._url}: {error}.") from error
        if answer.is_error:
            said = f"{answer.status_code} {answer.text[:300]}"
            raise BackupError(f"The registry refuses {method} {answer.url.path}: {said}.")
        return answer


def differing(found: Ids, wanted: Ids) -> list[str]:
    """Versions that have another id than they had, or none; as `SUBJECT 1`."""
    return [
        f"{subject} {version}"
        for subject, versions in wanted.items()
        for version, number in versions.items()
        if found.get(subject, {}).get(version) != number
    ]
