"""Dead letters are shown, never obeyed; and what a user writes is understood or explained."""

import io
import json
import signal
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
import typer
from rich.console import Console

from darkroom_cli import show_letters
from darkroom_cli.commands import dlq, dlq_options
from streamkit.deadletters import dead_letter
from streamkit.letters import Letter, Mark, Place, letter_of
from streamkit.marking import Report
from streamkit.messages import Failure
from streamkit.rate import Rate
from streamkit.records import Taken

HOSTILE = "[/bold] [bold red]x[blink] \x1b[31mred \u202egpj.exe\x00\n\n" + "long " * 300


def shown(renderable: Any, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(renderable)
    return out.getvalue()


def a_letter(**changes: Any) -> tuple[Letter, Taken]:
    headers = [("ce_id", b"x"), (HOSTILE, HOSTILE.encode())]
    record = Taken("said.v1", 3, 17, HOSTILE.encode(), b"\x1b[31mjunk", headers, 7)
    failure = Failure(HOSTILE, HOSTILE, 4)
    letter = dead_letter(
        "l", record, failure, service=HOSTILE, version=HOSTILE, lane=HOSTILE, now_s=1_795_521_600
    )
    lying = Taken("l", 0, 5, letter.key, letter.value, letter.headers, 1)
    made = letter_of(lying, "ocr")
    return Letter(**{name: getattr(made, name) for name in made.__slots__} | changes), record


def marked(**changes: Any) -> tuple[Letter, Taken]:
    mark = Mark("discarded", HOSTILE, HOSTILE, 1_795_521_700_000, (Place(0, 5),))
    return a_letter(state="discarded", marks=(mark,), deaths=3, **changes)


@pytest.mark.parametrize("width", [80, 120])
def test_no_table_obeys_a_letter_or_is_wider_than_the_terminal(width: int) -> None:
    letter, died = marked()
    report = Report(3, {HOSTILE: 3}, failed=[(letter.id, HOSTILE)] * 3)
    value = show_letters.readable_value(died.value, None, HOSTILE)
    for table in (
        show_letters.overview({"ocr": [letter], "detector": []}),
        show_letters.codes_table([letter]),
        show_letters.letters_table([letter]),
        show_letters.letters_table([letter], states=True),
        show_letters.failures_table(report),
        show_letters.letter_table(letter, died, value),
    ):
        text = shown(table, width)
        assert not {"\x1b", "\u202e", "\x00"} & set(text)
        assert max(map(len, text.splitlines())) <= width


def test_a_table_has_a_lines_height_for_each_letter() -> None:
    letter, _ = a_letter()
    lines = shown(show_letters.letters_table([letter] * 20)).strip().splitlines()
    assert len(lines) == 22


def test_many_reasons_are_counted_together() -> None:
    letters = [a_letter(code=f"code_{n}")[0] for n in range(15)]
    assert "5 more" in shown(show_letters.codes_table(letters))
    counts = {f"code_{n}": 2000 for n in range(15)}
    told = show_letters.counted(counts)
    assert told.startswith("2,000 of code_0, ")
    assert told.endswith(", 5 other reasons")
    assert show_letters.counted({"bad": 1}) == "1 of bad"


def test_a_letter_tells_how_often_it_died_and_what_was_done() -> None:
    letter, died = marked()
    text = shown(show_letters.letter_table(letter, died, "none"), 200)
    assert "after 4 attempts, 3 times" in text
    assert "discarded" in text


def test_a_letter_of_unknown_lane_says_so() -> None:
    letter, died = a_letter(lane="")
    assert "unknown" in shown(show_letters.letter_table(letter, died, "none"))


def test_a_long_value_is_cut_in_the_terminal() -> None:
    value = show_letters.readable_value(b"x", {str(n): n for n in range(200)}, "")
    letter, died = a_letter()
    text = shown(show_letters.letter_table(letter, died, value), 200)
    assert "142 more lines; --json has all" in text


def test_a_value_is_shown_decoded_or_byte_for_byte_or_said_to_be_absent() -> None:
    when = datetime(2026, 11, 25, tzinfo=UTC)
    decoded = show_letters.readable_value(b"x", {"at": when, "raw": b"\xff"}, "")
    assert json.loads(decoded) == {"at": "2026-11-25T00:00:00+00:00", "raw": "b'\\xff'"}
    lines = show_letters.readable_value(bytes(range(256)) * 2, None, "not decoded").splitlines()
    assert (lines[0], lines[1][:8], lines[-1]) == ("not decoded", "00 01 02", "…")
    assert len(lines) == 18
    assert show_letters.readable_value(None, None, "") == "none"
    assert show_letters.readable_value(None, None, "gone") == "gone"


def test_a_program_gets_times_in_one_form_and_a_value_in_base64() -> None:
    letter, died = marked()
    whole = json.loads(show_letters.as_text(show_letters.as_json_whole(letter, died, None)))
    assert whole["died_at"] == "2026-11-24T12:00:00.000+00:00"
    assert whole["marks"][0]["at"] == "2026-11-24T12:01:40.000+00:00"
    assert (whole["value_base64"], whole["value"]) == ("G1szMW1qdW5r", None)
    assert whole["place"] == {"partition": 0, "offset": 5}
    absent = show_letters.as_json_whole(letter, died._replace(value=None), {"a": 1})
    assert (absent["value_base64"], absent["value"]) == (None, {"a": 1})


def test_a_program_gets_a_report_with_what_is_left() -> None:
    report = Report(5, {"bad": 5}, done=2, failed=[("id", "why")], stopped="asked to stop")
    told = show_letters.report_json(report)
    assert (told["untouched"], told["failed"]) == (2, [{"id": "id", "reason": "why"}])
    assert (told["done"], told["stopped"]) == (2, "asked to stop")


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("3d", 259200)]
)
def test_a_moment_may_be_so_long_ago(text: str, seconds: int) -> None:
    ago = datetime.now(UTC).timestamp() - dlq_options.moment(text) / 1000
    assert seconds - 1 <= ago <= seconds + 60


def test_a_moment_may_be_a_date_and_time() -> None:
    assert dlq_options.moment("2026-11-25T14:30:00+00:00") == 1_795_617_000_000
    local = datetime(2026, 11, 25, 14, 30).astimezone()
    assert dlq_options.moment("2026-11-25T14:30") == int(local.timestamp() * 1000)


@pytest.mark.parametrize("text", ["", "soon", "5", "5w", "2026-13-01"])
def test_what_is_no_moment_is_explained(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 30m, 2h, 3d"):
        dlq_options.moment(text)


def test_a_speed_is_a_rate() -> None:
    assert dlq_options.rate("50/s") == Rate(50.0, 50)
    with pytest.raises(typer.BadParameter, match="is no rate"):
        dlq_options.rate("fast")


def test_every_service_that_gives_up_can_be_named() -> None:
    assert set(dlq_options.services()) == {
        "intake",
        "detector",
        "ocr",
        "embedder",
        "aggregator",
        "trainer",
        "gateway",
    }


def test_ctrl_c_asks_once_and_ends_the_program_the_second_time() -> None:
    before = signal.getsignal(signal.SIGINT)
    with dlq.stoppable() as stop:
        signal.raise_signal(signal.SIGINT)
        assert isinstance(stop, threading.Event)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
