"""`python -m trainer`."""

from trainer.app import run
from trainer.settings import Settings


def main() -> None:
    """Run until asked to stop."""
    run(Settings.from_command_line("python -m trainer"))


if __name__ == "__main__":
    main()
