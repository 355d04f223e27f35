"""`python -m intake`."""

from intake.app import run
from intake.settings import Settings


def main() -> None:
    """Run until asked to stop."""
    run(Settings.from_command_line("python -m intake"))


if __name__ == "__main__":
    main()
