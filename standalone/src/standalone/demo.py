"""Deploy an app from this machine by a real `git push`: the bundled sample, or the user's own repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import httpx

from standalone.client import Client
from standalone.errors import CommandFailedError
from standalone.home import Config, Home, connect_host

SAMPLE_APP = "sample"
_IDENTITY = {
    "GIT_AUTHOR_NAME": "Workflow",
    "GIT_AUTHOR_EMAIL": "sample@localhost",
    "GIT_COMMITTER_NAME": "Workflow",
    "GIT_COMMITTER_EMAIL": "sample@localhost",
}


@dataclass(frozen=True)
class Deployed:
    """What the demonstration ends in."""

    app: str
    url: str
    answer: str
    version: int
    push_seconds: float


class Demo:
    """The bundled sample as a repository of its own below the data directory, with a key of its own."""

    def __init__(self, home: Home, config: Config, *, say: Callable[[str], None]) -> None:
        self._home = home
        self._config = config
        self._say = say
        self.repository = home.demo / "sample"
        self._key = home.demo / "id_ed25519"

    def deploy(self) -> Deployed:
        """Sign in, add the key, create the app, push, ask the edge.

        Raises:
            CommandFailedError: a step failed; the text says which and why.
        """
        self._make_key()
        self._make_repository()
        with Client(self._config) as client:
            client.login_as_admin()
            self._say("Signed in as the administrator")
            client.ensure_key("workflow-sample", self._key.with_suffix(".pub").read_text())
            created = client.ensure_app(SAMPLE_APP)
            self._say(f"{'Created' if created else 'Found'} the app {SAMPLE_APP}")
            started = time.monotonic()
            self.push()
            seconds = time.monotonic() - started
            version = int(str(client.latest_release(SAMPLE_APP)["version"]))
        answer = ask(self._config, SAMPLE_APP)
        return Deployed(SAMPLE_APP, self._config.url(SAMPLE_APP), answer, version, seconds)

    def change(self, text: str) -> None:
        """Commit a change of the sample's source that leaves its dependencies as they are."""
        (self.repository / "REVISION").write_text(text + "\n")
        self._git("add", "-A")
        self._git("commit", "--quiet", "-m", f"Revision {text}")

    def head(self) -> str:
        """The commit that would be pushed."""
        return run(["git", "rev-parse", "HEAD"], cwd=self.repository).strip()

    def push(self, *, quiet: bool = False) -> None:
        """`git push` the sample's main branch; the build's output goes to the terminal unless `quiet`."""
        remote = remote_url(self._config, SAMPLE_APP, host="127.0.0.1")
        command = ["git", "push", "--force", remote, "HEAD:refs/heads/main"]
        done = subprocess.run(
            command,
            cwd=self.repository,
            env=self._environment(),
            check=False,
            capture_output=quiet,
            text=True,
            timeout=900,
        )
        if done.returncode != 0:
            tail = f": {done.stderr[-2000:]}" if quiet else ""
            raise CommandFailedError(f"git push ended with status {done.returncode}{tail}")

    def _environment(self) -> Mapping[str, str]:
        known_hosts = self._home.demo / "known_hosts"
        name = f"[127.0.0.1]:{self._config.ssh_port}" if self._config.ssh_port != 22 else "127.0.0.1"
        keys = [path.read_text().strip() for path in sorted(self._home.ssh.glob("*.pub"))]
        known_hosts.write_text("".join(f"{name} {' '.join(key.split()[:2])}\n" for key in keys))
        options = f"-o IdentitiesOnly=yes -o UserKnownHostsFile='{known_hosts}' -o BatchMode=yes"
        ssh = f"ssh -F /dev/null -i '{self._key}' {options}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return inherited | _IDENTITY | {"GIT_SSH_COMMAND": ssh, "GIT_TERMINAL_PROMPT": "0"}

    def _make_key(self) -> None:
        self._home.demo.mkdir(mode=0o700, exist_ok=True)
        if not self._key.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "workflow-sample", "-f", str(self._key)])

    def _make_repository(self) -> None:
        if (self.repository / ".git").exists():
            return
        shutil.rmtree(self.repository, ignore_errors=True)
        with resources.as_file(resources.files("standalone") / "samples" / "python") as sample:
            shutil.copytree(sample, self.repository, ignore=shutil.ignore_patterns("__pycache__"))
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("add", "-A")
        self._git("commit", "--quiet", "-m", "The bundled sample")

    def _git(self, *arguments: str) -> None:
        run(["git", *arguments], cwd=self.repository, env=self._environment())


def run(command: list[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and give its output.

    Raises:
        CommandFailedError: it is missing, took over a minute, or failed; the text ends with what it said.
    """
    try:
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise CommandFailedError(f"{command[0]} could not be run: {exc}") from exc
    if done.returncode != 0:
        raise CommandFailedError(f"`{' '.join(command[:3])}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def remote_url(config: Config, app: str, *, host: str | None = None) -> str:
    """The git remote of an app, as the released client writes it."""
    return f"ssh://git@{host or f'drycc-builder.{config.domain}'}:{config.ssh_port}/{app}.git"


def ask(config: Config, app: str, path: str = "/") -> str:
    """What the edge answers for an app.

    Raises:
        CommandFailedError: not a 200.
    """
    host = config.url(app).removeprefix("http://")
    address = connect_host(config.bind)
    try:
        with httpx.Client(trust_env=False, timeout=10.0) as client:
            response = client.get(f"http://{address}:{config.http_port}{path}", headers={"Host": host})
    except httpx.HTTPError as exc:
        raise CommandFailedError(f"{config.url(app)} does not answer: {exc}") from exc
    if response.status_code != 200:
        raise CommandFailedError(f"{config.url(app)} answered {response.status_code}: {response.text[:300]}")
    return response.text.strip()
