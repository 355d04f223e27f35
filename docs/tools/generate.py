"""Write the pages of `docs/` that are made of code.

    python -m docs.tools.generate [--check]

`--check` writes nothing and exits with 1 if a page is not what it would write.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs.tools.asyncapi import asyncapi_text
from docs.tools.cli_page import cli_page
from docs.tools.metrics_page import metrics_page
from docs.tools.rest_page import rest_page
from docs.tools.settings_page import settings_page
from docs.tools.topics_page import topics_page

FOLDER: Final = Path(__file__).parents[1] / "reference"

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "topics.md": topics_page,
    "asyncapi.yaml": asyncapi_text,
    "rest.md": rest_page,
    "../metrics.md": metrics_page,
}


def main() -> int:
    """Write or check all pages."""
    check = "--check" in sys.argv[1:]
    stale = []
    for name, make in PAGES.items():
        file, text = FOLDER / name, make()
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            file.write_text(text, encoding="utf-8")
    sys.stdout.write(f"changed: {', '.join(stale) or 'nothing'}\n")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
