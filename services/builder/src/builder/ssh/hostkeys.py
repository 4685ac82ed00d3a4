"""SSH host keys: made once, kept for good, so that clients never see a changed key."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import asyncssh

from shared.settings import SettingsError

_SETTING = "BUILDER_HOST_KEY_DIR"
# Newest first: clients take the first one that they know.
_KINDS = {
    "ssh_host_ed25519_key": ("ssh-ed25519", {}),
    "ssh_host_ecdsa_key": ("ecdsa-sha2-nistp256", {}),
    "ssh_host_rsa_key": ("ssh-rsa", {"key_size": 3072}),
}


def load_host_keys(directory: Path) -> Sequence[asyncssh.SSHKey]:
    """The keys of the directory; missing ones are generated. Blocks: an RSA key takes a while to find.

    Raises:
        SettingsError: the directory cannot be read or written, or a file there is no private key.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return [_load_or_make(directory / name, kind, options) for name, (kind, options) in _KINDS.items()]
    except OSError as exc:
        raise SettingsError(f"{_SETTING}: cannot be used: {exc.filename or directory}: {exc.strerror}") from exc


def _load_or_make(path: Path, kind: str, options: dict[str, int]) -> asyncssh.SSHKey:
    if not path.exists():
        _write_once(path, asyncssh.generate_private_key(kind, comment="workflow-builder", **options))
    try:
        return asyncssh.read_private_key(path)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as exc:
        raise SettingsError(f"{_SETTING}: {path} is no private key without a password: {exc}") from exc


def _write_once(path: Path, key: asyncssh.SSHKey) -> None:
    """Put the complete file in place, unless another process was faster."""
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key.export_private_key())
        os.link(fresh, path)
    except FileExistsError:
        return
    finally:
        Path(fresh).unlink()
    path.with_name(f"{path.name}.pub").write_bytes(key.export_public_key())
