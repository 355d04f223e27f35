"""`python -m bench.runtime.load TARGET closed|paced …`: writes what it saw to --out as JSON."""

import argparse
import json
from pathlib import Path

from bench.runtime.load import closed, paced
from bench.runtime.load.target import TARGETS, connect


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for each wait")
    kinds = parser.add_subparsers(dest="kind", required=True)
    loop = kinds.add_parser("closed")
    for name in ("photos", "window", "warm-up"):
        loop.add_argument(f"--{name}", type=int, required=True)
    open_loop = kinds.add_parser("paced")
    for name in ("records", "backlog"):
        open_loop.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


def main() -> None:
    """Connect, send, count, write."""
    chosen = _arguments()
    target = connect(chosen.target)
    if chosen.kind == "closed":
        seen = closed.run(
            target, closed.Closed(chosen.photos, chosen.window, chosen.warm_up, chosen.timeout)
        )
    else:
        seen = paced.run(target, paced.Paced(chosen.records, chosen.backlog, chosen.timeout))
    chosen.out.write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main()
