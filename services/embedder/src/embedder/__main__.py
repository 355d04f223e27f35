"""`python -m embedder`."""

import sys

from embedder.app import run
from embedder.settings import Settings
from streamkit import UnknownEngineError


def main() -> str | None:
    """Run until asked to stop; a sentence where the settings name no engine."""
    settings = Settings.from_command_line("python -m embedder")
    try:
        run(settings)
    except UnknownEngineError as error:
        return f"embedder: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main())
