"""`python -m ocr`."""

import sys

from ocr.app import run
from ocr.settings import Settings
from streamkit import EngineLoadError


def main() -> str | None:
    """Run until asked to stop; a sentence where the engine can't be loaded."""
    settings = Settings.from_command_line("python -m ocr")
    try:
        run(settings)
    except EngineLoadError as error:
        return f"ocr: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main())
