"""OpenSSH's server for `make bench-push`: the same repositories, the same git and the same hook behind it.

It is Debian's program: the one of $SSHD, the installed one, or one that is unpacked from the package and not
installed. It runs with a configuration of its own on a high port.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import psutil

from builder.git.environment import GitEnvironment
from builder.git.hooks import HookRequest, HookServer, HookWriter
from builder.settings import HOOK_SOCKET

HOST = "127.0.0.1"
_START_SECONDS = 20.0
_CONFIGURATION = """
ListenAddress {host}:{port}
HostKey {base}/host_key
AuthorizedKeysFile {base}/authorized_keys
ForceCommand {base}/serve
PidFile none
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
MaxStartups 100
LogLevel FATAL
"""
# What the builder does for a push, in the order in which it does it; anything else is refused.
_SERVE = """#!/bin/sh
case "$SSH_ORIGINAL_COMMAND" in
"git-receive-pack '/"*".git'") ;;
*) echo "refused" >&2; exit 1 ;;
esac
app=${{SSH_ORIGINAL_COMMAND#*/}}
repository={repos}/${{app%\\'}}
if [ ! -d "$repository" ]; then
  mkdir -p "$repository/objects/info" "$repository/objects/pack" "$repository/refs/heads" "$repository/refs/tags"
  printf '[core]\\n\\trepositoryformatversion = 0\\n\\tfilemode = true\\n\\tbare = true\\n' > "$repository/config"
  echo 'ref: refs/heads/main' > "$repository/HEAD"
fi
token=$(cat "{base}/tokens/${{app%\\'}}")
exec env -i {environment} BUILDER_TOKEN="$token" git receive-pack "$repository"
"""


@dataclass
class Sshd:
    """A running server. `hooks` announces a push, as the builder does."""

    port: int
    process: psutil.Process
    base: Path
    hooks: HookServer[str]


@asynccontextmanager
async def running_sshd(base: Path, *, repos: Path, public_key: Path) -> AsyncIterator[Sshd]:
    """The server, for the block. `base` is an empty directory with a short path.

    Raises:
        SystemExit: there is no such program, or it does not start; says why.
    """
    program = _find(base)
    hooks: HookServer[str] = HookServer(socket=base / HOOK_SOCKET, hooks_dir=base / "git-hooks", handler=_answer)
    await hooks.start()
    port = _free_port()
    _write(base, port=port, repos=repos, public_key=public_key, hooks=hooks)
    process = await asyncio.create_subprocess_exec(
        *_command(program, base), stdin=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    try:
        await _listening(process, port)
        yield Sshd(port, psutil.Process(process.pid), base, hooks)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await hooks.close()


async def _answer(_push: str, _request: HookRequest, hook: HookWriter) -> int:
    await hook.write(b"---> stored\n")
    return 0


def _find(base: Path) -> Path:
    named = os.environ.get("SSHD") or shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if named:
        return Path(named)
    unpacked = base / "package"
    unpacked.mkdir()
    for command in (["apt-get", "download", "openssh-server"], ["sh", "-c", "dpkg-deb -x openssh-server_*.deb ."]):
        is_there = shutil.which(command[0]) is not None
        if not is_there or subprocess.run(command, cwd=unpacked, capture_output=True, check=False).returncode != 0:
            raise SystemExit("there is no sshd to compare with: install openssh-server, or name the program in SSHD")
    return unpacked / "usr/sbin/sshd"


def _write(base: Path, *, port: int, repos: Path, public_key: Path, hooks: HookServer[str]) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(base / "host_key")
    (base / "host_key").chmod(0o600)
    shutil.copy(public_key, base / "authorized_keys")
    (base / "tokens").mkdir()
    (base / "sshd_config").write_text(_CONFIGURATION.format(host=HOST, port=port, base=base))
    environment = GitEnvironment(hooks_dir=hooks.hooks_dir, hook_socket=hooks.socket, max_push_bytes=2**30)
    values = {**environment.serving(token="x", protocol=None)}
    del values["BUILDER_TOKEN"]
    words = shlex.join(f"{name}={value}" for name, value in values.items())
    script = base / "serve"
    script.write_text(_SERVE.format(base=base, repos=repos, environment=words))
    script.chmod(0o755)


def _command(program: Path, base: Path) -> list[str]:
    sshd = [str(program), "-D", "-e", "-f", str(base / "sshd_config")]
    if os.geteuid() != 0:
        return sshd
    # For root it wants a user and a directory, which the package would make: they are put there for it alone.
    users = base / "passwd"
    users.write_text(_users())
    (base / "empty").mkdir(mode=0o755)
    script = (
        f"mount --bind {users} /etc/passwd && mount -t tmpfs none /run && mkdir /run/sshd && exec {shlex.join(sshd)}"
    )
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]


def _users() -> str:
    text = Path("/etc/passwd").read_text()
    return text if "\nsshd:" in text else f"{text.rstrip()}\nsshd:x:64999:65534::/run/sshd:/usr/sbin/nologin\n"


def user() -> str:
    """Who logs in to it."""
    return getpass.getuser()


async def _listening(process: asyncio.subprocess.Process, port: int) -> None:
    try:
        async with asyncio.timeout(_START_SECONDS):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection(HOST, port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                return
    except TimeoutError:
        pass
    raise SystemExit("sshd does not start; what it said stands above")


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as free:
        return int(free.getsockname()[1])
