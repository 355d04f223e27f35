"""Write the dashboards that Grafana reads: `python -m deploy.grafana.generate [--check]`.

`--check` writes nothing and exits with 1 if a file is not what it would write, or is too many.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.grafana.boards.gateway import GATEWAY
from deploy.grafana.boards.kafka import KAFKA
from deploy.grafana.boards.models import MODELS
from deploy.grafana.boards.overview import OVERVIEW
from deploy.grafana.boards.pipeline import PIPELINE
from deploy.grafana.boards.review import REVIEW

DASHBOARDS: Final = (OVERVIEW, PIPELINE, KAFKA, MODELS, GATEWAY, REVIEW)

FOLDER: Final = Path(__file__).parent / "dashboards"


def files() -> Mapping[str, str]:
    """Names of all files to their texts."""
    return {
        f"{one.name}.json": json.dumps(one.json(), indent=2, ensure_ascii=False) + "\n"
        for one in DASHBOARDS
    }


def stale(folder: Path = FOLDER) -> list[str]:
    """Files that are not as they should be, sorted."""
    wanted = files()
    found = {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.json")}
    return sorted(
        name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
    )


def main() -> int:
    """Write or check all files."""
    check = "--check" in sys.argv[1:]
    changed = stale()
    for name in () if check else changed:
        text = files().get(name)
        if text is None:
            (FOLDER / name).unlink()
        else:
            (FOLDER / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"changed: {', '.join(changed) or 'nothing'}\n")
    return 1 if changed and check else 0


if __name__ == "__main__":
    sys.exit(main())
