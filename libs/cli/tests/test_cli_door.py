"""Which folders the gateway may read: what `darkroom import` writes down for it."""

import os
from pathlib import Path

import pytest

from darkroom_cli.client import GatewayError
from darkroom_cli.door import allow, allowed, forbid
from darkroom_cli.paths import DataFolder

ROOTS = [Path("/photos"), Path("/pics\n/etc"), Path("/a\u2028/b"), Path('/café "x"')]
WRITTEN = b'"/photos"\n"/pics\\n/etc"\n"/a\\u2028/b"\n"/caf\\u00e9 \\"x\\""\n'
"""Stands in the tests of the gateway, which reads it, too."""


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    made = DataFolder(tmp_path)
    made.run.mkdir()
    return made


def test_a_folder_is_one_line_whatever_its_name(data: DataFolder) -> None:
    allow(ROOTS, data)
    assert data.import_roots_file.read_bytes() == WRITTEN
    assert data.import_roots_file.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_allowed_already_is_not_written_again(data: DataFolder) -> None:
    allow(ROOTS[:2], data)
    allow(ROOTS, data)
    assert data.import_roots_file.read_bytes() == WRITTEN


def test_what_an_error_ends_leaves_nothing_allowed_that_was_not(data: DataFolder) -> None:
    allow(ROOTS[:1], data)
    before = data.import_roots_file.read_bytes()
    with pytest.raises(GatewayError), allowed(ROOTS, data):
        raise GatewayError("no")
    assert data.import_roots_file.read_bytes() == before
    with allowed(ROOTS, data):
        pass
    forbid(ROOTS[1:], data)
    assert data.import_roots_file.read_bytes() == before
    assert data.import_roots_file.stat().st_mode & 0o777 == 0o600


def test_a_line_without_an_end_does_not_swallow_the_next_one(data: DataFolder) -> None:
    data.import_roots_file.write_bytes(b'"/half')
    allow(ROOTS, data)
    assert data.import_roots_file.read_bytes() == b'"/half\n' + WRITTEN


def test_bytes_that_are_no_text_are_left_alone(data: DataFolder) -> None:
    data.import_roots_file.write_bytes(b"/caf\xe9\n")
    allow(ROOTS, data)
    assert data.import_roots_file.read_bytes() == b"/caf\xe9\n" + WRITTEN


def test_a_name_that_can_not_be_sent_is_said(data: DataFolder) -> None:
    with pytest.raises(GatewayError, match="not UTF-8"):
        allow([Path(os.fsdecode(b"/caf\xe9"))], data)
    assert not data.import_roots_file.exists()


def test_without_a_stack_nothing_is_written(tmp_path: Path) -> None:
    allow(ROOTS, DataFolder(tmp_path))
    assert list(tmp_path.iterdir()) == []
