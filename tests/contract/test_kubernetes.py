"""The manifests fit Kubernetes, and say of topics, groups, settings and ports what is so."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic_settings import BaseSettings, CliApp

import aggregator.app
import aggregator.settings
import detector.app
import detector.settings
import embedder.app
import embedder.settings
import gateway.recorder.handlers
import gateway.settings
import intake.app
import intake.settings
import ocr.app
import ocr.settings
import trainer.app
import trainer.settings
from darkroom_cli.infra import kafka as local_broker
from darkroom_schemas import catalogue
from gateway.api.guard import LOOPBACK, host_allowed
from gateway.api.server import _DRAIN_S as API_DRAIN_S
from gateway.api.spool import KEPT_FREE, MOST_AT_ONCE
from gateway.command import Command, Door
from kubernetes_manifests import (
    FOLDER,
    OVERLAYS,
    Manifest,
    container,
    faults,
    folders,
    named,
    names,
    objects,
    of_kind,
    secrets,
    selects,
    templates,
    variables,
)
from stagekit.run import job as stage_job
from streamkit.core import RETRY
from streamkit.job import Lane, group_of
from streamkit.kafka.consumer import CLOSE_S, consumer_config

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/deploy/kubernetes.md"
BACKUP_PAGE = ROOT / "docs/operations/backup.md"
RELEASE = version("darkroom-streamkit")
DECLARED = catalogue.load(())
NAME = "app.kubernetes.io/name"

SETTINGS: dict[str, type[BaseSettings]] = {
    "aggregator": aggregator.settings.Settings,
    "detector": detector.settings.Settings,
    "embedder": embedder.settings.Settings,
    "gateway": gateway.settings.Settings,
    "intake": intake.settings.Settings,
    "ocr": ocr.settings.Settings,
    "trainer": trainer.settings.Settings,
}
JOBS: dict[str, tuple[Lane, ...]] = {
    "detector": stage_job(detector.app.DETECTOR, detector.settings.Settings()).lanes,
    "embedder": stage_job(embedder.app.EMBEDDER, embedder.settings.Settings()).lanes,
    "ocr": stage_job(ocr.app.OCR, ocr.settings.Settings()).lanes,
    "intake": intake.app.job(intake.settings.Settings()).lanes,
    "trainer": trainer.app.job(trainer.settings.Settings()).lanes,
    "gateway": (Lane("recorder", tuple(gateway.recorder.handlers.RECORDINGS)),),
}
DOORS = ("gateway-api", "gateway-recorder", "gateway-control")
PROCESSES = (*DOORS, *(service for service in SETTINGS if service != "gateway"))

FOREIGN = {
    ("kafka.strimzi.io/v1", "Kafka"),
    ("kafka.strimzi.io/v1", "KafkaNodePool"),
    ("kafka.strimzi.io/v1", "KafkaTopic"),
    ("kafka.strimzi.io/v1", "KafkaUser"),
    ("postgresql.cnpg.io/v1", "Cluster"),
    ("postgresql.cnpg.io/v1", "ScheduledBackup"),
    ("barmancloud.cnpg.io/v1", "ObjectStore"),
    ("keda.sh/v1alpha1", "ScaledObject"),
    ("keda.sh/v1alpha1", "TriggerAuthentication"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
}
"""Kinds of operators, whose schemas no package has; see docs/deploy/kubernetes.md."""

INSTALLERS_SECRETS = {"objects", "valkey"}
"""What docs/deploy/kubernetes.md has people make."""


def service_of(process: str) -> str:
    return process.partition("-")[0]


def settings_of(overlay: str, process: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the process would have read, in its container and nowhere else."""
    env = variables(overlay, templates(overlay)[process])
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return SETTINGS[service_of(process)](_env_file=None)


# -- as files -------------------------------------------------------------------------------------


def test_the_files_are_what_the_generator_writes() -> None:
    done = subprocess.run(
        (sys.executable, str(FOLDER / "generate.py"), "--check"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


def kustomized(folder: Path) -> list[Manifest]:
    command = ("kubectl", "kustomize", str(folder))
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [*yaml.load_all(text, Loader=yaml.CSafeLoader)]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_gives_the_same_objects(overlay: str) -> None:
    rendered = [one for folder in folders(overlay) for one in kustomized(folder)]

    def in_order(manifests: Iterable[Manifest]) -> list[str]:
        return sorted(json.dumps(one, sort_keys=True) for one in manifests)

    assert in_order(rendered) == in_order(objects(overlay))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_fits_the_schema_of_its_kind(overlay: str) -> None:
    wrong = {
        f"{one['kind']} {one['metadata']['name']}": found
        for one in objects(overlay)
        if (found := faults(one))
    }
    assert wrong == {}
    unknown = {(one["apiVersion"], one["kind"]) for one in objects(overlay) if faults(one) is None}
    assert unknown <= FOREIGN


def test_a_field_that_a_kind_does_not_know_is_found() -> None:
    broken = deepcopy(named("small", "Deployment", "ocr"))
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    assert faults(broken)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_two_objects_have_the_same_name(overlay: str) -> None:
    keys = [(one["kind"], one["metadata"]["name"]) for one in objects(overlay)]
    assert len(keys) == len(set(keys))


# -- validate.py ----------------------------------------------------------------------------------

VALIDATE = runpy.run_path(str(FOLDER / "validate.py"))
DEFINITION = {
    "kind": "CustomResourceDefinition",
    "spec": {
        "group": "example.com",
        "names": {"kind": "Thing"},
        "versions": [
            {
                "name": "v1",
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1},
                                    "port": {"x-kubernetes-int-or-string": True},
                                    "free": {
                                        "type": "object",
                                        "properties": {"a": {"type": "string"}},
                                        "x-kubernetes-preserve-unknown-fields": True,
                                    },
                                },
                            }
                        },
                    }
                },
            }
        ],
    },
}


@pytest.mark.parametrize(
    ("spec", "well"),
    [
        ({"size": 1, "port": "http", "free": {"b": 1}}, True),
        ({"size": 1, "port": 80}, True),
        ({"size": 0}, False),
        ({"port": 80}, False),
        ({"size": 1, "seize": 1}, False),
        ({"size": 1, "port": 1.5}, False),
        ({"size": 1, "free": {"a": 1}}, False),
    ],
)
def test_an_object_is_checked_by_its_definition(spec: Mapping[str, Any], well: bool) -> None:
    thing = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "one"},
        "spec": spec,
    }
    assert (VALIDATE["problems"](thing, VALIDATE["schemas"]([DEFINITION])) == []) is well


def test_a_kind_without_a_definition_is_told_apart() -> None:
    other = {"apiVersion": "example.com/v2", "kind": "Thing", "metadata": {"name": "one"}}
    assert VALIDATE["problems"](other, VALIDATE["schemas"]([DEFINITION])) is None


# -- Kafka ----------------------------------------------------------------------------------------


def test_the_topics_are_the_declared_ones() -> None:
    made = {one["metadata"]["name"]: one["spec"] for one in of_kind("small", "KafkaTopic")}
    registrys = {name for name in made if name.startswith(("kafkasql-", "registry-"))}
    assert {name: spec for name, spec in made.items() if name not in registrys} == {
        topic.name: {"partitions": topic.partitions, "config": topic.config()} for topic in DECLARED
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_brokers_let_go_of_killed_workers_as_the_local_one_does(overlay: str) -> None:
    pairs = re.findall(
        r"^(group\.\S+(?:timeout|interval)\.ms)=(\d+)$", local_broker._SETTINGS, re.M
    )
    local = dict(pairs)
    assert len(local) == 5
    config = named(overlay, "Kafka", "darkroom")["spec"]["kafka"]["config"]
    assert {key: str(config[key]) for key in local} == local
    assert config["auto.create.topics.enable"] is False


def test_production_keeps_records_on_two_of_three_brokers() -> None:
    kafka = named("production", "Kafka", "darkroom")["spec"]["kafka"]
    nodes = {
        role: pool["spec"]["replicas"]
        for pool in of_kind("production", "KafkaNodePool")
        for role in pool["spec"]["roles"]
    }
    config = kafka["config"]
    assert nodes == {"broker": 3, "controller": 3}
    assert (config["default.replication.factor"], config["min.insync.replicas"]) == (3, 2)
    assert all("replicas" not in one["spec"] for one in of_kind("production", "KafkaTopic"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_offsets_outlive_the_requests(overlay: str) -> None:
    config = named(overlay, "Kafka", "darkroom")["spec"]["kafka"]["config"]
    read = [t for t in DECLARED if t.retention_ms and t.consumers]
    longest = max(topic.retention_ms or 0 for topic in read)
    assert config["offsets.retention.minutes"] * 60_000 >= longest


def allowed(user: str, operation: str, kind: str, name: str) -> bool:
    """Whether a Kafka user's rights allow that."""
    for one in named("production", "KafkaUser", user)["spec"]["authorization"]["acls"]:
        resource = one["resource"]
        prefix = resource["patternType"] == "prefix"
        fits = resource["name"] in ("*", name) or (prefix and name.startswith(resource["name"]))
        if resource["type"] == kind and fits and operation in one["operations"]:
            return True
    return False


@pytest.mark.parametrize("user", SETTINGS)
def test_a_service_may_do_with_topics_what_is_declared_and_no_more(user: str) -> None:
    letters = {topic.name for topic in DECLARED if topic.name.endswith(".dlq")}
    of_all = letters if user == "gateway" else set()  # whose control door settles them
    for topic in DECLARED:
        reads = user in topic.consumers
        writes = user in topic.producers or topic.name in of_all
        assert allowed(user, "Read", "topic", topic.name) is reads, topic.name
        assert allowed(user, "Write", "topic", topic.name) is writes, topic.name
        if reads or writes:
            assert allowed(user, "Describe", "topic", topic.name), topic.name


def groups_of(service: str) -> set[str]:
    """By the code."""
    if service == "aggregator":
        return {aggregator.app.APPLICATION}
    return {group_of(service, lane) for lane in (*(one.name for one in JOBS[service]), RETRY)}


@pytest.mark.parametrize("user", SETTINGS)
def test_a_service_joins_its_own_groups_alone(user: str) -> None:
    every = {group for service in SETTINGS for group in groups_of(service)}
    assert {group for group in every if allowed(user, "Read", "group", group)} == groups_of(user)
    assert allowed(user, "Describe", "group", "streamkit-control")  # of a reader outside of groups


def test_people_may_replay_and_look_but_not_write_events() -> None:
    for topic in DECLARED:
        failures = topic.name.endswith(".dlq") or ".retry-" in topic.name
        assert allowed("tools", "Write", "topic", topic.name) is failures
        assert allowed("tools", "Read", "topic", topic.name)


# -- KEDA -----------------------------------------------------------------------------------------

SCALED = {one["metadata"]["name"]: one["spec"] for one in of_kind("production", "ScaledObject")}
TRIGGERS = {
    service: [one for one in spec["triggers"] if one["type"] == "kafka"]
    for service, spec in SCALED.items()
}
BY_LAG = sorted(service for service, triggers in TRIGGERS.items() if triggers)


def test_every_stage_is_scaled_by_lag() -> None:
    assert BY_LAG == ["detector", "embedder", "intake", "ocr", "trainer"]


@pytest.mark.parametrize("service", BY_LAG)
def test_keda_looks_at_the_groups_and_topics_that_a_service_works_on(service: str) -> None:
    looked_at = {
        (one["metadata"]["consumerGroup"], one["metadata"]["topic"]) for one in TRIGGERS[service]
    }
    worked_on = {
        (group_of(service, lane.name), topic) for lane in JOBS[service] for topic in lane.topics
    }
    assert looked_at == worked_on
    for group, topic in looked_at:
        assert allowed("keda", "Describe", "group", group)
        assert allowed("keda", "Describe", "topic", topic)


@pytest.mark.parametrize("service", BY_LAG)
def test_keda_takes_missing_offsets_as_the_workers_do(service: str) -> None:
    reset = consumer_config("kafka:9092", "group", "consumer")["auto.offset.reset"]
    policies = {one["metadata"]["offsetResetPolicy"] for one in TRIGGERS[service]}
    assert policies == {reset}


@pytest.mark.parametrize("service", BY_LAG)
def test_no_worker_is_started_that_would_have_no_partition(service: str) -> None:
    spec = SCALED[service]
    partitions = {DECLARED[one["metadata"]["topic"]].partitions for one in TRIGGERS[service]}
    assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"] <= min(partitions)
    for one in TRIGGERS[service]:
        assert one["metadata"]["allowIdleConsumers"] == "false"
        assert one["metadata"]["limitToPartitionsWithLag"] == "true"


def test_there_is_work_for_all_workers_before_a_lane_is_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    control = settings_of("production", "gateway-control", monkeypatch)
    on_its_way = min(control.lag_warn, control.import_in_flight, control.reembed_in_flight)
    for service in ("detector", "embedder", "intake", "ocr"):
        most = SCALED[service]["maxReplicaCount"]
        for one in TRIGGERS[service]:
            assert int(one["metadata"]["lagThreshold"]) * most <= on_its_way


def test_only_a_training_counts_though_it_stands_still() -> None:
    still = {
        service: {one["metadata"]["excludePersistentLag"] for one in triggers}
        for service, triggers in TRIGGERS.items()
        if triggers
    }
    assert still.pop("trainer") == {"false"}
    assert set.union(*still.values()) == {"true"}
    assert all(one["useCachedMetrics"] for some in TRIGGERS.values() for one in some)


@pytest.mark.parametrize("service", BY_LAG)
def test_keda_comes_in_as_kafka_wants_it(service: str) -> None:
    env = variables("production", templates("production")[service])
    for one in TRIGGERS[service]:
        metadata = one["metadata"]
        assert metadata["bootstrapServers"] == env["DARKROOM_KAFKA"]
        way = named("production", "TriggerAuthentication", one["authenticationRef"]["name"])
        given = {
            ref["parameter"]: ref
            for refs in ("secretTargetRef", "configMapTargetRef")
            for ref in way["spec"][refs]
        }
        assert (metadata["sasl"], metadata["tls"]) == ("scram_sha512", "enable")
        assert given["password"]["name"] == "kafka-keda"
        said = named("production", "ConfigMap", given["username"]["name"])["data"]
        assert said[given["username"]["key"]] in names("production", "KafkaUser")


def test_what_is_scaled_names_no_number_of_its_own() -> None:
    for one in of_kind("production", "Deployment"):
        assert ("replicas" in one["spec"]) is (one["metadata"]["name"] not in SCALED)
    assert set(SCALED) <= names("production", "Deployment")


# -- the processes --------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_process_runs(overlay: str) -> None:
    assert set(PROCESSES) <= set(templates(overlay))


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("process", PROCESSES)
def test_the_environment_is_made_of_settings_that_the_service_takes(
    overlay: str, process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = templates(overlay)[process]
    env = variables(overlay, template)
    ours = {name for name in env if name.startswith("DARKROOM_")}
    known = {f"DARKROOM_{name.upper()}" for name in SETTINGS[service_of(process)].model_fields}
    shared = set(named(overlay, "ConfigMap", "darkroom-settings")["data"])
    assert ours <= known
    assert shared - {"OTEL_EXPORTER_OTLP_ENDPOINT"} <= ours
    assert not env["OTEL_EXPORTER_OTLP_ENDPOINT"], "nobody is there to take traces"

    settings = settings_of(overlay, process, monkeypatch)
    program = container(template)
    ports = {one["name"]: one["containerPort"] for one in program["ports"]}
    assert ports == (
        {"http": settings.api_port}
        if process == "gateway-api"
        else {"health": settings.health_port}
    )
    assert settings.kafka_user == service_of(process)
    assert settings.kafka_options["security.protocol"] == "sasl_ssl"
    assert f"kafka-{settings.kafka_user}" in secrets(template)
    mounted = {one["mountPath"]: one for one in program["volumeMounts"]}
    assert str(settings.kafka_ca.parent) in mounted
    for folder in ("cache", "spool", "models_cache"):
        if hasattr(settings, folder) and (folder != "spool" or process == "gateway-api"):
            (place,) = [one for one in mounted if getattr(settings, folder).is_relative_to(one)]
            assert "readOnly" not in mounted[place]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_is_asked_where_it_answers(overlay: str, process: str) -> None:
    program = container(templates(overlay)[process])
    (port,) = program["ports"]
    asked = {
        probe: program[probe]["httpGet"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert asked == {
        "startupProbe": {"path": "/livez", "port": port["name"]},
        "livenessProbe": {"path": "/livez", "port": port["name"]},
        "readinessProbe": {"path": "/readyz", "port": port["name"]},
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_api_door_answers_to_the_names_it_is_called_by(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(overlay, "gateway-api", monkeypatch)
    called = ["10.1.2.3:8080", "gateway-api.darkroom.svc:8080"]
    called += [rule["host"] for one in of_kind(overlay, "Ingress") for rule in one["spec"]["rules"]]
    for host in called:
        assert host_allowed(host, (*LOOPBACK, *settings.allowed_hosts))


def quantity(text: str) -> float:
    """Of bytes or cores, as Kubernetes writes it."""
    units = {"m": 1e-3, "Mi": 2**20, "Gi": 2**30}
    number, unit = re.fullmatch(r"([\d.]+)(\D*)", text).groups()  # type: ignore[union-attr]
    return float(number) * units.get(unit, 1)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_is_room_for_the_uploads_that_are_let_in(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(overlay, "gateway-api", monkeypatch)
    template = templates(overlay)["gateway-api"]
    (mount,) = [
        one
        for one in container(template)["volumeMounts"]
        if settings.spool.is_relative_to(one["mountPath"])
    ]
    (volume,) = [one for one in template["spec"]["volumes"] if one["name"] == mount["name"]]
    # Not an emptyDir: the door would see the disk of the node, and be evicted at its limit.
    claim = volume["ephemeral"]["volumeClaimTemplate"]["spec"]
    room = quantity(claim["resources"]["requests"]["storage"]) * 0.95  # what file systems keep
    largest = max(settings.archive_max_bytes, settings.model_file_max_bytes)
    at_once = MOST_AT_ONCE if overlay == "production" else 1
    assert at_once * largest + KEPT_FREE <= room
    for ingress in of_kind(overlay, "Ingress"):
        let_in = ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]
        assert largest <= quantity(f"{let_in[:-1]}Gi") < 1.1 * largest


def test_the_page_says_what_a_trial_asks_for() -> None:
    asked = [
        (one["spec"]["replicas"], container(one["spec"]["template"])["resources"]["requests"])
        for one in of_kind("small", "Deployment", "StatefulSet")
        if one["metadata"]["name"] != "tools"
    ]
    asked += [
        (pool["spec"]["replicas"], pool["spec"]["resources"]["requests"])
        for pool in of_kind("small", "KafkaNodePool")
    ]
    (kafka,) = of_kind("small", "Kafka")
    operators = kafka["spec"]["entityOperator"].values()
    asked += [(1, one["resources"]["requests"]) for one in operators]
    (catalog,) = of_kind("small", "Cluster")
    asked.append((catalog["spec"]["instances"], catalog["spec"]["resources"]["requests"]))
    cores = sum(number * quantity(one["cpu"]) for number, one in asked)
    memory = sum(number * quantity(one["memory"]) for number, one in asked) / 2**30
    assert f"{cores:.2f} cores and {memory:.1f} GiB" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("process", PROCESSES)
def test_work_in_hand_ends_before_a_pod_is_killed(
    overlay: str, process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = templates(overlay)[process]
    settings = settings_of(overlay, process, monkeypatch)
    stop = container(template).get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})
    # As a worker stops: its core drains, a feed waits 5 s longer, flush and leave take 5 s each.
    drain = getattr(settings, "drain_s", API_DRAIN_S) + 5 + 5 + CLOSE_S
    assert stop["sleep"]["seconds"] + drain < template["spec"]["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_workers_go_one_by_one_and_doors_come_before_others_go(overlay: str) -> None:
    """A worker beyond the partitions is not told that it has none, and would never be ready."""
    for one in of_kind(overlay, "Deployment"):
        if one["metadata"]["name"] == "tools":
            continue
        steps = one["spec"]["strategy"]["rollingUpdate"]
        worker = one["metadata"]["name"] in (*BY_LAG, "gateway-recorder")
        assert steps == (
            {"maxSurge": 0, "maxUnavailable": 1} if worker else {"maxSurge": 1, "maxUnavailable": 0}
        )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_aggregator_keeps_its_name(overlay: str) -> None:
    (mine,) = [
        one for one in of_kind(overlay, "StatefulSet") if one["metadata"]["name"] == "aggregator"
    ]
    env = container(mine["spec"]["template"])["env"]
    (instance,) = [one for one in env if one["name"] == "DARKROOM_AGGREGATOR_INSTANCE"]
    assert instance["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert mine["spec"]["replicas"] <= DECLARED["photo.embedded.v1"].partitions


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_image_of_ours_has_a_recipe_and_its_arguments_fit(overlay: str) -> None:
    for name, template in templates(overlay).items():
        program = container(template)
        image = program["image"].rpartition("/")[2]
        if not image.startswith("darkroom-"):
            continue
        folder = image.removeprefix("darkroom-").partition(":")[0]
        files = [ROOT / parent / folder / "Dockerfile" for parent in ("services", "libs")]
        assert any(file.is_file() for file in files), name
        if folder == "gateway":
            door, *options = program["args"]
            assert door in get_args(Door)
            assert {one for one in options if one.startswith("--")} <= {"--folder"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_restricted(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    accounts = {one["metadata"]["name"]: one for one in of_kind(overlay, "ServiceAccount")}
    for name, template in templates(overlay).items():
        spec, program = template["spec"], container(template)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert program["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert spec["automountServiceAccountToken"] is False
        assert accounts[spec["serviceAccountName"]]["automountServiceAccountToken"] is False
        assert set(program["resources"]["requests"]) == {"cpu", "memory"}, name
        assert "memory" in program["resources"]["limits"], name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_secret_is_made_by_somebody(overlay: str) -> None:
    made = {f"kafka-{user}" for user in names(overlay, "KafkaUser")} | INSTALLERS_SECRETS
    made |= {f"{one}-cluster-ca-cert" for one in names(overlay, "Kafka")}
    made |= {f"{one}-{key}" for one in names(overlay, "Cluster") for key in ("app", "ca")}
    asked = set.union(*(secrets(template) for template in templates(overlay).values()))
    assert asked <= made
    page = (ROOT / "docs/deploy/kubernetes.md").read_text(encoding="utf-8")
    assert all(f"generic {name} " in page for name in INSTALLERS_SECRETS)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_job_goes_so_that_it_can_be_applied_again(overlay: str) -> None:
    jobs = of_kind(overlay, "Job")
    assert {one["metadata"]["name"].partition("-")[0] for one in jobs} == {"migrate", "schemas"}
    assert all(one["spec"]["ttlSecondsAfterFinished"] > 0 for one in jobs)


# -- backup, tools --------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_backup_is_made_and_put_back_on_one_disk_as_the_gateway(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = set()
    for door, suspended in (("backup", False), ("restore", True)):
        spec = named(overlay, "CronJob", door)["spec"]
        assert spec["suspend"] is suspended
        assert spec["concurrencyPolicy"] == "Forbid"
        template = templates(overlay)[door]
        for name, value in variables(overlay, template).items():
            monkeypatch.setenv(name, value)
        said = CliApp.run(Command, cli_args=container(template)["args"])
        assert said.door == door
        assert said.kafka_user == "gateway"  # whose rights of all groups a restore needs
        assert said.folder is not None
        (mount,) = [
            one
            for one in container(template)["volumeMounts"]
            if said.folder.is_relative_to(one["mountPath"])
        ]
        assert "readOnly" not in mount
        # Not the disk's own folder, in which there may be a lost+found.
        assert str(said.folder) != mount["mountPath"]
        (disk,) = [one for one in template["spec"]["volumes"] if one["name"] == mount["name"]]
        assert disk["persistentVolumeClaim"]["claimName"] in names(overlay, "PersistentVolumeClaim")
        places.add(said.folder)
    assert len(places) == 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_applied_before_a_restore_begins_no_work(overlay: str) -> None:
    component = "app.kubernetes.io/component"
    later = {
        one["metadata"]["name"].removesuffix(f"-{RELEASE}")
        for one in objects(overlay)
        if one["metadata"].get("labels", {}).get(component) == "service"
    }
    assert later == {*PROCESSES, "migrate", "schemas"}
    assert f"{component}!=service" in BACKUP_PAGE.read_text(encoding="utf-8")


def test_the_pod_of_tools_comes_in_as_people_do() -> None:
    template = templates("production")["tools"]
    assert "kafka-tools" in secrets(template)
    env = variables("production", template)
    assert env["DARKROOM_KAFKA_USER"] in names("production", "KafkaUser")
    assert {name for name in env if name.startswith("DARKROOM_")} <= {
        *named("production", "ConfigMap", "darkroom-settings")["data"],
        "DARKROOM_KAFKA_USER",
        "DARKROOM_KAFKA_PASSWORD",
    }


# -- the page -------------------------------------------------------------------------------------


def overlay_of_the_page(folder: Path, overlay: str) -> list[Manifest]:
    """What Kustomize makes of all that docs/deploy/kubernetes.md has people write."""
    blocks = re.findall(r"^ *```yaml\n(.*?)^ *```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    whole, *further = [yaml.safe_load(dedent(block)) for block in blocks]
    assert further
    for part in further:
        assert set(part) <= {"patches", "resources"}
        for key, some in part.items():
            whole[key] += some
    (ours, *extras) = whole["resources"]
    assert ours == "../darkroom/deploy/kubernetes/overlays/production"
    whole["resources"] = [ours.replace("production", overlay), *extras]
    shutil.copytree(FOLDER, folder / "darkroom/deploy/kubernetes")
    here = folder / "darkroom-here"
    here.mkdir()
    (here / "kustomization.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    return kustomized(here)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_overlay_of_the_page_is_one_house(tmp_path: Path, overlay: str) -> None:
    made = overlay_of_the_page(tmp_path, overlay)

    def some(*kinds: str, name: str = "") -> list[Manifest]:
        return [one for one in made if one["kind"] in kinds and name in one["metadata"]["name"]]

    assert {
        f"{one['kind']} {one['metadata']['name']}": bad for one in made if (bad := faults(one))
    } == {}
    (door,) = some("ConfigMap", name="gateway-api")
    host = door["data"]["PUBLIC_HOST"]
    assert "example.com" not in host
    for ingress in some("Ingress"):
        assert [rule["host"] for rule in ingress["spec"]["rules"]] == [host]
        assert [each["hosts"] for each in ingress["spec"]["tls"]] == [[host]]
    watched = some("PodMonitor", "PrometheusRule")
    assert watched
    assert all("release" in one["metadata"]["labels"] for one in watched)
    # Objects inside the cluster: everybody goes to one place, by http, and is let out.
    (place,) = some("ConfigMap", name="darkroom-objects")
    endpoint = urlsplit(place["data"]["AWS_ENDPOINT_URL"])
    assert (endpoint.scheme, place["data"]["AWS_ALLOW_HTTP"]) == ("http", "true")
    (outside,) = some("NetworkPolicy", name="to-outside")
    ports = [door["port"] for rule in outside["spec"]["egress"] for door in rule["ports"]]
    assert endpoint.port in ports
    for store in some("ObjectStore"):
        assert store["spec"]["configuration"]["endpointURL"] == endpoint.geturl()


# -- who finds whom -------------------------------------------------------------------------------


def labels_of(overlay: str) -> dict[str, Mapping[str, str]]:
    """Labels of our pods, and of those that operators make, as far as they are selected by."""
    ours = {name: one["metadata"]["labels"] for name, one in templates(overlay).items()}
    return {
        **ours,
        "kafka": {"strimzi.io/cluster": "darkroom", "strimzi.io/kind": "Kafka"},
        "catalog": {"cnpg.io/cluster": "catalog"},
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("NetworkPolicy", "podSelector"),
        ("PodDisruptionBudget", "selector"),
        ("PodMonitor", "selector"),
    ],
)
def test_a_selector_finds_pods(overlay: str, kind: str, key: str) -> None:
    for one in of_kind(overlay, kind):
        found = [name for name, of in labels_of(overlay).items() if selects(one["spec"][key], of)]
        assert found, one["metadata"]["name"]
        if kind == "PodDisruptionBudget":
            assert found == [one["metadata"]["name"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_workload_finds_its_own_pods_and_spreads_them(overlay: str) -> None:
    for one in of_kind(overlay, "Deployment", "StatefulSet"):
        template = one["spec"]["template"]
        own = template["metadata"]["labels"]
        assert selects(one["spec"]["selector"], own)
        spreads = template["spec"]["topologySpreadConstraints"]
        assert spreads
        assert all(selects(spread["labelSelector"], own) for spread in spreads)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_service_finds_an_open_port(overlay: str) -> None:
    for one in of_kind(overlay, "Service"):
        selector = {"matchLabels": one["spec"]["selector"]}
        (template,) = [
            of for of in templates(overlay).values() if selects(selector, of["metadata"]["labels"])
        ]
        open_ports = {port["name"] for port in container(template)["ports"]}
        assert {port["targetPort"] for port in one["spec"]["ports"]} <= open_ports


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_prometheus_finds_every_process_once(overlay: str) -> None:
    for name in PROCESSES:
        template = templates(overlay)[name]
        (monitor,) = [
            one["spec"]
            for one in of_kind(overlay, "PodMonitor")
            if selects(one["spec"]["selector"], template["metadata"]["labels"])
        ]
        (endpoint,) = monitor["podMetricsEndpoints"]
        assert [endpoint["port"]] == [port["name"] for port in container(template)["ports"]]


def test_grafana_is_given_every_dashboard() -> None:
    files = (ROOT / "deploy/grafana/dashboards").glob("*.json")
    given = [
        text
        for one in of_kind("small", "ConfigMap")
        if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
        for text in one["data"].values()
    ]
    assert sorted(given) == sorted(file.read_text(encoding="utf-8") for file in files)
    assert all(len(text) < 1_000_000 for text in given), "a ConfigMap has a MiB at most"


def test_alerts_of_volumes_are_about_the_namespace_that_has_them() -> None:
    rule = named("small", "PrometheusRule", "darkroom-kubernetes")
    exprs = [one["expr"] for group in rule["spec"]["groups"] for one in group["rules"]]
    namespaces = [set(re.findall(r'namespace="([^"]*)"', expr)) for expr in exprs]
    assert namespaces == [{rule["metadata"]["namespace"]}] * 2


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_prometheus_calls_processes_as_its_own_configuration_does(overlay: str) -> None:
    file = ROOT / "deploy/prometheus/prometheus.yml"
    (job,) = yaml.safe_load(file.read_text(encoding="utf-8"))["scrape_configs"]
    for one in of_kind(overlay, "PodMonitor"):
        (endpoint,) = one["spec"]["podMetricsEndpoints"]
        assert endpoint["honorLabels"] is job["honor_labels"]
        assert one["spec"]["sampleLimit"] == job["sample_limit"]
        assert [rule["targetLabel"] for rule in endpoint["relabelings"]] == ["process"]


def way_out(overlay: str, source: str, target: str, port: int) -> bool:
    """Whether a pod may open a connection, by the policies for it."""
    labels = labels_of(overlay)
    return any(
        port in {door["port"] for door in rule["ports"]}
        and any(
            "podSelector" in peer and selects(peer["podSelector"], labels[target])
            for peer in rule["to"]
        )
        for one in of_kind(overlay, "NetworkPolicy")
        if selects(one["spec"]["podSelector"], labels[source])
        for rule in one["spec"].get("egress", [])
    )


def way_in(overlay: str, source: str, target: str, port: int) -> bool:
    """Whether a pod is let in, by the policies for the other one."""
    labels = labels_of(overlay)
    return any(
        port in {door["port"] for door in rule["ports"]}
        and any(
            "podSelector" in peer and selects(peer["podSelector"], labels[source])
            for peer in rule["from"]
        )
        for one in of_kind(overlay, "NetworkPolicy")
        if selects(one["spec"]["podSelector"], labels[target])
        for rule in one["spec"].get("ingress", [])
    )


ADDRESSES = {
    "DARKROOM_REGISTRY": "registry",
    "DARKROOM_DATABASE": "catalog",
    "DARKROOM_REDIS": "valkey",
}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_reaches_what_its_settings_name_and_nothing_else(overlay: str) -> None:
    for name, template in templates(overlay).items():
        env = variables(overlay, template)
        for variable, target in ADDRESSES.items():
            places = re.findall(r":(\d+)/", env.get(variable, ""))
            if places:
                port = int(places[0])
                assert way_out(overlay, name, target, port), (name, target)
                assert way_in(overlay, name, target, port), (name, target)
            elif name != target:
                known = {"registry": 8080, "catalog": 5432, "valkey": 6379}[target]
                assert not way_out(overlay, name, target, known), (name, target)
                assert not way_in(overlay, name, target, known), (name, target)
        kafka = env.get("DARKROOM_KAFKA") or env.get("APICURIO_KAFKASQL_BOOTSTRAP_SERVERS")
        assert way_out(overlay, name, "kafka", 9093) is (kafka is not None)
        assert kafka in (None, "darkroom-kafka-bootstrap.darkroom.svc:9093")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_else_is_refused(overlay: str) -> None:
    refusing = named(overlay, "NetworkPolicy", "default-deny")["spec"]
    assert set(refusing) == {"podSelector", "policyTypes"}
    assert set(refusing["policyTypes"]) == {"Ingress", "Egress"}
    ours = templates(overlay).values()
    assert all(selects(refusing["podSelector"], one["metadata"]["labels"]) for one in ours)
    (listener,) = named(overlay, "Kafka", "darkroom")["spec"]["kafka"]["listeners"]
    peers = [
        peer["podSelector"] for peer in listener["networkPolicyPeers"] if "podSelector" in peer
    ]
    assert all(any(selects(p, one["metadata"]["labels"]) for p in peers) for one in ours)
