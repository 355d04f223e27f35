"""The gateway's doors. Each is wired in the `app` of its package.

A door imports what it needs when it is opened, so that the recorder carries no web server and no
door the migrations' libraries.
"""

from gateway.command import Command


def run(command: Command) -> None:
    """Run a door until it is told to stop, or a command to its end; raises what broke it."""
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
            import sys

            from gateway.migrate_command import run_migrate

            sys.exit(run_migrate(command, sys.stdout))
        case "keys":
            import sys

            from gateway.keys_command import run_keys

            sys.exit(run_keys(command.database, sys.stdin, sys.stdout))
        case "backup" | "restore":
            import sys

            from gateway.backup_command import run_backup

            sys.exit(run_backup(command, sys.stdout))
