"""Where things lie: the repository, the data folder, the cache shared by all data folders."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from darkroom_cli.errors import SetupError
from darkroom_cli.settings import CliSettings

_PRIVATE = 0o700


def repository_root() -> Path:
    """The checkout that this command belongs to (packages are installed editable)."""
    root = Path(__file__).resolve().parents[4]
    if not (root / "deploy" / "local" / "pom.xml").is_file():
        raise SetupError(
            f"{root} is not a Darkroom checkout.",
            "Run ./darkroom from a clone of the repository.",
        )
    return root


def cache_folder() -> Path:
    """Folder for downloads that all clones and data folders of this user share."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "darkroom"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The one folder that holds everything a stack writes.

    `run` (state, ports, secrets) and `objects` (photographs) are private to their owner.
    """

    root: Path

    @classmethod
    def at(cls, chosen: Path | None = None) -> Self:
        """The folder given, else DARKROOM_HOME, else `.darkroom/` in the checkout."""
        return cls((chosen or CliSettings().home or repository_root() / ".darkroom").resolve())

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def kafka(self) -> Path:
        return self.root / "kafka"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def prometheus(self) -> Path:
        return self.root / "prometheus"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def kept(self) -> tuple[Path, ...]:
        """Folders of what a restore brings, and of what would not fit to it any more."""
        return (self.kafka, self.postgres, self.redis, self.objects, self.cache)

    @property
    def state_file(self) -> Path:
        return self.run / "state.json"

    @property
    def import_roots_file(self) -> Path:
        """Folders that `darkroom import` was asked for, a JSON string a line: the gateway may read
        them."""
        return self.run / "import-roots"

    @property
    def lock_file(self) -> Path:
        return self.run / "supervisor.lock"

    def log_file(self, name: str) -> Path:
        """The current log of one process; older ones end in .1 and .2."""
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Make the folders that do not exist yet; `postgres` is made by initdb's step.

        Raises SetupError when the place can't be written.
        """
        try:
            for folder in (self.root, self.logs, self.kafka, self.redis, self.cache):
                folder.mkdir(parents=True, exist_ok=True)
            for folder in (self.run, self.objects):
                folder.mkdir(mode=_PRIVATE, exist_ok=True)
                folder.chmod(_PRIVATE)
        except OSError as error:
            raise SetupError(
                f"Can't make the data folder {self.root}: {error.strerror}.",
                "Choose another with --data FOLDER or DARKROOM_HOME.",
            ) from error
