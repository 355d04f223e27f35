"""`python -m embedder`."""

import sys

from embedder.app import run
from embedder.settings import Settings
from streamkit import EngineLoadError


def main() -> str | None:
    """Run until asked to stop; a sentence where the engine can't be loaded."""
    settings = Settings.from_command_line("python -m embedder")
    try:
        run(settings)
    except EngineLoadError as error:
        return f"embedder: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main())
