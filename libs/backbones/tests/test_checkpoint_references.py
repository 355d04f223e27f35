"""How a setting names a checkpoint."""

from pathlib import Path

import pytest

from backbones.references import CheckpointError, Reference, parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHA256 = "ab" * 32


def test_a_folder_is_named_by_its_path(tmp_path: Path) -> None:
    assert parse(str(tmp_path)) == Reference(tmp_path, "", "", "")


def test_a_folder_may_be_named_from_here_and_from_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "siglip").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse("models/siglip").folder == Path("models/siglip")
    assert parse("~/models/siglip").folder == tmp_path / "models" / "siglip"


def test_a_model_of_a_hub_is_named_by_its_id_and_commit() -> None:
    assert parse(f"google/siglip-so400m@{COMMIT}") == Reference(
        None, "google/siglip-so400m", COMMIT, ""
    )


def test_both_may_be_pinned_by_the_hash_of_their_manifest(tmp_path: Path) -> None:
    assert parse(f"{tmp_path}#sha256:{SHA256}") == Reference(tmp_path, "", "", SHA256)
    assert parse(f"a/b@{COMMIT}#sha256:{SHA256}") == Reference(None, "a/b", COMMIT, SHA256)


@pytest.mark.parametrize("revision", ["", "@main", "@v1.0", f"@{COMMIT[:12]}"])
def test_a_name_that_may_mean_other_weights_tomorrow_is_refused_with_what_to_write(
    revision: str,
) -> None:
    with pytest.raises(CheckpointError, match=r"write a/b@ and the 40 hex digits.*allow_names"):
        parse(f"a/b{revision}")


def test_names_are_taken_where_they_are_allowed() -> None:
    assert parse("a/b", allow_names=True).revision == "main"
    assert parse("a/b@v1.0", allow_names=True).revision == "v1.0"


@pytest.mark.parametrize("text", ["", "/no/such/folder", "siglip", "a/b/c@main", "a/b@", "x y/z"])
def test_what_names_neither_a_folder_nor_a_model_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match=r"There is no folder .*owner/name@COMMIT"):
        parse(text)


@pytest.mark.parametrize("digest", ["", "12", "AB" * 32, "ab" * 33])
def test_half_a_hash_is_refused(tmp_path: Path, digest: str) -> None:
    with pytest.raises(CheckpointError, match="64 hex digits"):
        parse(f"{tmp_path}#sha256:{digest}")
