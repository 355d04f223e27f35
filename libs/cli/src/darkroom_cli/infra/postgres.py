"""PostgreSQL with pgvector: initdb as a step, the server, and its database."""

import os
import pwd
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg

from darkroom_cli.paths import DataFolder
from darkroom_cli.supervision.spec import Kind, NotReadyError, Probe, ProcessSpec

USER = "darkroom"
DATABASE = "darkroom"

# capabilities(7): either lets a process walk through folders of mode 0700 that are not its own.
_READ_SEARCH = ("dac_read_search", 2)
_OVERRIDE = ("dac_override", 1)

_TUNING = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # TCP with a password only; a socket's path may be too long
    "shared_buffers": "64MB",
    "max_connections": "60",
    "fsync": "on",
    "max_wal_size": "256MB",
    "autovacuum_max_workers": "1",
    "jit": "off",
    "max_parallel_workers_per_gather": "1",
    "log_timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the server runs as, and the setpriv options (util-linux) that make it so.

    PostgreSQL refuses to run as root. As root it runs as `nobody`, who may walk through the
    private folders above the data and the programs by one capability, as far as we have it.
    """

    uid: int | None
    options: tuple[str, ...]


def server_account() -> Account:
    """The account for this process's user: itself unless it is root on Linux."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return Account(None, ())
    entry = pwd.getpwnam("nobody")
    options = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    capability = walking_capability(_effective_capabilities())
    if capability:
        options += [f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}"]
    return Account(entry.pw_uid, tuple(options))


def walking_capability(held: int) -> str | None:
    """The weakest capability, out of a bit mask, that allows walking through others' folders."""
    for name, bit in (_READ_SEARCH, _OVERRIDE):
        if held >> bit & 1:
            return name
    return None


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def postgres_specs(
    data: DataFolder, binaries: Path, port: int, password: str
) -> tuple[ProcessSpec, ...]:
    """The server, preceded by initdb where there is no cluster yet.

    initdb works in a folder beside, which is moved into place before the first start: an
    interrupted one leaves nothing that looks like a database.
    """
    account = server_account()
    fresh = data.root / "postgres.new"
    first = (_initdb(data, fresh, binaries, password, account),)
    server = _server(data, fresh, binaries, port, password, account)
    return (server,) if data.postgres.exists() else (*first, server)


def _initdb(
    data: DataFolder, fresh: Path, binaries: Path, password: str, account: Account
) -> ProcessSpec:
    secret = data.run / "database.password"

    def prepare() -> None:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        secret.unlink(missing_ok=True)
        handle = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(password)
        if account.uid is not None:
            os.chown(fresh, account.uid, -1)
            os.chown(secret, account.uid, -1)

    return ProcessSpec(
        name="postgres-init",
        argv=(
            str(binaries / "initdb"),
            f"--pgdata={fresh}",
            f"--username={USER}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
        ),
        kind=Kind.STEP,
        attempts=2,
        launch_with=account.options,
        prepare=prepare,
    )


def _server(
    data: DataFolder, fresh: Path, binaries: Path, port: int, password: str, account: Account
) -> ProcessSpec:
    def prepare() -> None:
        if not data.postgres.exists():
            fresh.rename(data.postgres)
        (data.run / "database.password").unlink(missing_ok=True)

    settings = {**_TUNING, "port": str(port)}
    options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    return ProcessSpec(
        name="postgres",
        argv=(str(binaries / "postgres"), "-D", str(data.postgres), *options),
        after=("postgres-init",),
        port=port,
        stop_signal="INT",  # fast shutdown: clients are disconnected, data is flushed
        orphan_signal="QUIT",  # immediate shutdown: the server ends its own processes
        launch_with=account.options,
        prepare=prepare,
        probe=_database_ready(port, password),
    )


def database_url(port: int, password: str) -> str:
    """The catalog's address."""
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"


def _database_ready(port: int, password: str) -> Probe:
    def connect(name: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=port,
            user=USER,
            password=password,
            dbname=name,
            connect_timeout=3,
            autocommit=True,
        )

    def probe() -> None:
        """Ready means that the database and its extension exist; makes them the first time."""
        try:
            with connect("postgres") as server:
                query = "SELECT 1 FROM pg_database WHERE datname = %s"
                if server.execute(query, (DATABASE,)).fetchone() is None:
                    server.execute(f'CREATE DATABASE "{DATABASE}"')
            with connect(DATABASE) as database:
                database.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.Error as error:
            raise NotReadyError(str(error).strip().splitlines()[0]) from error

    return probe
