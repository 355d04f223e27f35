"""Ports, credentials, plans and addresses of the local stack, without starting it."""

import json
import socket
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from darkroom_cli.app import build
from darkroom_cli.errors import StackError
from darkroom_cli.infra import ports
from darkroom_cli.infra.credentials import load_or_draw
from darkroom_cli.infra.kafka import formatted_cluster_id
from darkroom_cli.infra.postgres import walking_capability
from darkroom_cli.infra.services import INFRASTRUCTURE, SERVICES, Share, share_of
from darkroom_cli.paths import DataFolder, repository_root
from darkroom_cli.plan import Plan, Wishes, make_plan
from darkroom_cli.provision import Tools
from darkroom_cli.stack import Stack
from darkroom_cli.supervision.state import StackPhase, StackState, read_state, write_state


def plan_for(folder: Path, **wishes: object) -> Plan:
    data = DataFolder(folder)
    data.create()
    anywhere = Path("/nowhere")
    tools = Tools(anywhere, anywhere, anywhere, anywhere, "redis-server", anywhere)
    return make_plan(Wishes(data=folder, **wishes), tools)


def environment_of(plan: Plan, name: str) -> dict[str, str]:
    return next(dict(spec.env) for spec in plan.specs if spec.name == name)


def test_ports_stay_the_same_while_they_are_free(tmp_path: Path) -> None:
    first = ports.claim(tmp_path / "ports.json", ["a", "b"], {})
    assert len(set(first.values())) == 2
    assert ports.claim(tmp_path / "ports.json", ["a", "b"], {}) == first


def test_a_port_that_somebody_took_is_replaced(tmp_path: Path) -> None:
    first = ports.claim(tmp_path / "ports.json", ["a", "b"], {})
    with socket.create_server(("127.0.0.1", first["a"])):
        second = ports.claim(tmp_path / "ports.json", ["a", "b"], {"a": first["a"]})
    assert second["a"] != first["a"]
    assert second["b"] == first["b"]


def test_a_preferred_port_is_taken_when_it_is_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        wanted = server.getsockname()[1]
    assert ports.claim(tmp_path / "ports.json", ["api"], {"api": wanted}) == {"api": wanted}


def test_credentials_are_drawn_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    drawn = load_or_draw(file)
    assert load_or_draw(file) == drawn
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(drawn.cluster_id) == 22


def test_the_state_file_holds_passwords_so_only_its_owner_reads_it(tmp_path: Path) -> None:
    state = StackState(
        phase=StackPhase.READY, supervisor_pid=1, supervisor_birth="1", started_at=0.0
    )
    write_state(tmp_path / "state.json", state)
    assert read_state(tmp_path / "state.json") == state
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600
    (tmp_path / "state.json").write_text("{")
    assert read_state(tmp_path / "state.json") is None


def test_a_whole_stack_has_every_process_and_starts_services_after_the_steps(
    tmp_path: Path,
) -> None:
    specs = {spec.name: spec for spec in plan_for(tmp_path).specs}
    steps = {"kafka-format", "postgres-init", "topics", "schemas", "migrate"}
    assert set(specs) == {*INFRASTRUCTURE, *SERVICES, *steps}
    for name in SERVICES:
        assert {*INFRASTRUCTURE, "topics", "schemas", "migrate"} <= set(specs[name].after)


def test_prometheus_runs_with_our_rules_where_it_is_asked_for_and_looks_at_every_process(
    tmp_path: Path,
) -> None:
    plan = plan_for(tmp_path, extras=("prometheus",))
    specs = {spec.name: spec for spec in plan.specs}
    prometheus = specs["prometheus"]
    assert plan.addresses["prometheus"] == f"http://127.0.0.1:{prometheus.port}"
    assert prometheus.prepare is not None
    prometheus.prepare()
    groups = json.loads((tmp_path / "prometheus/targets/local.json").read_text())
    looked_at = {one["labels"]["process"]: one["targets"] for one in groups}
    assert looked_at == {name: [f"127.0.0.1:{specs[name].port}"] for name in SERVICES}
    for name in ("prometheus.yml", "rules.yml", "alerts.yml"):
        ours = repository_root() / "deploy/prometheus" / name
        assert (tmp_path / "prometheus" / name).read_text() == ours.read_text()


def test_without_being_asked_for_it_has_neither_a_port_nor_an_address(tmp_path: Path) -> None:
    assert "prometheus" not in plan_for(tmp_path).addresses
    assert "prometheus" not in json.loads((tmp_path / "run/ports.json").read_text())


def test_what_nobody_knows_is_not_asked_for(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"No such process: graphite\."):
        Stack(tmp_path, extras=("graphite",))


def test_what_is_prepared_already_is_not_prepared_again(tmp_path: Path) -> None:
    data = DataFolder(tmp_path)
    data.create()
    data.postgres.mkdir()
    (data.kafka / "meta.properties").write_text("#x\nversion=1\ncluster.id=abc\n")
    assert formatted_cluster_id(data) == "abc"
    names = {spec.name for spec in plan_for(tmp_path, services=()).specs}
    assert names == set(INFRASTRUCTURE)


def test_infrastructure_alone_has_no_steps_and_only_its_addresses(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, services=(), infrastructure=("kafka",))
    assert [spec.name for spec in plan.specs] == ["kafka-format", "kafka"]
    assert set(plan.addresses) == {"kafka", "objects"}


def test_every_service_gets_its_own_health_port_and_the_api_its_address(tmp_path: Path) -> None:
    plan = plan_for(tmp_path)
    health = [
        environment_of(plan, name)["DARKROOM_HEALTH_PORT"]
        for name in SERVICES
        if name != "gateway-api"
    ]
    assert len(set(health)) == len(SERVICES) - 1
    api = environment_of(plan, "gateway-api")
    assert plan.addresses["api"] == f"http://{api['DARKROOM_API_HOST']}:{api['DARKROOM_API_PORT']}"


def test_a_setting_for_one_process_reaches_only_that_one(tmp_path: Path) -> None:
    plan = plan_for(
        tmp_path,
        env={"DARKROOM_LOG_LEVEL": "DEBUG"},
        process_env={"ocr": {"DARKROOM_OCR_ENGINE": "stub:make"}},
    )
    assert environment_of(plan, "ocr")["DARKROOM_OCR_ENGINE"] == "stub:make"
    assert "DARKROOM_OCR_ENGINE" not in environment_of(plan, "detector")
    assert environment_of(plan, "detector")["DARKROOM_LOG_LEVEL"] == "DEBUG"


def test_passwords_are_on_no_command_line(tmp_path: Path) -> None:
    plan = plan_for(tmp_path)
    secret = load_or_draw(DataFolder(tmp_path).run / "credentials.json")
    words = [word for spec in plan.specs for word in (*spec.argv, *spec.launch_with)]
    assert not [
        word for word in words if secret.database_password in word or secret.redis_password in word
    ]


@pytest.mark.parametrize(
    ("cores", "text", "others"),
    [
        (1, Share(1, 1), Share(1, 1)),
        (2, Share(2, 1), Share(1, 1)),
        (6, Share(4, 1), Share(1, 2)),
        (16, Share(4, 4), Share(1, 5)),
    ],
)
def test_text_alone_fills_the_machine_and_the_other_stages_get_by_with_a_third(
    cores: int, text: Share, others: Share
) -> None:
    assert share_of("ocr", cores) == text
    assert share_of("detector", cores) == share_of("embedder", cores) == others


def test_only_stages_are_told_their_share_and_what_somebody_has_set_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("DARKROOM_BULK_ENGINES", raising=False)
    plan = plan_for(tmp_path)
    assert environment_of(plan, "ocr")["DARKROOM_BULK_ENGINES"] == "2"
    assert environment_of(plan, "embedder")["DARKROOM_BULK_ENGINES"] == "1"
    assert environment_of(plan, "embedder")["GOMP_SPINCOUNT"] == "10000"
    assert "OMP_NUM_THREADS" not in environment_of(plan, "ocr")
    assert "DARKROOM_BULK_ENGINES" not in environment_of(plan, "intake")


@pytest.mark.parametrize(
    ("held", "chosen"), [(0, None), (0b010, "dac_override"), (0b110, "dac_read_search")]
)
def test_the_weakest_capability_that_is_held_lets_the_database_reach_its_folder(
    held: int, chosen: str | None
) -> None:
    assert walking_capability(held) == chosen


def test_an_unknown_process_is_refused_with_the_names_that_exist(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"No such process: intke\.") as caught:
        Stack(tmp_path, ("intke",))
    assert "intake" in caught.value.cure


def test_a_stack_that_is_not_up_says_so_and_stops_without_complaint(tmp_path: Path) -> None:
    command = CliRunner()
    status = command.invoke(build(), ["status", "--data", str(tmp_path)])
    assert status.exit_code == 1
    assert "not up" in status.output
    assert (
        '"phase": "stopped"'
        in command.invoke(build(), ["status", "--json", "--data", str(tmp_path)]).output
    )
    down = command.invoke(build(), ["down", "--data", str(tmp_path)])
    assert (down.exit_code, down.output.strip()) == (0, "nothing was running")


@pytest.mark.parametrize(
    "words",
    [["photo", "5f0c4a7e-3a53-5b0f-9a55-0d7f0f4f2a11"], ["search", "cat"], ["analyze"], ["import"]],
)
def test_a_command_looks_for_the_gateway_in_the_data_folder_that_is_named(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cat.jpg"
    file.write_bytes(b"x")
    monkeypatch.setenv("DARKROOM_HOME", str(tmp_path / "elsewhere"))
    run = tmp_path / "here" / "run"
    run.mkdir(parents=True)
    state = StackState(
        phase=StackPhase.READY,
        supervisor_pid=1,
        supervisor_birth=None,
        started_at=0.0,
        addresses={"api": "http://127.0.0.1:9"},
    )
    write_state(run / "state.json", state)
    arguments = [*words, *([str(file)] if len(words) == 1 else [])]
    asked = CliRunner().invoke(build(), [*arguments, "--data", str(tmp_path / "here")])
    assert asked.exit_code == 1
    assert "127.0.0.1:9" in asked.output


def test_logs_are_shown_merged_and_a_wrong_name_gets_the_right_ones(tmp_path: Path) -> None:
    logs = DataFolder(tmp_path).logs
    logs.mkdir(parents=True)
    (logs / "ocr.log").write_text("2026-01-01T00:00:02Z ocr | b\n")
    (logs / "intake.log").write_text("2026-01-01T00:00:01Z intake | a\n")
    command = CliRunner()
    shown = command.invoke(build(), ["logs", "--data", str(tmp_path)]).output.splitlines()
    assert [line.split()[1] for line in shown] == ["intake", "ocr"]
    wrong = command.invoke(build(), ["logs", "orc", "--data", str(tmp_path)])
    assert isinstance(wrong.exception, StackError)
    assert wrong.exception.cure == "There are intake, ocr."
