"""The gateway's doors. Each is wired in the `app` of its package.

A door imports what it needs when it is opened, so that the recorder carries no web server and no
door the migrations' libraries.
"""

from gateway.command import Command


def run(command: Command) -> None:
    """Run a door until it is told to stop, or migrate; raises what broke it."""
    match command.door:
        case "api":
            from gateway.api.app import run_api

            run_api(command)
        case "recorder":
            from gateway.recorder.app import run_recorder

            run_recorder(command)
        case "control":
            from gateway.control.app import run_control

            run_control(command)
        case "migrate":
            from gateway import migrations

            move = migrations.downgrade if command.down else migrations.upgrade
            move(command.database)
        case "keys":
            import sys

            from gateway.keys_command import run_keys

            sys.exit(run_keys(command.database, sys.stdin, sys.stdout))
