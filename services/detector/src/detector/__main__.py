"""`python -m detector`."""

import os
import sys

from detector.app import run
from detector.settings import Settings
from streamkit import EngineLoadError


def main() -> int:
    """Run until asked to stop. Exit code 78 (EX_CONFIG of sysexits.h) where the engine can't be
    loaded, which is in the log by then: to start it again as it is set would be in vain."""
    settings = Settings.from_command_line("python -m detector")
    try:
        run(settings)
    except EngineLoadError:
        return os.EX_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main())
