"""The registry of models: versions, which of them holds, how it came to that.

A version is never changed. Each change of what holds is a new generation and one event of
`model.activated.v1`, which every engine process follows.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString
from uuid import NAMESPACE_URL, uuid5

from psycopg.types.json import Jsonb

from darkroom_schemas.heads import head_name, head_of
from darkroom_schemas.names import MODEL_ACTIVATED
from darkroom_schemas.stages import now
from gateway.catalog.audit import audit
from gateway.catalog.model_shapes import Activation, Change, ModelFile, ModelVersion
from gateway.catalog.outbox import Outbox
from gateway.db import Conn
from streamkit import Emit

_SHOWN: Final = 12
"""Hexadecimal digits of its hash that name a version."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version that somebody wants to register; `options` are settings of the stage by name.

    `embedding_version` is not part of what it is: a head's file says it, too.
    """

    name: str
    engine: str
    by: str
    options: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[ModelFile] = ()
    licence: str | None = None
    source: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    notes: str | None = None
    embedding_version: str | None = None

    @property
    def sha256(self) -> str:
        """Hash of what it is: name, engine, options, the files' paths and bytes."""
        what = [
            self.name,
            self.engine,
            sorted(self.options.items()),
            sorted((one.path, one.sha256) for one in self.files),
        ]
        return hashlib.sha256(json.dumps(what, ensure_ascii=False).encode()).hexdigest()

    @property
    def version(self) -> str:
        """What it is called, and what its parts say as their model_version."""
        return f"{self.engine}@{self.sha256[:_SHOWN]}"


class RegistryError(Exception):
    """A wish that can't be met: a stable code, and a sentence with the cause and the cure.

    `more` tells programs the same, by fields.
    """

    def __init__(self, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.more = more


class FilesMissingError(RegistryError):
    """Files of a version that have to be sent first, by their hashes."""

    def __init__(self, sha256s: Sequence[str]) -> None:
        message = f"Send these {len(sha256s)} files first: {', '.join(sha256s[:20])}"
        super().__init__("files_missing", message, missing=list(sha256s))


_VERSION: LiteralString = (
    "SELECT version, engine, options, files, sha256, built_in, licence, source, metrics, notes,"
    " embedding_version, stage, created_by, created_at FROM model_versions"
)


def named(owner: str, name: str) -> str:
    """The name in the registry of a model as an owner calls it: `head:SET` is the owner's own."""
    kind, found, own = name.partition(":")
    return head_name(owner, own) if found and kind == "head" else name


def shown(name: str) -> str:
    """The opposite of `named`."""
    head = head_of(name)
    return name if head is None else f"head:{head.name}"


def heads_of(conn: Conn, owner: str) -> list[str]:
    """The names in the registry of an owner's heads."""
    rows = conn.execute(
        "SELECT DISTINCT name FROM model_versions WHERE starts_with(name, %s) ORDER BY name",
        (head_name(owner, ""),),
    )
    return [row["name"] for row in rows]


def versions(conn: Conn, name: str) -> list[ModelVersion]:
    """All versions of a model, the newest first."""
    rows = conn.execute(_VERSION + " WHERE name = %s ORDER BY created_at DESC, version", (name,))
    return [ModelVersion.model_validate(row) for row in rows]


def version_of(conn: Conn, name: str, version: str) -> ModelVersion:
    """Raises RegistryError if there is no such version."""
    row = conn.execute(_VERSION + " WHERE name = %s AND version = %s", (name, version)).fetchone()
    if row is None:
        raise RegistryError(
            "no_such_version",
            f"{shown(name)} has no version {version}; see the list of its versions.",
        )
    return ModelVersion.model_validate(row)


def register(conn: Conn, wanted: Wanted) -> tuple[ModelVersion, bool]:
    """The version, and whether it is new: the same content is the same version.

    Raises FilesMissingError, with nothing written, where bytes of its files were not sent.
    """
    with conn.transaction():
        _check_files(conn, wanted.files)
        added = conn.execute(
            """
            INSERT INTO model_versions (
              name, version, engine, options, files, sha256, built_in, licence, source, metrics,
              notes, embedding_version, stage, created_by)
            VALUES (%s, %s, %s, %s, %s, %s, false, %s, %s, %s, %s, %s, 'candidate', %s)
            ON CONFLICT DO NOTHING
            """,
            (
                *(wanted.name, wanted.version, wanted.engine, Jsonb(dict(wanted.options))),
                Jsonb([one.model_dump() for one in wanted.files]),
                *(wanted.sha256, wanted.licence, wanted.source, Jsonb(dict(wanted.metrics))),
                *(wanted.notes, wanted.embedding_version, wanted.by),
            ),
        )
        made = version_of(conn, wanted.name, wanted.version)
        if added.rowcount:
            about = {"engine": wanted.engine, "files": len(wanted.files)}
            audit(conn, wanted.by, "model.registered", f"{wanted.name} {made.version}", about)
    return made, bool(added.rowcount)


def _check_files(conn: Conn, files: Sequence[ModelFile]) -> None:
    hashes = sorted({one.sha256 for one in files})
    rows = conn.execute("SELECT sha256 FROM model_files WHERE sha256 = ANY(%s)", (hashes,))
    known = {row["sha256"] for row in rows}
    if missing := [one for one in hashes if one not in known]:
        raise FilesMissingError(missing)


def current(conn: Conn, name: str) -> Activation | None:
    """What holds; None while nothing was activated."""
    found = history(conn, name, 1)
    return found[0] if found else None


def history(conn: Conn, name: str, limit: int) -> list[Activation]:
    """The last changes of a model, the newest first."""
    rows = conn.execute(
        "SELECT generation, version, shadow, shadow_share, change, reason, activated_by,"
        " activated_at FROM model_activations WHERE name = %s ORDER BY generation DESC LIMIT %s",
        (name, limit),
    )
    return [Activation.model_validate(row) for row in rows]


def said(conn: Conn) -> list[Emit]:
    """Of each model the event of what holds, once more."""
    rows = conn.execute("SELECT DISTINCT name FROM model_activations ORDER BY name").fetchall()
    held = ((row["name"], current(conn, row["name"])) for row in rows)
    return [_event(conn, name, one) for name, one in held if one and one.change != "served"]


@dataclass(frozen=True, slots=True)
class By:
    """Who changes a model and why; `expected`: the generation that they have seen, None: any."""

    who: str
    reason: str | None = None
    expected: int | None = None


def activate(conn: Conn, outbox: Outbox, name: str, version: str, by: By) -> Activation:
    """Have a version hold from now on. Raises RegistryError.

    One that holds already is left as it is. Its shadow, if it was one, is none any more.
    """
    with conn.transaction():
        before = _locked(conn, name, by)
        chosen = version_of(conn, name, version)
        if before is not None and before.version == chosen.version:
            return before
        shadow = None if before is None or before.shadow == version else before.shadow
        share = before.shadow_share if before is not None and shadow is not None else 0.0
        return _changed(conn, outbox, name, _Next(version, shadow, share, "activated"), by)


def roll_back(conn: Conn, outbox: Outbox, name: str, by: By) -> Activation:
    """Have the version hold that did before the present one was activated. Raises RegistryError.

    Versions that no replica ever had, and retired ones, are passed over. Each roll back undoes one
    activation more.
    """
    with conn.transaction():
        before = _locked(conn, name, by)
        retired = {one.version for one in versions(conn, name) if one.stage == "retired"}
        earlier = [
            one.version
            for one in activations(conn, name)[:-1]
            if one.held and one.version not in retired
        ]
        if before is None or not earlier:
            raise RegistryError(
                "nothing_before",
                f"No other version of {shown(name)} that is not retired has held before: activate"
                " one.",
            )
        return _changed(conn, outbox, name, _Next(earlier[-1], None, 0.0, "rolled_back"), by)


@dataclass(frozen=True, slots=True)
class Held:
    """An activation that is not undone; `held`: whether a replica ever had it."""

    version: str
    held: bool


def activations(conn: Conn, name: str) -> list[Held]:
    """Those that no roll back has undone, in order: the last one holds."""
    rows = conn.execute(
        "SELECT version, change, held_at IS NOT NULL AS held FROM model_activations"
        " WHERE name = %s AND change <> 'shadowed' ORDER BY generation",
        (name,),
    )
    standing: list[Held] = []
    for row in rows:
        if row["change"] != "rolled_back":
            standing.append(Held(row["version"], row["held"]))
            continue
        standing.pop()
        while standing and (standing[-1].version != row["version"] or not standing[-1].held):
            standing.pop()
    return standing


def shadow(
    conn: Conn, outbox: Outbox, name: str, version: str | None, share: float, by: By
) -> Activation:
    """Have a version look at a share of the photos beside the one that holds; None: none does.

    Raises RegistryError.
    """
    with conn.transaction():
        before = _locked(conn, name, by)
        if before is None:
            cure = "start its service" if head_of(name) is None else "activate one"
            raise RegistryError(
                "nothing_active", f"No version of {shown(name)} is known to work yet: {cure}."
            )
        if version is not None and version_of(conn, name, version).version == before.version:
            raise RegistryError("already_active", f"{version} is what holds already.")
        following = _Next(before.version, version, share if version else 0.0, "shadowed")
        return _changed(conn, outbox, name, following, by)


def retire(conn: Conn, name: str, version: str, by: By) -> ModelVersion:
    """Say that a version shall not be used any more. Raises RegistryError for one that is."""
    with conn.transaction():
        before = _locked(conn, name, by)
        version_of(conn, name, version)
        if before is not None and version in (before.version, before.shadow):
            cure = "activate another one"
            if version == before.shadow:
                cure = f"end its shadow (darkroom models shadow {shown(name)} --off)"
            raise RegistryError("in_use", f"{version} is in use: {cure} first.")
        conn.execute(
            "UPDATE model_versions SET stage = 'retired' WHERE name = %s AND version = %s",
            (name, version),
        )
        audit(conn, by.who, "model.retired", f"{name} {version}", {"reason": by.reason})
        return version_of(conn, name, version)


@dataclass(frozen=True, slots=True)
class _Next:
    version: str
    shadow: str | None
    share: float
    change: Change


def _locked(conn: Conn, name: str, by: By) -> Activation | None:
    """What holds, until the end of the transaction: changes of a model are made in turns.

    What services use by their own settings becomes generation 1, so that one can go back to it.
    """
    conn.execute("SELECT pg_advisory_xact_lock(hashtext('model'), hashtext(%s))", (name,))
    before = current(conn, name) or _served(conn, name)
    generation = before.generation if before else 0
    if by.expected is not None and by.expected != generation:
        raise RegistryError(
            "model_changed",
            f"{shown(name)} was changed in between: it has generation {generation} now.",
        )
    return before


def _served(conn: Conn, name: str) -> Activation | None:
    row = conn.execute(
        "SELECT r.version FROM model_replicas r JOIN model_versions v USING (name, version)"
        " WHERE r.name = %s AND r.state IN ('ready', 'gone') ORDER BY r.seen_at DESC LIMIT 1",
        (name,),
    ).fetchone()
    if row is None:
        return None
    served = Activation(
        generation=1,
        version=row["version"],
        shadow=None,
        shadow_share=0.0,
        change="served",
        reason=None,
        activated_by="settings",
        activated_at=now(),
    )
    _insert(conn, name, served)
    return served


def _changed(conn: Conn, outbox: Outbox, name: str, following: _Next, by: By) -> Activation:
    before = current(conn, name)
    activation = Activation(
        generation=(before.generation if before else 0) + 1,
        version=following.version,
        shadow=following.shadow,
        shadow_share=following.share,
        change=following.change,
        reason=by.reason,
        activated_by=by.who,
        activated_at=now(),
    )
    _insert(conn, name, activation)
    conn.execute(
        """
        UPDATE model_versions SET stage = CASE WHEN version = %(active)s THEN 'active'
          WHEN stage = 'active' THEN 'candidate' WHEN version = %(shadow)s THEN 'candidate'
          ELSE stage END
        WHERE name = %(name)s
        """,
        {"name": name, "active": activation.version, "shadow": activation.shadow},
    )
    about = activation.model_dump(include={"generation", "shadow", "shadow_share", "reason"})
    audit(conn, by.who, f"model.{activation.change}", f"{name} {activation.version}", about)
    outbox.add(conn, [_event(conn, name, activation)])
    return activation


def _insert(conn: Conn, name: str, activation: Activation) -> None:
    conn.execute(
        """
        INSERT INTO model_activations (
          name, generation, version, shadow, shadow_share, change, reason, activated_by,
          activated_at, held_at)
        VALUES (%(name)s, %(generation)s, %(version)s, %(shadow)s, %(shadow_share)s, %(change)s,
          %(reason)s, %(activated_by)s, %(activated_at)s,
          CASE WHEN %(change)s = 'served' THEN now() END)
        """,
        {"name": name, **activation.model_dump()},
    )


def _event(conn: Conn, name: str, activation: Activation) -> Emit:
    shadow = activation.shadow
    value = {
        "name": name,
        "generation": activation.generation,
        "active": _as_event(conn, version_of(conn, name, activation.version)),
        "shadow": None if shadow is None else _as_event(conn, version_of(conn, name, shadow)),
        "shadow_share": activation.shadow_share,
        "activated_by": activation.activated_by,
        "activated_at": activation.activated_at,
    }
    event_id = str(uuid5(NAMESPACE_URL, f"urn:darkroom:model:{name}:{activation.generation}"))
    return Emit(MODEL_ACTIVATED, name, value, event_id)


def _as_event(conn: Conn, version: ModelVersion) -> dict[str, Any]:
    rows = conn.execute(
        "SELECT sha256, uri FROM model_files WHERE sha256 = ANY(%s)",
        ([one.sha256 for one in version.files],),
    )
    uris = {row["sha256"]: row["uri"] for row in rows}
    files = [{**one.model_dump(), "uri": uris[one.sha256]} for one in version.files]
    return {
        "version": version.version,
        "engine": version.engine,
        "options": version.options,
        "files": files,
        "built_in": version.built_in,
    }


def keep_file(conn: Conn, sha256: str, byte_size: int, uri: str) -> None:
    """Bytes of a checkpoint are stored, perhaps anew."""
    conn.execute(
        "INSERT INTO model_files (sha256, byte_size, uri) VALUES (%s, %s, %s)"
        " ON CONFLICT (sha256) DO UPDATE SET uri = excluded.uri, stored_at = now()",
        (sha256, byte_size, uri),
    )


def file_uri(conn: Conn, sha256: str) -> str | None:
    """Where these bytes are stored; None if they never were."""
    row = conn.execute("SELECT uri FROM model_files WHERE sha256 = %s", (sha256,)).fetchone()
    return None if row is None else str(row["uri"])
