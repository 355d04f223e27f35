"""One photo's path through all services, found in their logs."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from darkroom_cli.app import build
from darkroom_cli.errors import StackError

PHOTO = "affa6966-7080-5191-9861-4f6c4adc6cbb"
OTHER = "b5473df0-ba57-53d7-a6ba-f6a00c0e973f"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def line(second: int, service: str, event: str, **more: Any) -> str:
    said = {
        **{"timestamp": f"2026-01-02T03:04:{second:02}.500000Z", "level": "info"},
        **{"logger": "streamkit.records", "event": event, "service": service, **more},
    }
    return f"2026-01-02T03:04:59.000Z {service} | {json.dumps(said)}"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Logs of a stack, one of them rotated."""
    logs = tmp_path / "logs"
    logs.mkdir()
    kept = {
        "gateway-api.log": [
            line(1, "gateway-api", "photo_handed_in", photo_id=PHOTO, trace_id=TRACE, lane="high"),
            line(1, "gateway-api", "photo_handed_in", photo_id=OTHER, trace_id="f" * 32),
        ],
        "ocr.log.1": [line(3, "ocr", "handled", photo_id=PHOTO, trace_id=TRACE, offset=7, ms=12.5)],
        "ocr.log": [
            line(4, "ocr", "noise"),
            line(5, "ocr", "retry", photo_id=PHOTO, trace_id=TRACE, level="warning"),
            "2026-01-02T03:04:06.000Z ocr | not JSON: " + PHOTO,
            '2026-01-02T03:04:06.000Z ocr | {"torn": "' + PHOTO,
        ],
        "intake.log": [line(2, "intake", "deep", trace_id=TRACE, exception="Traceback\n  here")],
    }
    for name, lines in kept.items():
        (logs / name).write_text("".join(f"{one}\n" for one in lines))
    return tmp_path


def said(data: Path, *arguments: str) -> list[str]:
    done = CliRunner().invoke(build("logs"), ["logs", *arguments, "--data", str(data)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def test_a_photos_path_is_merged_by_time_with_what_belongs_to_its_trace(data: Path) -> None:
    assert said(data, "--photo", PHOTO) == [
        "03:04:01.500  gateway-api      photo_handed_in  lane=high",
        "03:04:02.500  intake           deep",
        "    Traceback",
        "      here",
        "03:04:03.500  ocr              handled  ms=12.5",
        "03:04:05.500  ocr              WARNING retry",
    ]


def test_as_json_it_is_what_the_services_wrote(data: Path) -> None:
    found = [json.loads(one) for one in said(data, "--photo", PHOTO, "--json")]
    assert [one["service"] for one in found] == ["gateway-api", "intake", "ocr", "ocr"]
    assert found[2]["offset"] == 7


def test_a_service_and_a_level_narrow_it(data: Path) -> None:
    assert len(said(data, "ocr", "--photo", PHOTO)) == 2
    (only,) = said(data, "--photo", PHOTO, "--level", "warning")
    assert "retry" in only


def test_a_trace_is_found_alone(data: Path) -> None:
    assert len(said(data, "--trace", TRACE, "--json")) == 4
    assert len(said(data, "--trace", "f" * 32, "--json")) == 1


def test_a_photo_that_no_log_knows_is_an_error_that_says_so(data: Path) -> None:
    unknown = "00000000-0000-5000-8000-000000000000"
    with pytest.raises(StackError, match=f"No log says anything of photo {unknown}"):
        said(data, "--photo", unknown)
    with pytest.raises(StackError, match="No log says anything of trace"):
        said(data, "--trace", "0" * 31 + "1")


@pytest.mark.parametrize("option", [("--photo", "cat.jpg"), ("--trace", "7"), ("--level", "loud")])
def test_what_is_no_id_and_no_level_is_refused(data: Path, option: tuple[str, str]) -> None:
    done = CliRunner().invoke(build("logs"), ["logs", *option, "--data", str(data)])
    assert done.exit_code == 2


def test_the_last_lines_may_be_narrowed_by_level(data: Path) -> None:
    assert len(said(data, "-n", "3")) == 3
    (only,) = said(data, "-n", "3", "--level", "warning")
    assert only.endswith("}")
    assert json.loads(said(data, "-n", "1", "--json")[0])["event"]
