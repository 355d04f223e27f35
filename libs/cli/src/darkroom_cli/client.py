"""The gateway's REST door, as the commands use it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, Final, cast
from urllib.parse import quote

import httpx
from pydantic import SecretStr

_WAIT_S: Final = 60
"""As long as the gateway waits at most."""

_TIMEOUT_S: Final = 90.0
"""Above that."""

_LONG: Final = httpx.Timeout(_TIMEOUT_S, read=600.0)
"""For answers that take their time: an archive is stored, a million files are read."""

_PATIENCE_S: Final = 120.0
"""So long a command waits, all in all, for a gateway that has taken in its number for now."""

Json = dict[str, Any]


class GatewayError(RuntimeError):
    """The gateway does not answer, or says why it refuses."""


class GatewayAwayError(GatewayError):
    """The gateway does not answer."""


class RefusedError(GatewayError):
    """The gateway answers with a problem: `code` is stable, `retry_after_s` when to come back."""

    def __init__(self, message: str, status: int, code: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


def _nobody(_line: str) -> None:
    """Tell nobody."""


class Gateway:
    """Calls that block. All raise GatewayError with a sentence for a person.

    Calls that begin work wait where the gateway's rate limits want that; `tell` is given a line
    that says so.
    """

    def __init__(
        self, url: str, tell: Callable[[str], None] = _nobody, key: SecretStr | None = None
    ) -> None:
        self.url = url
        self._tell = tell
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT_S, headers=_headers(key))

    def analyze(self, file: Path) -> Json:
        """Hand a photo in and wait for what becomes of it; `status` may still be pending."""
        with file.open("rb") as body:
            return self._begin(
                "/v1/photos",
                content=body,
                params={"lane": "high", "file_name": file.name},
                headers={"Prefer": f"wait={_WAIT_S}", "Content-Type": "application/octet-stream"},
            )

    def photo(self, photo_id: str) -> Json:
        """One photo with all that is known of it."""
        return self.ask("GET", f"/v1/photos/{photo_id}")

    def start_import(
        self, paths: Sequence[Path], lane: str, patterns: Mapping[str, Any] | None = None
    ) -> Json:
        """Begin an import of files and folders on the gateway's machine; `patterns` may have
        `include`, `exclude` and `hidden`."""
        body = {"paths": [str(path) for path in paths], "lane": lane, **(patterns or {})}
        return self._begin("/v1/imports", json=body)

    def start_store(self, uri: str, lane: str, patterns: Mapping[str, Any]) -> Json:
        """Begin an import of the objects below a store's prefix."""
        body = {"kind": "store", "uri": uri, "lane": lane, **patterns}
        return self._begin("/v1/imports", json=body)

    def start_archive(self, file: Path, lane: str, patterns: Mapping[str, Any]) -> Json:
        """Send an archive and begin the import of its files."""
        with file.open("rb") as body:
            return self._begin(
                "/v1/imports/archive",
                content=body,
                params={"name": file.name, "lane": lane, **patterns},
                headers={"Content-Type": "application/octet-stream"},
                timeout=_LONG,
            )

    def start_upload(self, name: str, expected: int, lane: str) -> Json:
        """Begin an import of files that are sent one by one. Doesn't wait: `upload` does."""
        body = {"kind": "upload", "name": name, "expected": expected, "lane": lane}
        return self.ask("POST", "/v1/imports", json=body)

    def missing(self, batch_id: str, files: Sequence[Json]) -> Json:
        """Offer files of an import: which of them are to be sent, and how fast."""
        return self.ask("POST", f"/v1/imports/{batch_id}/missing", json={"files": list(files)})

    def send_file(self, batch_id: str, path: str, content: BinaryIO) -> Json:
        """Send the bytes of an import's file."""
        return self.ask(
            "PUT",
            f"/v1/imports/{batch_id}/files",
            params={"path": path},
            content=content,
            headers={"Content-Type": "application/octet-stream"},
        )

    def seal(self, batch_id: str) -> Json:
        """Every file of the import is sent."""
        return self.ask("POST", f"/v1/imports/{batch_id}/seal")

    def imports(self, limit: int) -> list[Json]:
        """The newest imports."""
        query = {"limit": str(limit)}
        return cast(list[Json], self.ask("GET", "/v1/imports", params=query)["items"])

    def batch(self, batch_id: str) -> Json:
        """Where an import stands."""
        return self.ask("GET", f"/v1/imports/{batch_id}")

    def command(self, batch_id: str, word: str, body: Json) -> Json:
        """Have an import `pause`, `resume` or `cancel`; how it stands then."""
        return self.ask("POST", f"/v1/imports/{batch_id}/{word}", json=body)

    def statistics(self, batch_id: str) -> Json:
        """An import in numbers."""
        return self.ask("GET", f"/v1/imports/{batch_id}/statistics", timeout=_LONG)

    def failures(self, batch_id: str, limit: int) -> Json:
        """Why files of an import failed: all reasons, and at most `limit` of the files; `next` is
        null if these are all."""
        found: Json = {"reasons": [], "items": [], "next": None}
        query = {"limit": str(min(200, max(1, limit)))}
        while True:
            path = f"/v1/imports/{batch_id}/failures"
            page = self.ask("GET", path, params=query, timeout=_LONG)
            found = {
                "reasons": found["reasons"] or page["reasons"],
                "items": [*found["items"], *page["items"]],
                "next": page["next"],
            }
            if page["next"] is None or len(found["items"]) >= limit:
                return found | {"items": found["items"][:limit]}
            query["cursor"] = str(page["next"])

    def report(self, batch_id: str, form: str) -> Iterator[bytes]:
        """What became of an import's files, as `csv` or `html`, in pieces as they come."""
        path = f"/v1/imports/{batch_id}/report.{form}"
        try:
            with self._http.stream("GET", path, timeout=_LONG) as answer:
                if answer.is_error:
                    answer.read()
                    raise _refused(answer)
                yield from answer.iter_bytes()
        except httpx.TransportError as error:
            raise GatewayAwayError(f"the report was broken off ({error})") from error

    def items(self, batch_id: str) -> Iterator[Json]:
        """Every file of an import, in its order."""
        query: dict[str, str] = {"limit": "200"}
        while True:
            page = self.ask("GET", f"/v1/imports/{batch_id}/photos", params=query)
            yield from page["items"]
            if page["next"] is None:
                return
            query["cursor"] = str(page["next"])

    def search(self, *, text: str | None, like: str | None, limit: int) -> list[Json]:
        """Photos by their words and labels, or by their likeness to a photo; best first."""
        query = {"limit": str(limit)} | ({"q": text} if text else {"like": like or ""})
        return cast(list[Json], self.ask("GET", "/v1/search", params=query)["items"])

    def load(self) -> Json:
        """How much of each lane waits, and what is refused."""
        return self.ask("GET", "/v1/load")

    def pin_share(self, lane: str, wanted: Json) -> Json:
        """Set how much of a lane is let in."""
        return self.ask("PUT", f"/v1/load/{lane}/share", json=wanted)

    def unpin_share(self, lane: str, by: str) -> Json:
        """Let the load decide again how much of a lane is let in."""
        return self.ask("DELETE", f"/v1/load/{lane}/share", params={"by": by})

    def policy(self) -> Json:
        """The confidence policy in force."""
        return self.ask("GET", "/v1/policy")

    def change_policy(self, wanted: Json) -> Json:
        """Make the next policy; gives it."""
        return self.ask("POST", "/v1/policy", json=wanted)

    def policy_suggestions(self, target: float | None, label: str | None) -> Json:
        """Thresholds that answers suggest, for a share of right labels; None: the gateway's."""
        query = {"target": target, "label": label}
        given = {name: str(one) for name, one in query.items() if one is not None}
        return self.ask("GET", "/v1/policy/suggestions", params=given)

    def policies(self) -> Iterator[Json]:
        """All policies that were made, the newest first."""
        return self._pages("/v1/policy/history", {"limit": "100"})

    def audit(self, what: str | None = None) -> Iterator[Json]:
        """Who changed what, the newest first; `what` as `policy` or `import.paused`."""
        return self._pages("/v1/audit", {"limit": "200"} | ({"what": what} if what else {}))

    def reprocess(self, wanted: Json) -> Json:
        """Have photos analysed again: the batch, or of a dry run what it would be."""
        return self._begin("/v1/reprocess", json=wanted)

    def channels(self) -> list[Json]:
        """By which ways people are told."""
        return cast(list[Json], self.ask("GET", "/v1/notifications/channels")["items"])

    def add_channel(self, wanted: Json) -> Json:
        """Add a channel; gives it, with the secret that the gateway made for it."""
        return self.ask("POST", "/v1/notifications/channels", json=wanted)

    def change_channel(self, channel_id: str, wanted: Json) -> Json:
        """Change what a channel is told."""
        return self.ask("PATCH", f"/v1/notifications/channels/{channel_id}", json=wanted)

    def remove_channel(self, channel_id: str) -> None:
        """Remove a channel."""
        self.ask("DELETE", f"/v1/notifications/channels/{channel_id}")

    def test_channel(self, channel_id: str) -> Json:
        """Send a notice by this channel; gives the notice."""
        return self.ask("POST", f"/v1/notifications/channels/{channel_id}/test")

    def notice(self, notice_id: str) -> Json:
        """A notice, and what became of telling it."""
        return self.ask("GET", f"/v1/notifications/{notice_id}")

    def notices(self, kind: str | None = None, *, undelivered: bool = False) -> Iterator[Json]:
        """What people were told, the newest first."""
        query = {"limit": "100", "undelivered": str(undelivered).lower()}
        return self._pages("/v1/notifications", query | ({"kind": kind} if kind else {}))

    def schedules(self) -> list[Json]:
        """All jobs, when they run, and their last runs."""
        return cast(list[Json], self.ask("GET", "/v1/schedules")["items"])

    def schedule(self, name: str) -> Json:
        """One job."""
        return self.ask("GET", f"/v1/schedules/{quote(name, safe='')}")

    def change_schedule(self, name: str, change: Json) -> Json:
        """Change a job's `schedule`, or whether it is `enabled`."""
        return self.ask("PATCH", f"/v1/schedules/{quote(name, safe='')}", json=change)

    def run_schedule(self, name: str, by: str) -> Json:
        """Ask for a run of a job now."""
        return self._begin(f"/v1/schedules/{quote(name, safe='')}/run", json={"by": by})

    def runs(self, name: str) -> Iterator[Json]:
        """The runs of a job, the newest first."""
        return self._pages(f"/v1/schedules/{quote(name, safe='')}/runs", {"limit": "100"})

    def sources(self) -> list[Json]:
        """All sources."""
        return cast(list[Json], self.ask("GET", "/v1/sources")["items"])

    def add_source(self, wanted: Json) -> Json:
        """Add a source; gives it."""
        return self._begin("/v1/sources", json=wanted)

    def change_source(self, source_id: str, change: Json) -> Json:
        """Change what is named of a source."""
        return self.ask("PATCH", f"/v1/sources/{source_id}", json=change)

    def remove_source(self, source_id: str, by: str) -> Json:
        """Remove a source; gives what it was."""
        return self.ask("DELETE", f"/v1/sources/{source_id}", params={"by": by})

    def system(self) -> Json:
        """Versions of what the gateway talks to."""
        return self.ask("GET", "/v1/system")

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[Json]:
        """The items of a list, a page at a time."""
        query = dict(query)
        while True:
            page = self.ask("GET", path, params=query)
            yield from page["items"]
            if page["next"] is None:
                return
            query["cursor"] = str(page["next"])

    def _begin(self, path: str, **request: Any) -> Json:
        """The answer to a POST; comes back when a rate limit says so, if that is soon enough."""
        left_s = _PATIENCE_S
        while True:
            try:
                return self.ask("POST", path, **request)
            except RefusedError as error:
                wait_s = error.retry_after_s
                if error.status != 429 or wait_s is None:
                    raise
                left_s -= max(1.0, wait_s)  # sending takes time, too: no try is for nothing
                if left_s < 0:
                    raise
                self._tell(f"{error} Waiting.")
                time.sleep(wait_s)
            if "content" in request:
                request["content"].seek(0)

    def ask(self, method: str, path: str, **request: Any) -> Json:
        """The answer to a request as httpx makes it; {} for an empty one."""
        try:
            answer = self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise GatewayAwayError(
                f"no answer from the gateway at {self.url} ({error}); is it up? `darkroom status`"
            ) from error
        if answer.is_error:
            raise _refused(answer)
        return cast(Json, answer.json() if answer.content else {})


def _headers(key: SecretStr | None) -> dict[str, str]:
    """Raises GatewayError, without the key, for one that no header can hold."""
    if key is None:
        return {}
    token = key.get_secret_value().strip()
    if not (token.isascii() and token.isprintable() and token):
        raise GatewayError("DARKROOM_API_KEY is no key")
    return {"Authorization": f"Bearer {token}"}


def _refused(answer: httpx.Response) -> RefusedError:
    """The sentence of a problem (RFC 9457), else the bare status."""
    seconds = answer.headers.get("retry-after", "")
    retry_after_s = float(seconds) if seconds.isdecimal() else None
    try:
        problem: Mapping[str, Any] = answer.json()
        reason, code = str(problem.get("detail") or problem["title"]), str(problem.get("code"))
    except (ValueError, KeyError, AttributeError):
        reason = f"the gateway answered {answer.status_code} {answer.reason_phrase}"
        code = ""
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        reason += " The command sends what DARKROOM_API_KEY says; `darkroom keys create` makes one."
    return RefusedError(reason, answer.status_code, code, retry_after_s)
