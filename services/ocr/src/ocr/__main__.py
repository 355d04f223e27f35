"""`python -m ocr`."""

import sys

from ocr.app import run
from ocr.settings import Settings
from streamkit import UnknownEngineError


def main() -> str | None:
    """Run until asked to stop; a sentence where the settings name no engine."""
    settings = Settings.from_command_line("python -m ocr")
    try:
        run(settings)
    except UnknownEngineError as error:
        return f"ocr: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main())
