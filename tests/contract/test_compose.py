"""docker-compose.yml: that it is what compose takes, and says what the services understand."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from compose_spec import PyCompose
from pydantic_settings import BaseSettings

import aggregator.settings
import detector.settings
import embedder.settings
import gateway.settings
import intake.settings
import ocr.settings
import trainer.settings
from compose import FILE, ROOT, MissingVariableError, composed, kafka_properties, secrets
from darkroom_cli.infra import kafka
from darkroom_cli.infra.services import SERVICES
from dockerfile import last, stages
from streamkit.settings import KafkaSettings

CLASSES: Final[Mapping[str, type[BaseSettings]]] = {
    "gateway": gateway.settings.Settings,
    "intake": intake.settings.Settings,
    "detector": detector.settings.Settings,
    "ocr": ocr.settings.Settings,
    "embedder": embedder.settings.Settings,
    "aggregator": aggregator.settings.Settings,
    "trainer": trainer.settings.Settings,
}
ONCE: Final = {"bucket", "topics", "schemas", "migrate"}
CLI_SETTINGS: Final = {*KafkaSettings.model_fields, "kafka", "registry"}


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    return secrets(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def file(variables: Mapping[str, str]) -> Mapping[str, Any]:
    return composed(variables)


@pytest.fixture(scope="module")
def services(file: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = file["services"]
    return found


def image_of(service: Mapping[str, Any]) -> str | None:
    """Which of our images a service runs."""
    name = str(service["image"]).partition(":")[0]
    return name.removeprefix("darkroom-") if name.startswith("darkroom-") else None


def ours(services: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Service, image and what is said of it, of those that are ours."""
    for name, service in services.items():
        if image := image_of(service):
            yield name, image, service


def test_compose_takes_the_file(file: Mapping[str, Any]) -> None:
    parsed = PyCompose.from_yaml(yaml.safe_dump(dict(file)))
    assert set(parsed.service_names()) == set(file["services"])


def test_every_process_of_the_local_stack_is_a_service(services: Mapping[str, Any]) -> None:
    assert set(SERVICES) <= set(services)
    for name, (module, *arguments) in SERVICES.items():
        assert image_of(services[name]) == module
        assert services[name].get("command", []) == arguments


def test_no_service_starts_without_the_passwords(variables: Mapping[str, str]) -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", FILE.read_text(encoding="utf-8")))
    assert asked == set(variables)
    for name in asked:
        with pytest.raises(MissingVariableError, match="secrets"):
            composed({**variables, name: ""})


def test_drawn_passwords_differ_are_private_and_stay(tmp_path: Path) -> None:
    first = secrets(tmp_path)
    assert len(set(first.values())) == len(first)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert secrets(tmp_path) == first


def test_each_setting_is_one_that_its_service_has_and_takes(
    services: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("DARKROOM_")]:
        monkeypatch.delenv(name)
    for name, image, service in ours(services):
        told = {
            key.removeprefix("DARKROOM_").lower(): value
            for key, value in service["environment"].items()
            if key.startswith("DARKROOM_")
        }
        fields = CLI_SETTINGS if image == "cli" else set(CLASSES[image].model_fields)
        assert set(told) <= fields, name
        with monkeypatch.context() as patch:
            for key, value in told.items():
                patch.setenv(f"DARKROOM_{key.upper()}", str(value))
            made: Any = KafkaSettings() if image == "cli" else CLASSES[image]()
        assert made.kafka_options["security.protocol"] == "sasl_plaintext"


def test_each_image_of_ours_is_built_by_its_dockerfile(services: Mapping[str, Any]) -> None:
    for name, image, service in ours(services):
        dockerfile = ROOT / service["build"]["dockerfile"]
        assert dockerfile.is_file(), name
        assert dockerfile.parent.name == image


def test_what_is_waited_for_says_when_it_is_there(services: Mapping[str, Any]) -> None:
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            waited = services[other]
            if how["condition"] == "service_healthy":
                checked = "healthcheck" in waited or image_of(waited) is not None
                assert checked, f"{name} waits for {other}"
            elif how["condition"] == "service_completed_successfully":
                assert other in ONCE
                assert waited.get("restart", "no") == "no"


def test_ours_stay_healthy_by_the_check_of_their_image(services: Mapping[str, Any]) -> None:
    for name, image, service in ours(services):
        check = last(stages(ROOT / service["build"]["dockerfile"])[-1], "HEALTHCHECK")
        if name not in ONCE:
            assert "/opt/darkroom/healthy.py" in check, image


def test_containers_have_limits_and_may_do_little(services: Mapping[str, Any]) -> None:
    for name, service in services.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name not in ONCE:
            assert service["restart"] == "unless-stopped"
            resources = service["deploy"]["resources"]
            assert set(resources["limits"]) == {"cpus", "memory"}, name
    for name, _, service in ours(services):
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name


def test_what_is_published_is_so_on_the_loopback_and_wants_a_login(
    services: Mapping[str, Any],
) -> None:
    published = {name: s["ports"] for name, s in services.items() if "ports" in s}
    assert set(published) == {"gateway-api", "kafka-ui", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert "DARKROOM_ANONYMOUS" not in services["gateway-api"]["environment"]
    assert services["kafka-ui"]["environment"]["AUTH_TYPE"] == "LOGIN_FORM"
    assert services["grafana"]["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"


def test_the_broker_and_the_registry_are_those_that_tests_run(services: Mapping[str, Any]) -> None:
    pom = (ROOT / "deploy/local/pom.xml").read_text(encoding="utf-8")
    versions = dict(re.findall(r"<(\w+)\.version>([^<]+)</", pom))
    assert services["kafka"]["image"].endswith(f":{versions['kafka']}")
    assert services["registry"]["image"].endswith(f":{versions['apicurio']}")


def test_the_broker_is_set_as_the_local_one(services: Mapping[str, Any]) -> None:
    local = dict(
        line.split("=", 1)
        for line in kafka._SETTINGS.splitlines()
        if line and not line.startswith("#")
    )
    told = kafka_properties(services["kafka"]["environment"])
    places = {
        name for name in local if "listener" in name or "quorum" in name or name == "log.dirs"
    }
    for name in local.keys() - places:
        assert told[name] == local[name], name


def test_files_that_are_mounted_are_there(services: Mapping[str, Any]) -> None:
    mounted = {
        volume.partition(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    }
    assert mounted
    assert [place for place in mounted if not (ROOT / place).exists()] == []


def test_configurations_of_others_can_be_read(file: Mapping[str, Any]) -> None:
    for name in ("prometheus", "alertmanager", "loki", "otel-collector", "jaeger"):
        text = (ROOT / f"deploy/compose/{name}.yml").read_text(encoding="utf-8")
        assert isinstance(yaml.safe_load(text), dict), name
    store = json.loads(file["configs"]["seaweedfs"]["content"])
    (identity,) = store["identities"]
    worker = file["services"]["intake"]["environment"]
    (key,) = identity["credentials"]
    assert key["accessKey"] == worker["AWS_ACCESS_KEY_ID"]
    assert key["secretKey"] == worker["AWS_SECRET_ACCESS_KEY"]


def test_prometheus_asks_every_process_at_its_port(services: Mapping[str, Any]) -> None:
    text = (ROOT / "deploy/compose/prometheus.yml").read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text)["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    (door,) = job["static_configs"]
    assert {*found["names"], door["labels"]["process"]} == set(SERVICES)
    assert found["port"] == 9100
    for name in found["names"]:
        stage = stages(ROOT / services[name]["build"]["dockerfile"])[-1]
        assert "9100" in last(stage, "EXPOSE")
    assert door["targets"] == ["gateway-api:8080"]
    hosts = json.loads(services["gateway-api"]["environment"]["DARKROOM_ALLOWED_HOSTS"])
    assert "gateway-api" in hosts


def test_promtool_takes_the_configuration_and_the_rules(tmp_path: Path) -> None:
    for file in ("compose/prometheus.yml", "prometheus/rules.yml", "prometheus/alerts.yml"):
        shutil.copy(ROOT / "deploy" / file, tmp_path)
    command = ("promtool", "check", "config", str(tmp_path / "prometheus.yml"))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


KAFKA_UI: Final = {
    "NAME",
    "BOOTSTRAPSERVERS",
    "PROPERTIES_SECURITY_PROTOCOL",
    "PROPERTIES_SASL_MECHANISM",
    "PROPERTIES_SASL_JAAS_CONFIG",
    "SCHEMAREGISTRY",
    "DEFAULTVALUESERDE",
    "DEFAULTKEYSERDE",
    "READONLY",
}
"""Of a cluster, as v1.5.0's ClustersProperties has them (Spring's names for variables: without
capitals and hyphens); `properties` go to Kafka's clients."""


def test_the_kafka_ui_asks_broker_and_registry_as_the_services_do(
    services: Mapping[str, Any],
) -> None:
    told = services["kafka-ui"]["environment"]
    cluster = {
        key.removeprefix("KAFKA_CLUSTERS_0_"): value
        for key, value in told.items()
        if key.startswith("KAFKA_CLUSTERS_0_")
    }
    assert set(cluster) == KAFKA_UI
    assert set(told) - {f"KAFKA_CLUSTERS_0_{key}" for key in cluster} == {
        "AUTH_TYPE",
        "SPRING_SECURITY_USER_NAME",
        "SPRING_SECURITY_USER_PASSWORD",
    }
    service = services["ocr"]["environment"]
    assert cluster["BOOTSTRAPSERVERS"] == service["DARKROOM_KAFKA"]
    assert cluster["SCHEMAREGISTRY"] == service["DARKROOM_REGISTRY"]
    assert cluster["DEFAULTVALUESERDE"] == "SchemaRegistry"
    user = f'username="{service["DARKROOM_KAFKA_USER"]}"'
    password = f'password="{service["DARKROOM_KAFKA_PASSWORD"]}"'
    assert user in cluster["PROPERTIES_SASL_JAAS_CONFIG"]
    assert password in cluster["PROPERTIES_SASL_JAAS_CONFIG"]
