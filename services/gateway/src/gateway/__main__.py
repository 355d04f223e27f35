"""`python -m gateway api|recorder|control|migrate`."""

import sys

from gateway.app import run
from gateway.command import Command

if __name__ == "__main__":
    sys.exit(run(Command.from_command_line("python -m gateway")))
