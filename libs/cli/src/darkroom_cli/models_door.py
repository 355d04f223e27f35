"""The gateway's registry of models, as the commands use it."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from darkroom_cli.client import Gateway, GatewayError, Json, RefusedError
from darkroom_schemas.model_files import WEIGHTS, is_safe

_POLL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class ModelsDoor:
    """Calls block and raise GatewayError with a sentence for a person."""

    gateway: Gateway

    def all(self) -> list[Json]:
        """Every model, without its versions."""
        return cast("list[Json]", self.gateway.ask("GET", "/v1/models")["items"])

    def one(self, name: str) -> Json:
        """A model with its versions, replicas and last changes."""
        return self.gateway.ask("GET", f"/v1/models/{name}")

    def meant(self, name: str, version: str) -> str:
        """The version whose name is, or begins with, `version`."""
        known = [one["version"] for one in self.one(name)["versions"]]
        fitting = [one for one in known if one == version] or [
            one for one in known if one.startswith(version)
        ]
        if len(fitting) == 1:
            return str(fitting[0])
        there = ", ".join(known) or "none"
        what = "no version" if not fitting else "more than one version"
        raise GatewayError(f"{name} has {what} {version!r}; there are: {there}")

    def register(
        self, name: str, wanted: Mapping[str, Any], folder: Path | None, tell: Callable[[str], None]
    ) -> Json:
        """Register a version with a folder's files.

        It is asked for before they are sent: what is refused anyway costs no gigabytes. They are
        sent also if they are known, since the store may have lost them.
        """
        files = {} if folder is None else files_of(folder, tell)
        listed = [
            {"path": path, "sha256": file.sha256, "byte_size": file.byte_size}
            for path, file in files.items()
        ]
        whole = {**wanted, "files": listed}
        try:
            made = self.add(name, whole)
        except RefusedError as error:
            if error.code != "files_missing":
                raise
            made = None
        for path, file in files.items():
            tell(f"sends {path} ({file.byte_size / 1e6:.1f} MB)")
            self._send(file)
        return made or self.add(name, whole)

    def add(self, name: str, wanted: Mapping[str, Any]) -> Json:
        """Register a version whose files are known already."""
        return self._post(name, "versions", wanted)

    def change(self, name: str, word: str, wanted: Mapping[str, Any]) -> Json:
        """`activate`, `rollback`, `shadow` or `retire`."""
        return self._post(name, word, wanted)

    def shadow_report(self, name: str, version: str, limit: int) -> Json:
        """What a version says beside those that held."""
        query = {"version": version, "limit": limit}
        return self.gateway.ask("GET", f"/v1/models/{name}/shadow-report", params=query)

    def everywhere(
        self, name: str, generation: int, timeout_s: float, tell: Callable[[Json], None]
    ) -> Json:
        """Wait until every replica has a generation; the model then.

        Raises GatewayError where one can't load it, or time is up.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.one(name)
            if found["generation"] > generation:
                raise GatewayError(f"{name} was changed again meanwhile; see darkroom models show")
            if found["everywhere"]:
                _check_shadow(found)
                return found
            failed = [
                one
                for one in found["replicas"]
                if one["live"] and one["state"] == "failed" and one["wanted"] >= generation
            ]
            if failed:
                first = failed[0]
                raise GatewayError(
                    f"{first['replica']} can't load it: {first['message']}\n"
                    f"The version before goes on working there. darkroom models rollback {name}"
                )
            if time.monotonic() >= deadline:
                waiting = ", ".join(found["waiting_for"]) or "any replica to be heard of"
                raise GatewayError(f"not everywhere after {timeout_s:g} s; waits for {waiting}")
            tell(found)
            time.sleep(_POLL_S)

    def _post(self, name: str, word: str, wanted: Mapping[str, Any]) -> Json:
        return self.gateway.ask("POST", f"/v1/models/{name}/{word}", json=dict(wanted))

    def _send(self, file: "CheckpointFile") -> None:
        with file.place.open("rb") as body:
            self.gateway.ask(
                "PUT",
                f"/v1/model-files/{file.sha256}",
                content=body,
                headers={"Content-Type": "application/octet-stream"},
                timeout=None,
            )


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A file of a checkpoint on this machine."""

    place: Path
    sha256: str
    byte_size: int


def _check_shadow(found: Json) -> None:
    """Raises GatewayError where a replica does not have the shadow that it shall have."""
    for one in found["replicas"]:
        if one["live"] and found["shadow"] and one["shadow"] != found["shadow"]:
            raise GatewayError(
                f"{one['replica']}: {one['message']}\nWhat holds works as ever."
                f" darkroom models shadow {found['name']} --off"
            )


def files_of(folder: Path, tell: Callable[[str], None]) -> dict[str, CheckpointFile]:
    """The files of a checkpoint by their paths.

    Hidden ones are left out, and told those that a version can't have (notes, pickled weights).
    Raises GatewayError where no weights are left.
    """
    found = {}
    for path in _paths(folder):
        if not is_safe(path):
            tell(f"leaves {path} out")
            continue
        place = folder / path
        with place.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[path] = CheckpointFile(place, digest, place.stat().st_size)
    if not any(path.endswith(WEIGHTS) for path in found):
        kinds = " or ".join(WEIGHTS)
        raise GatewayError(f"{folder} has no weights that a version can have: {kinds}")
    return found


def _paths(folder: Path) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(root, name).relative_to(folder).as_posix()
