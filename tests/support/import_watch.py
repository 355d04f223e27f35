"""An import into a running stack, as seen from outside of it, whatever is away for a moment."""

import io
import time
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import psycopg
from PIL import Image
from psycopg.rows import dict_row

from darkroom_cli.stack import Stack

_AWAY_S: Final = 120.0
"""So long the catalog may be away."""

SUPPORT: Final = Path(__file__).parent


def stub_environment(folder: Path) -> dict[str, str]:
    """Settings of a stack with stub engines that may import from `folder`, a few photos at a time,
    so that an import lasts until all the harm is done."""
    return {
        "DARKROOM_DETECTOR_ENGINE": "stub_engines:detector",
        "DARKROOM_OCR_ENGINE": "stub_engines:ocr",
        "DARKROOM_EMBEDDER_ENGINE": "stub_engines:embedder",
        "DARKROOM_IMPORT_ROOTS": f'["{folder}"]',
        "DARKROOM_IMPORT_IN_FLIGHT": "8",
        "PYTHONPATH": str(SUPPORT),
    }


def fill_with_photos(folder: Path, count: int) -> None:
    """So many photos, `000.jpg` and so on."""
    for number in range(count):
        (folder / f"{number:03}.jpg").write_bytes(photo(number, count))


def photo(number: int, of: int) -> bytes:
    """A small picture of its own, the brighter the higher its number is: the confidence of the
    stub engines."""
    noise = np.random.default_rng(number).integers(0, 50, (96, 128, 3))
    pixels = np.clip(noise + number * 205 // of, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def start_import(stack: Stack, folder: Path) -> str:
    """Ask for the import of a folder; its id."""
    answer = httpx.post(
        f"{stack.addresses['api']}/v1/imports", json={"paths": [str(folder)]}, timeout=30
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["batch_id"])


def rows(stack: Stack, query: str, *values: object) -> list[dict[str, Any]]:
    """Ask the catalog; it may be away for a moment."""
    deadline = time.monotonic() + _AWAY_S
    while True:
        try:
            with psycopg.connect(stack.addresses["database"], row_factory=dict_row) as conn:
                return conn.execute(query, values).fetchall()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def ended(stack: Stack, batch: str) -> int:
    """Files of the import that have their end in the catalog."""
    query = (
        "SELECT count(*) AS n FROM batch_items"
        " WHERE batch_id = %s AND (state <> 'submitted' OR ended IS NOT NULL)"
    )
    return int(rows(stack, query, batch)[0]["n"])


def state_of(stack: Stack, batch: str) -> str:
    """The state of the import in the catalog."""
    return str(rows(stack, "SELECT state FROM batches WHERE batch_id = %s", batch)[0]["state"])
