"""A running platform as its users meet it: the REST API, git over SSH, the edge, the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from standalone.home import Config, Home

T = TypeVar("T")
GIT = {
    "GIT_AUTHOR_NAME": "Mina",
    "GIT_AUTHOR_EMAIL": "mina@example.org",
    "GIT_COMMITTER_NAME": "Mina",
    "GIT_COMMITTER_EMAIL": "mina@example.org",
    "GIT_TERMINAL_PROMPT": "0",
}

# A web process of the standard library alone: answers with its release and GREETING, ends politely at SIGTERM.
WEB = """\
import os, signal, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        words = os.environ["WORKFLOW_RELEASE"], os.environ.get("GREETING", "-"), open("VERSION").read().strip()
        body = " ".join(words).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
server.daemon_threads = False
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("listening", flush=True)
server.serve_forever()
server.server_close()
"""
WORKER = """\
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("worker", os.environ["WORKFLOW_RELEASE"], "started", flush=True)
while True:
    time.sleep(1)
"""
GOOD = {
    "web.py": WEB,
    "worker.py": WORKER,
    "VERSION": "one",
    "Procfile": "web: python3 web.py\nworker: python3 worker.py\n",
}


def workflow(
    home: Path, *arguments: str, timeout: float = 120, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the `workflow` command on a data directory."""
    return subprocess.run(
        [sys.executable, "-m", "standalone.cli", *arguments],
        env=os.environ | {"WORKFLOW_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "200"} | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def eventually(probe: Callable[[], T | None], what: str, *, seconds: float = 40.0) -> T:
    """The first truthy answer of `probe`; fails the test when none comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}; last answer {answer!r}")
        time.sleep(0.05)


@dataclass
class User:
    """A signed-in user with an SSH key of their own."""

    name: str
    http: httpx.Client
    key: Path

    def call(self, method: str, path: str, *, expect: int, **options: Any) -> Any:
        """One API call that must answer `expect`; gives its JSON, or None."""
        response = self.http.request(method, path, **options)
        assert response.status_code == expect, (method, path, response.status_code, response.text)
        return response.json() if response.content else None


@dataclass
class Live:
    """One running platform."""

    home: Home
    config: Config
    root: Path
    users: dict[str, User] = field(default_factory=dict)

    def http(self, host: str, **options: Any) -> httpx.Client:
        """A client of the edge for one host."""
        # Like the released client: a connection for each request.
        headers = {"Host": self.config.url(host).removeprefix("http://"), "Connection": "close"}
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.config.http_port}",
            headers=headers,
            trust_env=False,
            timeout=30,
            **options,
        )

    def answer(self, app: str, path: str = "/") -> tuple[int, str]:
        """Status and text of one request to an app."""
        with self.http(app) as client:
            response = client.get(path)
        return response.status_code, response.text

    def make_user(self, name: str, password: str | None = None) -> User:
        """Sign a user in as the released client does; give them a key, registered with the platform."""
        if name != self.config.admin_username:
            self._create_account(name)
            password = f"password-of-{name}"
        client = self.http("drycc")
        key = self.root / f"key-{name}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
        user = User(name, client, key)
        login = user.call("POST", "/v2/auth/login/", expect=200, json={"username": name, "password": password})
        token = user.call("GET", f"/v2/auth/token/{login['key']}/", expect=200, params={"alias": "workflow-cli"})
        client.headers["Authorization"] = f"token {token['token']}"
        user.call("POST", "/v2/keys/", expect=201, json={"id": name, "public": key.with_suffix(".pub").read_text()})
        self.users[name] = user
        return user

    def _create_account(self, name: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "standalone.cli", "users", "create", name, "--email", f"{name}@example.org"],
            env=os.environ | {"WORKFLOW_HOME": str(self.home.path)},
            input=f"password-of-{name}\n",
            text=True,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr

    def repository(self, name: str, files: Mapping[str, str]) -> Path:
        """A git repository with one commit of these files."""
        path = self.root / name
        path.mkdir()
        self.git(path, "init", "-q", "--initial-branch=main")
        self.commit(path, files)
        return path

    def commit(self, repository: Path, files: Mapping[str, str]) -> None:
        """Commit these files on top of what is there."""
        for file, text in files.items():
            (repository / file).parent.mkdir(parents=True, exist_ok=True)
            (repository / file).write_text(text)
        self.git(repository, "add", "-A")
        self.git(repository, "commit", "-q", "-m", "change")

    def git(self, repository: Path, *arguments: str) -> str:
        """Run git in a repository; it must succeed."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=repository,
            env=os.environ | GIT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def push_command(self, app: str, refspec: str = "HEAD:refs/heads/main", *options: str) -> list[str]:
        """The command line of a push to an app."""
        return ["git", "push", *options, f"ssh://git@127.0.0.1:{self.config.ssh_port}/{app}.git", refspec]

    def push_environment(self, key: Path) -> dict[str, str]:
        """Environment in which git uses this key and knows the platform's host keys."""
        known = self.root / "known_hosts"
        known.write_text(
            "".join(
                f"[127.0.0.1]:{self.config.ssh_port} {' '.join(file.read_text().split()[:2])}\n"
                for file in sorted(self.home.ssh.glob("*.pub"))
            )
        )
        ssh = f"ssh -F /dev/null -i {key} -o IdentitiesOnly=yes -o UserKnownHostsFile={known} -o BatchMode=yes"
        return {**os.environ, **GIT, "GIT_SSH_COMMAND": ssh}

    def push(
        self, user: User, repository: Path, app: str, refspec: str = "HEAD:refs/heads/main", *options: str
    ) -> subprocess.CompletedProcess[str]:
        """`git push` as a user; status and output are the caller's to judge."""
        return subprocess.run(
            self.push_command(app, refspec, *options),
            cwd=repository,
            env=self.push_environment(user.key),
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )

    def releases(self, user: User, app: str) -> list[dict[str, Any]]:
        """All releases of an app, newest first."""
        return list(user.call("GET", f"/v2/apps/{app}/releases/", expect=200)["results"])

    def pods(self, user: User, app: str, ptype: str = "web") -> list[dict[str, Any]]:
        """Processes of one type, without those that are on their way out."""
        pods = user.call("GET", f"/v2/apps/{app}/pods/", expect=200)["results"]
        return [pod for pod in pods if pod["type"] == ptype and pod["state"] != "terminating"]
