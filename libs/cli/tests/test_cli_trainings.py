"""The words `train` and `trainings`: what they ask the gateway, what they show, how they end."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from darkroom_cli.app import build
from darkroom_cli.client import Gateway, RefusedError

HOSTILE = "[bold]x\x1b[31m"
ONE, OTHER = "1b7bb2a4-6d1c-5a9f-8f0e-0d5c8b7a9e10", "2c7bb2a4-6d1c-5a9f-8f0e-0d5c8b7a9e10"


def training(state: str = "published", **more: Any) -> dict[str, Any]:
    return {
        **{"request_id": ONE, "model": "labels", "reason": "person", "state": state},
        **{"note": "accuracy 92.0%", "merged_into": None, "due_at": "2026-11-30T09:00:00Z"},
        **{"requested_at": "2026-11-30T09:00:00Z", "ended_at": "2026-11-30T09:01:00Z"},
        **{"step": None, "done": None, "worker": None, "version": "head@2c26b46b68ff"},
        **{"seconds": 3.25, "accuracy": 0.92, "accuracy_low": 0.85, "accuracy_high": 0.96},
        **{"metrics": {}, "suspicious": [], "suspicious_of": 0, "report_missing": None},
        **more,
    }


def under_way(**more: Any) -> dict[str, Any]:
    return training("running", ended_at=None, version=None, **more)


class FakeGateway(Gateway):
    """Answers by the address, and keeps what it was asked."""

    def __init__(self) -> None:
        self.url = "http://gateway"
        self.asked: list[tuple[str, str, Any]] = []
        self.trainings: Iterator[dict[str, Any]] = iter(())
        self.listed: list[dict[str, Any]] = [training()]
        self.refused: RefusedError | None = None
        self.everywhere = True
        self.failed: list[dict[str, Any]] = []

    def ask(self, method: str, path: str, **request: Any) -> Any:
        self.asked.append((method, path, request.get("json", request.get("params"))))
        if path == "/v1/models/head:labels":
            return {
                **{"name": "head:labels", "generation": 4, "everywhere": self.everywhere},
                **{"shadow": None, "waiting_for": ["embedder@a"]},
                "replicas": [
                    {"replica": "embedder@a", "live": True, "state": "failed", "wanted": 4,
                     "message": f"no {HOSTILE}", "shadow": None}
                ],
            }  # fmt: skip
        if path.startswith("/v1/labels"):
            return {
                **{"labels": ["receipt"], "counts": [], "changed": 1, "unchanged": 0},
                **{"ambiguous": [], "verdict": {"sentence": "Enough.", "enough": True}},
            }
        if method == "GET" and path == "/v1/trainings":
            return {"items": self.listed}
        if method == "GET":
            return next(self.trainings)
        if self.refused:
            raise self.refused
        return training("cancelled" if path.endswith("/cancel") else "requested", ended_at=None)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    fake = FakeGateway()
    monkeypatch.setattr("darkroom_cli.door.gateway", lambda _url, _data: fake)
    monkeypatch.setattr("darkroom_cli.trainings_door._POLL_S", 0.0)
    return fake


Run = Callable[..., Any]


@pytest.fixture
def run() -> Run:
    def running(word: str, *arguments: str) -> Any:
        return CliRunner(env={"COLUMNS": "200"}).invoke(build(word), [word, *arguments])

    return running


def test_a_training_is_followed_to_its_end_and_until_its_version_is_everywhere(
    gateway: FakeGateway, run: Run
) -> None:
    steps = [under_way(step="assessing", done=0.5, worker="trainer@a:1"), training()]
    gateway.trainings = iter(steps)
    done = run("train", "labels", "--by", "ada")
    assert done.exit_code == 0, done.output
    assert gateway.asked[0] == (
        "POST", "/v1/trainings", {"model": "labels", "force": False, "by": "ada"}
    )  # fmt: skip
    assert gateway.asked[-1][1] == "/v1/models/head:labels"
    assert "running assessing" in done.output
    assert "head@2c26b46b68ff, trained in 3.2 s." in done.output


@pytest.mark.parametrize(
    ("state", "code"),
    [("candidate", 3), ("not_enough", 3), ("skipped", 3), ("failed", 1), ("timed_out", 1),
     ("cancelled", 1)],
)  # fmt: skip
def test_the_exit_code_tells_whether_something_new_holds(
    gateway: FakeGateway, run: Run, state: str, code: int
) -> None:
    gateway.trainings = iter([training(state, note=f"since {HOSTILE}")])
    done = run("train")
    assert done.exit_code == code
    assert "since [bold]x\\x1b[31m" in done.output
    assert "\x1b" not in done.output
    assert "/v1/models/head:labels" not in [path for _, path, _ in gateway.asked]


def test_who_is_merged_follows_the_one_that_stands_for_both(gateway: FakeGateway, run: Run) -> None:
    merged = training("merged", merged_into=OTHER)
    gateway.trainings = iter([merged, training(request_id=OTHER)])
    done = run("train", "--json")
    assert json.loads(done.stdout)["request_id"] == OTHER
    assert gateway.asked[2][1] == f"/v1/trainings/{OTHER}"


def test_a_version_that_an_embedder_can_t_load_is_told(gateway: FakeGateway, run: Run) -> None:
    gateway.trainings, gateway.everywhere = iter([training()]), False
    done = run("train")
    assert done.exit_code == 0
    assert "It holds, but: embedder@a can't load it: no [bold]x\\x1b[31m" in done.output


def test_missing_examples_are_told_and_without_waiting_it_ends_at_once(
    gateway: FakeGateway, run: Run
) -> None:
    gateway.refused = RefusedError("Needs 3 more of `receipt`.", 409, "not_enough_examples", None)
    refused = run("train")
    assert (refused.exit_code, "Needs 3 more of `receipt`." in refused.output) == (3, True)
    gateway.refused = RefusedError("There is no set.", 404, "no_such_set", None)
    assert run("train").exit_code == 1
    gateway.refused = None
    asked = run("train", "--no-wait", "--force")
    assert (asked.exit_code, ONE in asked.output) == (0, True)
    assert gateway.asked[-1][2]["force"] is True


@pytest.fixture
def by_label(tmp_path: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder whose import goes as it should, but for what `gateway.failed` says."""
    (tmp_path / "receipt").mkdir()
    (tmp_path / "receipt" / "1.jpg").write_text("photo")
    monkeypatch.setattr("darkroom_cli.commands.labels.upload", lambda *_: "a-batch")
    monkeypatch.setattr("darkroom_cli.commands.labels.watch", lambda *_: None)
    monkeypatch.setattr(gateway, "failures", lambda *_: {"items": gateway.failed})
    return str(tmp_path)


@pytest.mark.parametrize(
    ("state", "code"), [("published", 0), ("candidate", 3), ("not_enough", 3), ("failed", 1)]
)
def test_an_import_of_labels_that_waits_for_its_training_ends_as_that_does(
    gateway: FakeGateway, run: Run, by_label: str, state: str, code: int
) -> None:
    gateway.trainings = iter([training(state)])
    done = run("labels", "import", by_label, "--train")
    assert done.exit_code == code, done.output
    assert f"labels: {state.replace('_', ' ')}" in done.output


def test_an_import_of_labels_says_that_examples_are_missing_to_train(
    gateway: FakeGateway, run: Run, by_label: str
) -> None:
    gateway.refused = RefusedError("Needs 3 more of `receipt`.", 409, "not_enough_examples", None)
    done = run("labels", "import", by_label, "--train")
    assert (done.exit_code, "trained: Needs 3 more of `receipt`." in done.output) == (3, True)
    assert "1 examples are new" in done.output, "what was done is told"
    gateway.failed = [{"path": "x", "kind": "rejected", "code": "c", "message": "broken"}]
    assert run("labels", "import", by_label, "--train").exit_code == 1
    assert run("labels", "import", by_label).exit_code == 1
    gateway.failed = []
    assert run("labels", "import", by_label).exit_code == 0


def test_time_that_is_up_is_no_end_of_the_training(
    gateway: FakeGateway, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.trainings = iter([under_way()])
    monkeypatch.setattr("darkroom_cli.trainings_door.time.monotonic", iter([0.0, 2.0]).__next__)
    done = run("train", "--timeout", "1")
    assert done.exit_code == 1
    assert "it goes on" in done.output


def test_a_report_shows_labels_confusion_and_what_is_suspicious(
    gateway: FakeGateway, run: Run
) -> None:
    said = {
        "labels": ["receipt"],
        "confusion": [[3, 1], [0, 2]],
        "by_label": {"receipt": {"precision": 1.0, "recall": 0.75, "examples": 4}},
    }
    suspicious = [odd(("copy", "of another"), ("outlier", "unlike others"))]
    gateway.trainings = iter([training(metrics=said, suspicious=suspicious, suspicious_of=30)])
    shown = run("trainings", "show", ONE[:4]).output
    assert gateway.asked[-1][1] == f"/v1/trainings/{ONE}"
    for words in ("75 %", "92 % (85 to 96 %)", "copy: of another", "and 10 more", OTHER):
        assert words in shown
    assert "outlier: unlike others" in shown
    assert shown.count(OTHER) == 1
    assert "\x1b" not in shown


def odd(*doubts: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {
        **{"photo_id": OTHER, "file_name": HOSTILE, "label": "receipt", "source": "person"},
        **{"since": None, "label_now": "receipt"},
        "doubts": [{"kind": kind, "reason": reason} for kind, reason in doubts],
        **more,
    }


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (odd(), "receipt"),
        (odd(source="auto", label_now=None), "receipt, by Darkroom itself"),
        (odd(since="removed", label_now=None), "receipt; removed since"),
        (odd(since="changed", label_now=HOSTILE), "receipt; [bold]x\\x1b[31m since"),
        (odd(label=None, since="changed"), "none; receipt since"),
        (odd(label=None, source=None, since="removed", label_now=None), "?; removed since"),
    ],
)
def test_an_example_is_shown_as_it_was_taught_and_what_became_of_it(
    gateway: FakeGateway, run: Run, example: dict[str, Any], words: str
) -> None:
    gateway.trainings = iter([training(suspicious=[example], suspicious_of=1)])
    line = next(one for one in run("trainings", "show", ONE).output.splitlines() if OTHER in one)
    assert line.split(OTHER)[1].strip() == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(1, "1 example is suspicious"), (1200, "1,200 examples are suspicious")],
)
def test_after_a_training_it_is_told_how_many_examples_are_suspicious(
    gateway: FakeGateway, run: Run, count: int, words: str
) -> None:
    gateway.trainings = iter([training(suspicious=[odd()], suspicious_of=count)])
    assert f"{words}: darkroom trainings show {ONE}" in run("train").output


def test_trainings_are_named_by_the_beginning_of_their_id(gateway: FakeGateway, run: Run) -> None:
    gateway.listed = [training(request_id=OTHER), training()]
    assert run("trainings", "cancel", "1b7", "--by", "ada").exit_code == 0
    assert gateway.asked[-1][:2] == ("POST", f"/v1/trainings/{ONE}/cancel")
    gateway.listed = [training(request_id=f"{ONE[:-1]}1"), training()]
    several = run("trainings", "cancel", "1b7")
    assert (several.exit_code, "more than one training" in several.output) == (1, True)
    assert gateway.asked[-1][2]["merged"] is True, "whatever has an id"
    run("trainings", "list")
    assert gateway.asked[-1][2]["merged"] is False
    run("trainings", "list", "--all")
    assert gateway.asked[-1][2]["merged"] is True
    gateway.listed = []
    assert "no training yet" in run("trainings", "show").output
    assert "darkroom train" in run("trainings", "list").output
