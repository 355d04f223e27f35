"""The local stack as data: which programs, in which order, with which settings."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from darkroom_cli.errors import StackError
from darkroom_cli.infra import ports
from darkroom_cli.infra.credentials import Credentials, load_or_draw
from darkroom_cli.infra.kafka import KafkaPlace, kafka_specs
from darkroom_cli.infra.postgres import database_url, postgres_specs
from darkroom_cli.infra.prometheus import prometheus_spec
from darkroom_cli.infra.redis_server import redis_spec
from darkroom_cli.infra.registry import registry_spec, registry_url
from darkroom_cli.infra.services import (
    EXTRAS,
    INFRASTRUCTURE,
    SERVICES,
    service_spec,
    step_specs,
)
from darkroom_cli.paths import DataFolder
from darkroom_cli.provision import Tools
from darkroom_cli.supervision.spec import ProcessSpec


class Wishes(BaseModel):
    """What the caller wants of a stack; travels to the supervisor as one line of JSON.

    `env` holds settings for every program of ours, `process_env` for one of them by name.
    """

    model_config = ConfigDict(frozen=True)

    data: Path
    infrastructure: tuple[str, ...] = INFRASTRUCTURE
    services: tuple[str, ...] = tuple(SERVICES)
    extras: tuple[str, ...] = ()
    env: dict[str, str] = {}
    process_env: dict[str, dict[str, str]] = {}
    api_port: int | None = None
    leashed: bool = False

    def check(self) -> None:
        """Raises StackError for a name that does not exist."""
        known = {*INFRASTRUCTURE, *SERVICES, *EXTRAS}
        named = (*self.infrastructure, *self.services, *self.extras, *self.process_env)
        unknown = sorted(set(named) - known)
        if unknown:
            raise StackError(
                f"No such process: {', '.join(unknown)}.", f"There are {', '.join(sorted(known))}."
            )


@dataclass(frozen=True, slots=True)
class Plan:
    """The programs and the addresses at which they will answer."""

    specs: tuple[ProcessSpec, ...]
    addresses: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)


def make_plan(wishes: Wishes, tools: Tools) -> Plan:
    """Decide ports and command lines; writes the ports and credentials of the data folder."""
    data = DataFolder(wishes.data)
    credentials = load_or_draw(data.run / "credentials.json")
    chosen = _claim_ports(data, wishes)
    addresses = _addresses(data, chosen, credentials)
    environment = {**service_environment(data, addresses), **wishes.env}
    specs = [
        *_infrastructure(data, tools, chosen, credentials, wishes.infrastructure),
        *(step_specs(environment) if wishes.services else ()),
        *(
            service_spec(name, {**environment, **wishes.process_env.get(name, {})}, chosen[name])
            for name in wishes.services
        ),
        *_extras(data, tools, chosen, wishes),
    ]
    return Plan(tuple(specs), _only(addresses, wishes), environment)


def _extras(
    data: DataFolder, tools: Tools, chosen: Mapping[str, int], wishes: Wishes
) -> list[ProcessSpec]:
    targets = {name: chosen[name] for name in wishes.services}
    specs = {
        "prometheus": lambda port: prometheus_spec(data, tools.prometheus, port, targets),
    }
    return [specs[name](chosen[name]) for name in wishes.extras]


def service_environment(data: DataFolder, addresses: Mapping[str, str]) -> dict[str, str]:
    """The settings that every program of ours needs to find its surroundings."""
    return {
        "PYTHONUNBUFFERED": "1",
        "DARKROOM_HOME": str(data.root),
        "DARKROOM_KAFKA": addresses["kafka"],
        "DARKROOM_REGISTRY": addresses["registry"],
        "DARKROOM_DATABASE": addresses["database"],
        "DARKROOM_REDIS": addresses["redis"],
        "DARKROOM_OBJECTS": addresses["objects"],
        "DARKROOM_STORES": json.dumps([]),
        "DARKROOM_CACHE": str(data.cache),
        "DARKROOM_SPOOL": str(data.root / "spool"),
        "DARKROOM_IMPORT_ROOTS_FILE": str(data.import_roots_file),
        "DARKROOM_ANONYMOUS": _anonymous(),
    }


def _anonymous() -> str:
    """Who is at this machine needs no key, unless somebody says otherwise, or opens the door to
    others."""
    default = "none" if "DARKROOM_API_HOST" in os.environ else "admin"
    return os.environ.get("DARKROOM_ANONYMOUS", default)


def _claim_ports(data: DataFolder, wishes: Wishes) -> dict[str, int]:
    names: Sequence[str] = (
        *INFRASTRUCTURE,
        "kafka-controller",
        "registry-management",
        *SERVICES,
        *wishes.extras,
    )
    preferred = {"gateway-api": wishes.api_port} if wishes.api_port else {}
    return ports.claim(data.run / "ports.json", names, preferred)


def _addresses(
    data: DataFolder, chosen: Mapping[str, int], credentials: Credentials
) -> dict[str, str]:
    return {
        "kafka": f"127.0.0.1:{chosen['kafka']}",
        "registry": registry_url(chosen["registry"]),
        "database": database_url(chosen["postgres"], credentials.database_password),
        "redis": f"redis://:{credentials.redis_password}@127.0.0.1:{chosen['redis']}/0",
        "objects": data.objects.as_uri(),
        "api": f"http://127.0.0.1:{chosen['gateway-api']}",
        **{name: f"http://127.0.0.1:{chosen[name]}" for name in EXTRAS if name in chosen},
    }


def _only(addresses: Mapping[str, str], wishes: Wishes) -> dict[str, str]:
    """The addresses at which something was asked to answer."""
    owners = {
        "kafka": "kafka",
        "registry": "registry",
        "database": "postgres",
        "redis": "redis",
        "api": "gateway-api",
    }
    asked = {*wishes.infrastructure, *wishes.services}
    return {key: text for key, text in addresses.items() if owners.get(key, "") in {"", *asked}}


def _infrastructure(
    data: DataFolder,
    tools: Tools,
    chosen: Mapping[str, int],
    credentials: Credentials,
    names: Sequence[str],
) -> list[ProcessSpec]:
    kafka = KafkaPlace(
        tools.java,
        tools.kafka_jars,
        tools.kafka_logging,
        chosen["kafka"],
        chosen["kafka-controller"],
    )
    specs: dict[str, tuple[ProcessSpec, ...]] = {
        "kafka": kafka_specs(data, kafka, credentials.cluster_id),
        "redis": (redis_spec(data, tools.redis, chosen["redis"], credentials.redis_password),),
        "postgres": postgres_specs(
            data, tools.postgres, chosen["postgres"], credentials.database_password
        ),
        "registry": (
            registry_spec(
                tools.java,
                tools.registry,
                chosen["kafka"],
                chosen["registry"],
                chosen["registry-management"],
            ),
        ),
    }
    return [spec for name, group in specs.items() if name in names for spec in group]
