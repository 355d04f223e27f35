"""docker-compose.yml: that it is what compose takes, and says what the services understand."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml
from compose_spec import PyCompose
from pydantic_settings import BaseSettings, CliApp

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
from dockerfile import environment, last, stages
from gateway.api.server import _DRAIN_S as API_DRAIN_S
from gateway.command import Command
from streamkit.kafka.consumer import CLOSE_S
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
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name
        if name not in ONCE:
            assert service["restart"] == "unless-stopped"
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


def test_volumes_and_configurations_that_are_named_are_defined_and_used(
    file: Mapping[str, Any], services: Mapping[str, Any]
) -> None:
    """Compose refuses what is not; the parser does not look."""
    volumes = {
        volume.partition(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
        if not volume.startswith(("./", "/"))
    }
    assert volumes == set(file["volumes"])
    configs = {one["source"] for s in services.values() for one in s.get("configs", [])}
    assert configs == set(file["configs"])


def test_what_a_service_keeps_lies_on_volumes_that_are_its_own_to_write(
    services: Mapping[str, Any],
) -> None:
    """A new volume has the owner of the folder that the image has there."""
    for name, image, service in ours(services):
        if name in ONCE:
            continue
        run = stages(ROOT / service["build"]["dockerfile"])[-1]
        environment_ = {**environment(run), **service["environment"]}
        fields = CLASSES[image].model_fields
        kept = [f"DARKROOM_{one.upper()}" for one in ("cache", "models_cache") if one in fields]
        if service.get("command") == ["api"]:
            kept.append("DARKROOM_SPOOL")
        mounted = {volume.split(":")[1]: volume for volume in service["volumes"]}
        (made,) = [one.text for one in run if one.word == "RUN"]
        _, _, folders = made.partition("install -d -o 10001 -g 10001 ")
        for variable in kept:
            assert environment_[variable] in mounted, f"{name}: {variable}"
            assert environment_[variable] in folders.split(), f"{name}: {variable}"
            assert not mounted[environment_[variable]].endswith(":ro")


def seconds(text: str) -> int:
    assert re.fullmatch(r"\d+s", text)
    return int(text[:-1])


def test_work_in_hand_ends_before_a_container_is_killed(services: Mapping[str, Any]) -> None:
    page = (ROOT / "docs/deploy/compose.md").read_text(encoding="utf-8")
    for name, image, service in ours(services):
        if name in ONCE:
            continue
        own: Any = CLASSES[image]()
        # As a worker stops: its core drains, a feed waits 5 s longer, flush and leave take 5 each.
        drain = getattr(own, "drain_s", API_DRAIN_S) + 5 + 5 + CLOSE_S
        assert drain < seconds(service["stop_grace_period"]), name
        assert f"gives work in hand {seconds(service['stop_grace_period'])} s" in page


def compose_lines(page: str) -> list[list[str]]:
    """Words of each `docker compose` command on a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^ *docker compose (.*)$", text, re.M)
    return [shlex.split(line, comments=True) for line in lines]


def test_a_backup_is_made_and_put_back_by_the_image_and_its_user(
    services: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = compose_lines("operations/backup.md")
    done = [line for line in lines if {"backup", "restore"} & set(line)]
    assert len(done) == 2
    for words in done:
        run, *options, volume, name, door, flag, folder = words
        assert (run, options) == ("run", ["--rm", "--no-deps", "--volume"])
        host, _, inside = volume.partition(":")
        service = services[name]
        assert image_of(service) == "gateway"
        assert "ports" not in service
        assert "container_name" not in service
        with monkeypatch.context() as patch:
            for key, value in service["environment"].items():
                patch.setenv(key, str(value))
            said = CliApp.run(Command, cli_args=[door, flag, folder])
        assert (said.door, str(said.folder)) == (door, inside)
        user = last(stages(ROOT / service["build"]["dockerfile"])[-1], "USER")[0].replace(
            ":", " -g "
        )
        page = (ROOT / "docs/operations/backup.md").read_text(encoding="utf-8")
        assert f"install -d -m 700 -o {user} {host}\n" in page


@pytest.mark.parametrize("page", ["operations/backup.md", "deploy/compose.md"])
def test_a_service_that_a_page_starts_is_there(page: str, services: Mapping[str, Any]) -> None:
    for words in compose_lines(page):
        if "up" in words:
            named = {word for word in words[words.index("up") + 1 :] if not word.startswith("-")}
            assert named <= set(services), words


def test_nothing_of_ours_runs_before_a_restore(services: Mapping[str, Any]) -> None:
    """It would fill the registry with ids of its own."""
    started = next(
        line
        for line in compose_lines("operations/backup.md")
        if line[0] == "up" and "kafka" in line
    )
    waiting = {word for word in started[1:] if not word.startswith("-")}
    all_of_them: set[str] = set()
    while waiting:
        all_of_them.add(name := waiting.pop())
        waiting |= set(services[name].get("depends_on", {})) - all_of_them
    assert all(image_of(services[name]) is None for name in all_of_them)
    environment_ = services["migrate"]["environment"]
    for variable in ("KAFKA", "REGISTRY", "DATABASE"):
        host = urlsplit(f"//{environment_[f'DARKROOM_{variable}'].rpartition('//')[2]}").hostname
        assert host in all_of_them
    assert urlsplit(environment_["AWS_ENDPOINT_URL"]).hostname in all_of_them


@pytest.mark.parametrize(
    ("answer", "status", "code", "said"),
    [
        ('{"token": "dk_1"}', 0, 0, "dk_1\n"),
        ('{"error": "There is one of that name."}', 1, 1, ""),
        ("", 1, 1, ""),
        ("no JSON", 0, 1, ""),
    ],
)
def test_a_key_that_was_not_made_is_an_error(
    tmp_path: Path, answer: str, status: int, code: int, said: str
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\nexit {status}\n")
    docker.chmod(0o755)
    done = subprocess.run(
        ("sh", str(ROOT / "deploy/compose/key.sh"), "me"),
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (code, said)
    assert bool(done.stderr) is (code != 0)


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
