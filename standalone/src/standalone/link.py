"""`workflow link`: from a git repository on this machine to an app that it can be pushed to."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from standalone.client import Client
from standalone.demo import remote_url, run
from standalone.errors import CommandFailedError
from standalone.home import Config, Home, connect_host

REMOTE = "workflow"


@dataclass(frozen=True)
class Linked:
    """URL of the git remote, and whether the app was created for it."""

    remote: str
    is_new: bool


def link_repository(home: Home, config: Config, app: str, *, key: Path | None, directory: Path) -> Linked:
    """Create the app unless it exists, register the key, set the remote.

    Raises:
        CommandFailedError: not a git repository, no key, or the platform refused.
    """
    top = _top(directory)
    public = _public_key(key)
    with Client(config) as client:
        client.login_as_admin()
        client.ensure_key(f"{getpass.getuser()}@{socket.gethostname()}", public)
        is_new = client.ensure_app(app)
    remote = remote_url(config, app, host=_ssh_host(config))
    existing = run(["git", "remote"], cwd=top).split()
    run(["git", "remote", "set-url" if REMOTE in existing else "add", REMOTE, remote], cwd=top)
    _trust_host_keys(home, config)
    return Linked(remote, is_new)


def _top(directory: Path) -> Path:
    try:
        return Path(
            run(["git", "rev-parse", "--show-toplevel"], cwd=directory, env=os.environ | {"LC_ALL": "C"}).strip()
        )
    except CommandFailedError as exc:
        if "not a git repository" not in exc.detail:
            raise
        raise CommandFailedError(f"{directory} is not a git repository; make it one with `git init`") from exc


def _ssh_host(config: Config) -> str:
    return connect_host(config.bind)


def _public_key(key: Path | None) -> str:
    directory = Path.home() / ".ssh"
    candidates = [key] if key else sorted(set(directory.glob("id_*.pub")) - set(directory.glob("*-cert.pub")))
    if not candidates:
        raise CommandFailedError(
            "you have no SSH key in ~/.ssh; make one with `ssh-keygen -t ed25519`, or name one with --key"
        )
    try:
        text = candidates[0].read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise CommandFailedError(f"{candidates[0]} cannot be read: {reason}") from exc
    if not _is_public_key(text):
        raise CommandFailedError(f"{candidates[0]} is not a public SSH key; name the file that ends in .pub")
    return text


def _is_public_key(text: str) -> bool:
    """Whether this is one key in OpenSSH's form."""
    try:
        asyncssh.import_public_key(text)
    except asyncssh.KeyImportError:
        return False
    return "\n" not in text


def _trust_host_keys(home: Home, config: Config) -> None:
    """Enter the platform's host keys, read from its own directory, so that the first push asks nothing."""
    known = Path.home() / ".ssh" / "known_hosts"
    known.parent.mkdir(mode=0o700, exist_ok=True)
    name = f"[{_ssh_host(config)}]:{config.ssh_port}" if config.ssh_port != 22 else _ssh_host(config)
    present = known.read_text().splitlines() if known.exists() else []
    ours = [f"{name} {' '.join(path.read_text().split()[:2])}" for path in sorted(home.ssh.glob("*.pub"))]
    kept = [line for line in present if line.split(" ", 1)[0] != name]
    known.write_text("\n".join([*kept, *ours]) + "\n")
