"""`python -m aggregator`: settings, build, run."""

from aggregator.app import SERVICE, run
from aggregator.settings import Settings
from streamkit import Readiness, service_frame


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = Settings.from_command_line(f"python -m {SERVICE}")
    readiness = Readiness("start")
    with service_frame(SERVICE, settings, readiness, readiness.trouble) as stop:
        run(settings, stop, readiness)


if __name__ == "__main__":
    main()
