"""The data directory: where everything of one platform stands, and its configuration with the generated secrets."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import string
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from cryptography.fernet import Fernet

from standalone.errors import AlreadyRunningError, HomeNotUsableError
from standalone.postgres import MAX_SOCKET_PATH

DEFAULT_HTTP_PORT = 8000
DEFAULT_SSH_PORT = 2222
MIN_FREE_BYTES = 256 * 1024 * 1024
# What a platform's directory holds; with anything else in it, it is somebody else's.
_ENTRIES = {
    *("config.json", "config.tmp", "platform.lock", ".writable", "run", "postgres", "logs", "caddy", "repos"),
    *("workspaces", "caches", "build-logs", "ssh", "demo", "controller-keys.json", "controller-keys.tmp"),
}

_FORMER_KEY = "controller_encryption_key"  # where the controller's key stood before it could be rotated


def default_home() -> Path:
    """`WORKFLOW_HOME`, or `~/.workflow`."""
    return Path(os.environ.get("WORKFLOW_HOME") or Path.home() / ".workflow").expanduser().absolute()


def connect_host(bind: str) -> str:
    """The address at which this machine reaches a listener on `bind`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(bind, bind)  # noqa: S104 - compared, not bound


def _password() -> str:
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(20))


def _write(file: Path, text: str) -> None:
    """Replace a file that only its owner may read."""
    temporary = file.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)


def _fernet_key() -> str:
    return Fernet.generate_key().decode()


@dataclass
class Config:
    """`config.json`: made at the first start, kept for good. Holds secrets, so it is readable by its owner alone."""

    http_port: int = DEFAULT_HTTP_PORT
    ssh_port: int = DEFAULT_SSH_PORT
    bind: str = "127.0.0.1"
    domain: str = "localhost"
    home_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    admin_username: str = "admin"
    admin_password: str = field(default_factory=_password)
    controller_client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    builder_client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    passport_encryption_key: str = field(default_factory=_fernet_key)

    def url(self, label: str) -> str:
        """Public URL of one host of the platform, for instance of an app."""
        port = "" if self.http_port == 80 else f":{self.http_port}"
        return f"http://{label}.{self.domain}{port}"


class Home:
    """Paths below one data directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.json"
        self.key_ring = path / "controller-keys.json"
        self.lock_file = path / "platform.lock"
        self.run = path / "run"
        self.postgres = path / "postgres"
        self.postgres_socket = path / "run" / "pg"
        self.logs = path / "logs"
        self.app_logs = path / "logs" / "apps"
        self.platform_log = path / "logs" / "platform.log"
        self.postgres_log = path / "logs" / "postgres.log"
        self.caddy_log = path / "logs" / "caddy.log"
        self.caddy = path / "caddy"
        self.edge = path / "run" / "edge"
        self.repos = path / "repos"
        self.workspaces = path / "workspaces"
        self.caches = path / "caches"
        self.build_logs = path / "build-logs"
        self.ssh = path / "ssh"
        self.demo = path / "demo"

    def socket(self, service: str) -> Path:
        """Unix socket on which a service answers HTTP."""
        return self.run / f"{service}.sock"

    def exists(self) -> bool:
        """Whether a platform was ever started here."""
        return self.config_file.exists()

    def prepare(self) -> None:
        """Make the directory, or say why it cannot be used.

        Raises:
            HomeNotUsableError: not writable, somebody else's, its path too long for sockets, or disk nearly full.
        """
        if len(str(self.postgres_socket)) > MAX_SOCKET_PATH:
            raise HomeNotUsableError(
                f"the path {self.path} is too long for unix sockets; set WORKFLOW_HOME to a shorter one"
            )
        if self.path.is_dir() and not {entry.name for entry in self.path.iterdir()} <= _ENTRIES:
            raise HomeNotUsableError(f"{self.path} holds other files; set WORKFLOW_HOME to an empty or a new directory")
        try:
            for directory in (self.path, self.run, self.logs, self.app_logs, self.caddy):
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self.path / ".writable"
            probe.write_text("")
            probe.unlink()
        except OSError as exc:
            raise HomeNotUsableError(
                f"cannot write to {self.path} ({exc.strerror}); set WORKFLOW_HOME to a directory of yours"
            ) from exc
        free = shutil.disk_usage(self.path).free
        if free < MIN_FREE_BYTES:
            needed = MIN_FREE_BYTES // 2**20
            raise HomeNotUsableError(
                f"the disk of {self.path} is full ({free // 2**20} MiB left, {needed} MiB needed): free some space"
            )

    def load(self) -> Config:
        """The configuration; made now, with the keys of the controller, if this is the first start.

        Raises:
            HomeNotUsableError: the file is damaged.
        """
        if not self.config_file.exists():
            if not self.key_ring.exists():
                self.save_key_ring([_fernet_key()])
            config = Config()
            self.save(config)
            return config
        try:
            raw = json.loads(self.config_file.read_text())
            known = {item.name for item in fields(Config)}
            config = Config(**{name: value for name, value in raw.items() if name in known})
        except (OSError, ValueError, TypeError, AttributeError) as exc:
            raise HomeNotUsableError(
                f"{self.config_file} cannot be read ({exc}); restore it, or `workflow reset` to start anew"
            ) from exc
        if (key := raw.get(_FORMER_KEY)) is not None:
            if not self.key_ring.exists():
                self.save_key_ring([key])
            self.save(config)
        return config

    def save(self, config: Config) -> None:
        """Write the configuration so that a crash leaves the old file or the new one, never half of it."""
        _write(self.config_file, json.dumps(asdict(config), indent=2))

    def save_key_ring(self, keys: list[str]) -> None:
        """Write the controller's encryption keys, the first of which encrypts, in the same way."""
        _write(self.key_ring, json.dumps(keys, indent=2))

    def running_pid(self) -> int | None:
        """Process id of the platform that holds this directory, or None."""
        if not self.lock_file.exists():
            return None
        with self.lock_file.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdigit() else None
        return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process; the kernel lets go of it when the process ends, however it ends.

        Raises:
            AlreadyRunningError: another platform holds it.
        """
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = file.read().strip() or "unknown"
                raise AlreadyRunningError(
                    f"a platform (process {owner}) runs on {self.path} already;"
                    " stop it with `workflow down`, or set another WORKFLOW_HOME"
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            try:
                yield
            finally:
                file.seek(0)
                file.truncate(0)
