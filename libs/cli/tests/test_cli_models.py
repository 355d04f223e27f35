"""The word `models`: what it asks the gateway, what it shows, how it ends."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from darkroom_cli import calibrating
from darkroom_cli.app import build
from darkroom_cli.calibrating import Examples, Fitted, as_version
from darkroom_cli.client import Gateway, GatewayError, RefusedError
from darkroom_cli.models_door import ModelsDoor
from darkroom_cli.paths import DataFolder
from darkroom_cli.show_models import CALIBRATION as CALIBRATION_OPTION

HOSTILE = "[bold]x\x1b[31m"
OLD, NEW = "efficientnet-lite0@0123456789ab", "siglip@2c26b46b68ff"


def version(name: str, **more: Any) -> dict[str, Any]:
    return {
        **{"version": name, "engine": name.partition("@")[0], "options": {}, "files": []},
        **{"licence": None, "source": None, "metrics": {}, "stage": "candidate"},
        "built_in": False,
        **more,
    }


def replica(**more: Any) -> dict[str, Any]:
    return {
        **{"replica": "detector-bulk@a:1", "state": "ready", "generation": 1, "wanted": 1},
        **{"version": OLD, "message": None, "seen_s": 2.0, "live": True},
        **more,
    }


def model(**more: Any) -> dict[str, Any]:
    return {
        **{"name": "detector", "generation": 1, "active": OLD, "shadow": None},
        **{"shadow_share": 0.0, "everywhere": True, "waiting_for": [], "reembedding": None},
        **{"warning": None, "rescoring": None},
        **{"replicas": [replica()], "versions": [version(OLD), version(NEW)], "history": []},
        **more,
    }


class FakeGateway(Gateway):
    """Answers by the address, and keeps what it was asked."""

    def __init__(self) -> None:
        self.url = "http://gateway"
        self.asked: list[tuple[str, str, Any]] = []
        self.models: Iterator[dict[str, Any]] | None = None
        self.change: Mapping[str, Any] = {"version": NEW, "generation": 2, "shadow": None}
        self.refusals: list[RefusedError] = []
        self.unchecked: str | None = None

    def ask(self, method: str, path: str, **request: Any) -> Any:
        body = request.get("json", request.get("params"))
        if "content" in request:
            body = request["content"].read()
        self.asked.append((method, path, body))
        if path == "/v1/models":
            return {"items": [model()]}
        if method == "GET" and path in {"/v1/models/detector", "/v1/models/head:labels"}:
            return model() if self.models is None else next(self.models)
        if path.endswith("/versions"):
            if self.refusals:
                raise self.refusals.pop()
            return {**version(NEW), "unchecked": self.unchecked}
        return self.change


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    fake = FakeGateway()
    monkeypatch.setattr("darkroom_cli.door.gateway", lambda _url, _data: fake)
    monkeypatch.setattr("darkroom_cli.models_door._POLL_S", 0.0)
    return fake


Run = Callable[..., Any]


@pytest.fixture
def run() -> Run:
    def running(*arguments: str) -> Any:
        return CliRunner().invoke(build("models"), ["models", *arguments])

    return running


def test_versions_are_shown_whole_and_what_others_wrote_is_harmless(
    gateway: FakeGateway, run: Run
) -> None:
    silent = replica(replica="gone", live=False, seen_s=300.0)
    failed = replica(replica="b", state="failed", message=f"no {HOSTILE}")
    gateway.models = iter([model(replicas=[replica(), silent, failed])])

    shown = run("show", "detector").output

    assert OLD in shown
    assert NEW in shown
    assert "b: no [bold]x\\x1b[31m" in shown
    assert "gone" not in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("state", "heads", "told"),
    [
        ("waiting", "", "labelled by it once every embedder has it"),
        ("running", "x", "1,200 of 5,000 photos that were seen before are looked at by it; 7 have"),
        ("running", "x y", "looked at by x, y together; 7 have other labels so far."),
    ],
)
def test_a_head_tells_how_far_photos_are_labelled_by_it(
    gateway: FakeGateway, run: Run, state: str, heads: str, told: str
) -> None:
    rescoring = {
        **{"version": NEW, "state": state, "heads": heads.split()},
        **{"photos": 5000, "done": 1200, "changed": 7},
    }
    gateway.models = iter([model(rescoring=rescoring)])
    assert told in " ".join(run("show", "detector").output.split())


def test_heads_are_shown_with_how_good_they_are_and_what_is_wrong_with_them(
    gateway: FakeGateway, run: Run
) -> None:
    said = {"accuracy": 0.92, "examples": 50}
    head = model(name="head:labels", versions=[version("head@1", metrics=said)], warning=HOSTILE)
    gateway.models = iter([head])
    shown = run("show", "head:labels").output
    assert gateway.asked[-1][1] == "/v1/models/head:labels"
    for words in ("92 %", "of 50", "[bold]x\\x1b[31m"):
        assert words in shown
    assert run("show", "head:no/set").exit_code == 2
    assert run("register", "head:labels", "--engine", "head", "--by", "ada").exit_code == 2


def test_a_checkpoint_s_files_are_sent_and_registered_with_its_options(
    gateway: FakeGateway, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / ".hidden").write_bytes(b"no")
    (tmp_path / "README.md").write_bytes(b"no")
    (tmp_path / "pytorch_model.bin").write_bytes(b"no")
    labels = tmp_path.parent / "labels.txt"
    labels.write_text("receipt\nwhiteboard\n", encoding="utf-8")
    gateway.refusals = [RefusedError("Send these 1 files first", 422, "files_missing", None)]

    done = run(
        *("register", "detector", "--engine", "siglip", "--files", str(tmp_path)),
        *("--option", f"detector_label_list=@{labels}", "--option", "detector_labels=3"),
        *("--licence", "Apache-2.0", "--by", "ada"),
    )

    assert done.exit_code == 0, done.output
    sha256 = hashlib.sha256(b"weights").hexdigest()
    asked, sent, registered = gateway.asked
    assert asked == registered
    assert sent == ("PUT", f"/v1/model-files/{sha256}", b"weights")
    assert registered[1] == "/v1/models/detector/versions"
    body = registered[2]
    assert body["files"] == [{"path": "sub/model.safetensors", "sha256": sha256, "byte_size": 7}]
    assert body["options"] == {
        "detector_label_list": "receipt\nwhiteboard\n",
        "detector_labels": "3",
    }
    assert (body["engine"], body["licence"], body["by"]) == ("siglip", "Apache-2.0", "ada")
    assert f"darkroom models activate detector {NEW}" in done.output
    assert "leaves README.md out" in done.output


def test_a_version_that_is_refused_is_told_before_anything_is_sent(
    gateway: FakeGateway, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    said = "siglib is no engine of this model; there are: siglip. Did you mean siglip?"
    gateway.refusals = [RefusedError(said, 422, "unknown_engine", None)]

    done = run("register", "detector", "--engine", "siglib", "--files", str(tmp_path))

    assert done.exit_code == 1
    assert said in done.output
    assert [method for method, _, _ in gateway.asked] == ["POST"]


def test_files_of_a_version_that_is_known_are_sent_again_and_it_is_not_asked_for_twice(
    gateway: FakeGateway, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert run("register", "ocr", "--engine", "x", "--files", str(tmp_path)).exit_code == 0
    assert [method for method, _, _ in gateway.asked] == ["POST", "PUT"]


def test_what_could_not_be_checked_is_told_beside_the_answer(
    gateway: FakeGateway, run: Run
) -> None:
    gateway.unchecked = f"could not be checked {HOSTILE}"
    done = run("register", "ocr", "--engine", "easyocr", "--json")
    assert json.loads(done.stdout)["version"] == NEW
    assert "could not be checked [bold]x\\x1b[31m" in done.stderr


def test_activating_waits_until_every_replica_has_it(gateway: FakeGateway, run: Run) -> None:
    waiting = model(generation=2, everywhere=False, waiting_for=["b"])
    gateway.models = iter([model(), waiting, waiting, model(generation=2)])

    done = run("activate", "detector", "siglip", "--by", "ada", "--reason", "better")

    assert done.exit_code == 0, done.output
    assert gateway.asked[1][1:] == (
        "/v1/models/detector/activate",
        {"version": NEW, "by": "ada", "reason": "better"},
    )
    assert "Every replica has it (1)." in done.output


def test_a_replica_that_can_t_load_it_is_an_error_that_says_why(
    gateway: FakeGateway, run: Run
) -> None:
    before = replica(state="failed", wanted=1, message="an earlier one")
    now = replica(state="failed", wanted=2, message="no such weights")
    behind = {"generation": 2, "everywhere": False, "waiting_for": ["a"]}
    gateway.models = iter(
        [model(), model(**behind, replicas=[before]), model(**behind, replicas=[now])]
    )

    done = run("activate", "detector", NEW)

    assert done.exit_code == 1
    assert "can't load it: no such weights" in done.output
    assert "darkroom models rollback detector" in done.output


def test_a_version_is_meant_by_how_its_name_begins_and_never_guessed(
    gateway: FakeGateway, run: Run
) -> None:
    unknown = run("activate", "detector", "resnet")
    gateway.models = iter([model(versions=[version(NEW), version("siglip@ffff")])])
    several = run("activate", "detector", "siglip@")

    assert (unknown.exit_code, several.exit_code) == (1, 1)
    assert "detector has no version 'resnet'; there are" in unknown.output
    assert "detector has more than one version 'siglip@'" in several.output


def test_time_that_is_up_is_told(gateway: FakeGateway) -> None:
    gateway.models = iter([model(generation=2, everywhere=False, waiting_for=["b"])])
    with pytest.raises(GatewayError, match="not everywhere after 0 s; waits for b"):
        ModelsDoor(gateway).everywhere("detector", 2, 0.0, lambda _: None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "painter"), "choose detector, ocr, embedder"),
        (("shadow", "detector"), "name a version, or --off"),
        (("shadow", "detector", NEW, "--off"), "name a version, or --off"),
        (("register", "ocr", "--engine", "x", "--option", "novalue"), "write it like"),
        (("register", "ocr", "--engine", "x", "--option", "a=@/nowhere"), "can't be read"),
        (("calibrate",), "name a folder, or --reviews"),
    ],
)
def test_slips_of_the_pen_are_told(
    gateway: FakeGateway, run: Run, arguments: tuple[str, ...], said: str
) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())
    assert gateway.asked == []


def test_no_shadow_is_asked_for_by_null(gateway: FakeGateway, run: Run) -> None:
    done = run("shadow", "detector", "--off", "--no-wait", "--by", "ada", "--json")
    assert gateway.asked[0][2] == {"version": None, "share": 1.0, "by": "ada"}
    assert json.loads(done.output)["generation"] == 2


CALIBRATION = {"n": 240, "temperature": 1.4, "ece_before": 0.2, "ece_after": 0.05}


def test_a_calibrated_version_is_what_held_with_its_confidences() -> None:
    file = {"path": "model.safetensors", "sha256": "ab", "byte_size": 1}
    before = version(NEW, files=[file], options={"detector_labels": "3", CALIBRATION_OPTION: "old"})

    wanted = as_version(Fitted(before, 7, CALIBRATION, True), "ada")

    assert wanted["options"]["detector_labels"] == "3"
    assert json.loads(wanted["options"][CALIBRATION_OPTION]) == CALIBRATION
    assert (wanted["engine"], wanted["files"]) == ("siglip", [file])
    assert wanted["metrics"]["calibration"]["n"] == 240


def test_calibrating_runs_the_detector_s_program_with_the_version_s_settings(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    held = version(
        NEW,
        files=[{"path": "model.safetensors", "sha256": sha256, "byte_size": 7}],
        options={"detector_boxes": "./detr", CALIBRATION_OPTION: "old"},
    )
    gateway.models = iter([model(active=NEW, versions=[held])] * 3)
    ran: list[tuple[list[str], dict[str, str]]] = []

    class Ended:
        returncode = 3

    def fit(command: list[str], env: dict[str, str], **_: Any) -> Ended:
        ran.append((command, env))
        Path(command[command.index("--json") + 1]).write_text(json.dumps(CALIBRATION))
        return Ended()

    monkeypatch.setattr("darkroom_cli.calibrating.subprocess.run", fit)
    data = DataFolder.at(tmp_path / "data")
    registry = ModelsDoor(gateway)

    found = calibrating.calibrate(registry, data, Examples(Path("/labelled"), tmp_path))

    ((command, environment),) = ran
    assert (found.calibration, found.version, found.generation) == (CALIBRATION, held, 1)
    assert found.calibrated is False
    assert command[-1] == "/labelled"
    assert environment["DARKROOM_DETECTOR_ENGINE"] == "siglip"
    assert environment["DARKROOM_DETECTOR_CHECKPOINT"] == str(tmp_path)
    assert environment["DARKROOM_DETECTOR_BOXES"] == str(tmp_path / "detr")
    assert "DARKROOM_DETECTOR_CALIBRATION" not in environment
    with pytest.raises(GatewayError, match="say by --files in which folder they lie"):
        calibrating.calibrate(registry, data, Examples(None))
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(GatewayError, match=f"is not the file of {NEW}"):
        calibrating.calibrate(registry, data, Examples(None, tmp_path))


def test_an_engine_made_by_other_settings_is_registered_before_it_is_calibrated(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    served = version("siglip@1+owlv2@2", engine="siglip+owlv2", built_in=True)
    gateway.models = iter([model(active="siglip@1+owlv2@2", versions=[served])])
    with pytest.raises(GatewayError, match=r"register it .darkroom models register detector"):
        calibrating.calibrate(
            ModelsDoor(gateway), DataFolder.at(tmp_path), Examples(Path("/labelled"))
        )


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_calibration_is_activated_for_what_it_was_fitted_for_and_only_if_it_counts(
    gateway: FakeGateway,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    calibrated: bool,
) -> None:
    fitted = Fitted(version(OLD), 7, CALIBRATION, calibrated)
    monkeypatch.setattr(calibrating, "calibrate", lambda *_: fitted)

    done = run("calibrate", str(tmp_path), "--activate", "--by", "ada")

    changes = [body for _, path, body in gateway.asked if path.endswith("/activate")]
    assert done.exit_code == (0 if calibrated else 3), done.output
    assert [one["expected_generation"] for one in changes] == ([7] if calibrated else [])


def test_a_shadow_that_a_replica_can_t_load_is_an_error_with_its_own_cure(
    gateway: FakeGateway,
) -> None:
    told = replica(generation=2, shadow=None, message="The shadow x can't be loaded: no")
    gateway.models = iter([model(generation=2, shadow="x", replicas=[told])])
    with pytest.raises(GatewayError, match=r"can't be loaded: no\nWhat holds works .* --off"):
        ModelsDoor(gateway).everywhere("detector", 2, 1.0, lambda _: None)


def test_a_folder_without_weights_is_told_before_anything_is_sent(
    gateway: FakeGateway, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"no")
    done = run("register", "detector", "--engine", "siglip", "--files", str(tmp_path))
    assert done.exit_code == 1
    assert "leaves pytorch_model.bin out" in done.output
    assert "has no weights that a version can have: .safetensors or .onnx" in done.output
    assert gateway.asked == []


def test_what_could_not_be_fitted_changes_nothing(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "darkroom_cli.calibrating.subprocess.run",
        lambda *_, **__: type("Ended", (), {"returncode": 1})(),
    )
    with pytest.raises(GatewayError, match="nothing is changed"):
        calibrating.calibrate(
            ModelsDoor(gateway), DataFolder.at(tmp_path), Examples(Path("/labelled"))
        )
    assert [method for method, _, _ in gateway.asked] == ["GET"]
