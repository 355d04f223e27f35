"""Failures as people read them in a terminal."""

import io

from rich.console import Console

from darkroom_cli import show_failures


def test_an_id_stays_on_one_line_however_long_the_rest_is() -> None:
    """It is copied into the next command."""
    item = {
        **{"failure_id": "a5473df0-6f2e-7c44-9a51-5d0c8f1be001:embedder", "stage": "embedder"},
        **{"file_name": "/Pictures/" + "holidays/" * 20 + "1.jpg", "state": "open"},
        **{"failed_at": "2026-01-01T12:00:00Z", "reason": "It broke. " * 20, "discard": None},
    }
    shown = io.StringIO()
    Console(file=shown, width=60).print(show_failures.items_table([item]))
    assert "a5473df0…:embedder " in shown.getvalue()
