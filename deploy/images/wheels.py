"""Build wheels of packages of ours: `python wheels.py OUT FOLDER…`, with the hatchling beside it.

One process for all of them, without environments that an installer would fill from an index.
"""

import os
import sys
from pathlib import Path

from hatchling.build import build_wheel


def main(out: str, *folders: str) -> None:
    """A wheel of each folder, in `out`."""
    here = Path.cwd()
    target = here / out
    target.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        os.chdir(here / folder)
        build_wheel(str(target))


if __name__ == "__main__":
    main(*sys.argv[1:])
