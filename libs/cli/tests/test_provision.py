"""Getting jars and programs, with a pretended Maven."""

import threading
from pathlib import Path

import pytest

from darkroom_cli.errors import SetupError
from darkroom_cli.provision.jars import fetch_jars, jars_folder
from darkroom_cli.provision.system import what_to_install

GOOD_MAVEN = """\
#!/bin/sh
echo run >> "$COUNT"
for word; do case $word in -Ddarkroom.out=*) out=${word#-Ddarkroom.out=};; esac; done
mkdir -p "$out/kafka" "$out/registry"
"""


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `mvn` on the path; the test writes it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "mvn"
    program.write_text(GOOD_MAVEN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    return program


def silent(_: str) -> None:
    return None


def test_jars_appear_complete_and_are_fetched_once_by_two_starts(
    maven: Path, tmp_path: Path
) -> None:
    pom = tmp_path / "pom.xml"
    pom.write_text("<project/>")
    target = jars_folder(tmp_path / "cache", pom)
    starts = [
        threading.Thread(target=fetch_jars, args=(pom, target, tmp_path, silent)) for _ in range(2)
    ]
    for start in starts:
        start.start()
    for start in starts:
        start.join(20)
    assert sorted(entry.name for entry in target.iterdir()) == ["kafka", "registry"]
    assert (tmp_path / "count").read_text() == "run\n"


def test_another_pom_gets_another_folder(tmp_path: Path) -> None:
    one, other = tmp_path / "a.xml", tmp_path / "b.xml"
    one.write_text("<a/>")
    other.write_text("<b/>")
    assert jars_folder(tmp_path, one) != jars_folder(tmp_path, other)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("repo: Unknown host repo.example", "could not reach its repository"),
        ("java.io.IOException: No space left on device", "disk is full"),
        ("Unsupported class version", "Maven failed"),
    ],
)
def test_a_failed_maven_is_explained_and_leaves_no_jars(
    maven: Path, tmp_path: Path, words: str, cause: str
) -> None:
    maven.write_text(f"#!/bin/sh\necho '{words}'\nexit 1\n")
    pom = tmp_path / "pom.xml"
    pom.write_text("<project/>")
    target = jars_folder(tmp_path / "cache", pom)
    with pytest.raises(SetupError, match=cause):
        fetch_jars(pom, target, tmp_path, silent)
    assert not target.exists()


def test_what_is_missing_is_named_for_three_systems() -> None:
    cause, cure = what_to_install(["redis-server", "mvn"])
    assert cause == "Missing on this machine: redis-server, mvn."
    assert "sudo apt-get install redis-server maven" in cure
    assert "sudo dnf install valkey maven" in cure
    assert "brew install redis maven" in cure
