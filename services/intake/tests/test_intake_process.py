"""Intake as its user starts it, and with the real decode process and a real folder."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

from imaging import DecodeProcess
from intake.app import handlers_with
from intake.settings import Settings
from streamkit import Emit, Message, ObjectStore


def test_help_lists_the_settings() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "intake", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for name in ("--intake-keep-gps", "--objects", "--stores", "--kafka", "--photo-max-pixels"):
        assert name in done.stdout


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_PHOTO_MAX_PIXELS", "1000")
    monkeypatch.setenv("DARKROOM_STORES", '["file:///nas"]')
    settings = Settings.from_command_line("intake", [])
    assert settings.limits.max_pixels == 1000
    assert settings.stores == ("file:///nas",)


def test_a_photo_in_a_folder_goes_through_the_decode_process(
    submitted: Callable[..., Message], photo: bytes, tmp_path: Path
) -> None:
    settings = Settings.model_validate({"objects": f"file://{tmp_path}/objects"})
    store = ObjectStore(settings.objects)
    with DecodeProcess(settings.limits) as decoder:
        intake = handlers_with(settings, store, decoder, decoder.close)
        uri = store.put("originals/beach", photo)
        message = submitted(photo, source_uri=uri)
        handle = cast("Callable[[Message], Sequence[Emit]]", intake.by_topic[message.topic])
        (emit,) = handle(message)
        assert emit.value["rendition_uri"] == uri
        assert store.get(emit.value["thumbnail_uri"], limit=100_000).startswith(b"\xff\xd8")

        missing = submitted(photo, source_uri=f"{settings.objects}/nowhere")
        (emit,) = handle(missing)
        assert emit.value["code"] == "object_missing"
