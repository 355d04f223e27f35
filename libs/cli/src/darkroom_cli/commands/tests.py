"""`darkroom test`."""

from typing import Annotated

import typer

from darkroom_cli.paths import repository_root
from darkroom_cli.provision.system import ensure_programs
from darkroom_cli.suites import SUITES, Result, run_suites

_NAMES = (*(suite.name for suite in SUITES), "all")


def _known(name: str) -> str:
    if name not in _NAMES:
        raise typer.BadParameter(f"choose {', '.join(_NAMES)}")
    return name


def run_tests(
    suite: Annotated[
        str, typer.Argument(callback=_known, help=f"One of {', '.join(_NAMES)}.")
    ] = "all",
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Further arguments for pytest, after `--`.")
    ] = None,
) -> None:
    """Run checks and tests, on services that they start themselves."""
    chosen = [one for one in SUITES if suite in (one.name, "all")]
    ensure_programs([program for one in chosen for program in one.programs], typer.echo)
    results = run_suites(chosen, repository_root(), arguments or ())
    _tell(results)
    if not all(result.good for result in results):
        raise typer.Exit(1)


def _tell(results: list[Result]) -> None:
    typer.echo("")
    for result in results:
        over = "  OVER ITS BUDGET" if result.seconds > result.suite.budget_s else ""
        broken = f"  broken: {'; '.join(result.broken_checks)}" if result.broken_checks else ""
        typer.echo(
            f"{result.suite.name:12} {result.passed:4} passed {result.failed:3} failed "
            f"{result.seconds:6.1f} s of {result.suite.budget_s} s{over}{broken}"
        )
    passed, failed = (sum(getattr(r, name) for r in results) for name in ("passed", "failed"))
    typer.echo(f"{passed} passed, {failed} failed")
