"""`python -m detector`."""

import sys

from detector.app import run
from detector.settings import Settings
from streamkit import EngineLoadError


def main() -> str | None:
    """Run until asked to stop; a sentence where the engine can't be loaded."""
    settings = Settings.from_command_line("python -m detector")
    try:
        run(settings)
    except EngineLoadError as error:
        return f"detector: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main())
