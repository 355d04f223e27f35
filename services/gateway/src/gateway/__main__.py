"""`python -m gateway api|recorder|control|migrate|keys|backup|restore`: settings, build, run."""

from gateway.app import run
from gateway.command import Command

if __name__ == "__main__":
    run(Command.from_command_line("python -m gateway"))
