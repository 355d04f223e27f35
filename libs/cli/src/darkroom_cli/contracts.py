"""Topics and schemas as declared, compared with and applied to a broker and a registry."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its __init__ re-exports
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from darkroom_schemas import avro
from darkroom_schemas.catalogue import PARTITIONS_VARIABLE, Catalogue, Topic

State = Literal["present", "missing", "created", "differs", "changed", "refused"]

_TIMEOUT_S: Final = 20.0
_BROKERS_DEFAULT: Final = -1
_NO_OPTIONS: Final[Mapping[str, str]] = {}
COMPATIBILITY: Final = "FULL_TRANSITIVE"
"""Every version can be read by every other, older or newer."""


class ContractError(RuntimeError):
    """The broker or the registry can't be asked, or refuses; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is so of one topic or subject. `detail` explains anything but present and created."""

    name: str
    state: State
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether broker or registry now agree with the declaration."""
        return self.state in ("present", "created", "changed")


def _admin_config(
    bootstrap: str, options: Mapping[str, str]
) -> dict[str, str | int | float | bool]:
    """Without librdkafka's own log: what goes wrong is told once, by ContractError."""
    return {"bootstrap.servers": bootstrap, "socket.timeout.ms": 10_000, "log_level": 0, **options}


class Topics:
    """The declared topics on a broker. Raises ContractError when it does not answer.

    New ones are kept by `replication` brokers; None: by as many as the broker's default says.
    `options` are further settings of librdkafka's, such as security.*.
    """

    def __init__(
        self,
        bootstrap: str,
        catalogue: Catalogue,
        prefix: str = "",
        *,
        replication: int | None = None,
        options: Mapping[str, str] = _NO_OPTIONS,
    ) -> None:
        self._admin = AdminClient(_admin_config(bootstrap, options))
        self._replication = _BROKERS_DEFAULT if replication is None else replication
        self._bootstrap = bootstrap
        self._declared = {prefix + topic.name: topic for topic in catalogue}

    def check(self) -> list[Finding]:
        """Compare; change nothing."""
        present = self._partitions()
        configs = self._configs([name for name in self._declared if name in present])
        found = [
            self._compared(name, topic, present.get(name), configs.get(name, {}))
            for name, topic in self._declared.items()
        ]
        return [self._beside_its_group(one, present) for one in found]

    def apply(self) -> list[Finding]:
        """Create what is missing and set what differs; never shrinks, grows or deletes a topic."""
        return [self._applied(finding) for finding in self._created()]

    def _created(self) -> Iterator[Finding]:
        found = self.check()
        missing = [one.name for one in found if one.state == "missing"]
        new = [
            NewTopic(
                name,
                num_partitions=self._declared[name].partitions,
                replication_factor=self._replication,
                config=self._declared[name].config(),
            )
            for name in missing
        ]
        if new:
            for name, future in self._admin.create_topics(new).items():
                self._await(future, f"topic {name} was not created")
        yield from (Finding(f.name, "created") if f.state == "missing" else f for f in found)

    def _applied(self, finding: Finding) -> Finding:
        if finding.state != "differs":
            return finding
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in self._declared[finding.name].config().items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, finding.name, incremental_configs=entries)
        for future in self._admin.incremental_alter_configs([resource]).values():
            self._await(future, f"settings of {finding.name} were not changed")
        return Finding(finding.name, "changed", finding.detail)

    def _compared(
        self, name: str, topic: Topic, partitions: int | None, config: Mapping[str, str]
    ) -> Finding:
        if partitions is None:
            return Finding(name, "missing", "not on the broker")
        if partitions != topic.partitions:
            detail = (
                f"has {partitions} partitions, declared are {topic.partitions}: "
                f"see `darkroom topics grow`, or {PARTITIONS_VARIABLE}"
            )
            return Finding(name, "refused", detail)
        other = {
            key: f"{config.get(key)} instead of {value}"
            for key, value in topic.config().items()
            if config.get(key) != value
        }
        if other:
            return Finding(name, "differs", "; ".join(f"{k} is {v}" for k, v in other.items()))
        return Finding(name, "present")

    def _beside_its_group(self, finding: Finding, present: Mapping[str, int]) -> Finding:
        """A missing topic is not made with other partitions than its group has on the broker."""
        topic = self._declared[finding.name]
        counts = {
            present[name]
            for name, other in self._declared.items()
            if topic.group is not None and other.group == topic.group and name in present
        }
        if finding.state != "missing" or counts <= {topic.partitions}:
            return finding
        has = ", ".join(map(str, sorted(counts)))
        detail = (
            f"its group {topic.group} has {has} partitions, declared are {topic.partitions}: keys"
            f" that are joined would part; say {PARTITIONS_VARIABLE}={topic.group}={max(counts)}"
        )
        return Finding(finding.name, "refused", detail)

    def _partitions(self) -> dict[str, int]:
        try:
            listed = self._admin.list_topics(timeout=_TIMEOUT_S).topics
        except KafkaException as error:
            raise ContractError(f"no answer from Kafka at {self._bootstrap}: {error}") from error
        return {name: len(topic.partitions) for name, topic in listed.items()}

    def _configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        if not resources:
            return {}
        answers = self._admin.describe_configs(resources)
        return {
            resource.name: {
                key: str(entry.value)
                for key, entry in self._await(future, "settings were not told").items()
            }
            for resource, future in answers.items()
        }

    def _await(self, future: Any, trouble: str) -> Any:
        try:
            return future.result(timeout=_TIMEOUT_S)
        except (KafkaException, TimeoutError) as error:
            raise ContractError(f"{trouble}: {error}") from error


class Subjects:
    """The declared schemas in a registry. Raises ContractError when it does not answer."""

    def __init__(self, registry: str, catalogue: Catalogue, prefix: str = "") -> None:
        self._http = httpx.Client(base_url=registry.rstrip("/"), timeout=_TIMEOUT_S)
        self._registry = registry
        self._declared = {
            prefix + topic.subject: avro.schema_of(topic.name) for topic in catalogue.with_schema()
        }

    def check(self) -> list[Finding]:
        """Compare; change nothing. A new version that readers could not take is `refused`."""
        return [self._compared(subject) for subject in self._declared]

    def apply(self) -> list[Finding]:
        """Register what is missing or new, under FULL_TRANSITIVE compatibility."""
        return [self._registered(self._compared(subject)) for subject in self._declared]

    def _compared(self, subject: str) -> Finding:
        body = {"schema": json.dumps(self._declared[subject])}
        if self._ask("POST", f"/subjects/{subject}", body) is not None:
            return Finding(subject, "present")
        if self._ask("GET", f"/subjects/{subject}/versions", None) is None:
            return Finding(subject, "missing", "not in the registry")
        path = f"/compatibility/subjects/{subject}/versions"
        answer = self._ask("POST", path, body, {"verbose": "true"}) or {}
        if answer.get("is_compatible"):
            return Finding(subject, "differs", "a compatible new version")
        reasons = "; ".join(map(str, answer.get("messages", [])))
        return Finding(subject, "refused", f"not {COMPATIBILITY} compatible: {reasons}")

    def _registered(self, finding: Finding) -> Finding:
        if finding.state not in ("missing", "differs"):
            return finding
        body = {"schema": json.dumps(self._declared[finding.name])}
        if self._ask("POST", f"/subjects/{finding.name}/versions", body) is None:
            raise ContractError(f"the registry did not take {finding.name}")
        self._ask("PUT", f"/config/{finding.name}", {"compatibility": COMPATIBILITY})
        return Finding(finding.name, "created" if finding.state == "missing" else "changed")

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any] | None:
        """The answer, None for 'not found'."""
        try:
            answer = self._http.request(method, path, json=body, params=query)
        except httpx.TransportError as error:
            raise ContractError(f"no answer from {self._registry}: {error}") from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.is_error:
            raise ContractError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        told = answer.json()
        return cast(dict[str, Any], told) if isinstance(told, dict) else {"items": told}
