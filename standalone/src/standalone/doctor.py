"""`workflow doctor`: is this machine fit to run the platform, and if not, what is to be done."""

from __future__ import annotations

import errno
import os
import platform
import re
import resource
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from standalone.errors import StandaloneError
from standalone.home import MIN_FREE_BYTES, Config, Home


class Verdict(StrEnum):
    """How a check ended: `warn` costs a feature, `fail` means that the platform cannot start."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of the report; `advice` is empty when there is nothing to do."""

    name: str
    verdict: Verdict
    detail: str
    advice: str = ""


def examine(home: Home) -> list[Finding]:
    """Every check, in the order in which a start would meet them."""
    config = home.load() if home.exists() else Config()
    running = home.running_pid()
    checks: list[Callable[[], Finding]] = [
        _python,
        lambda: _home(home),
        lambda: _disk(home.path),
        lambda: _port("HTTP port", config.bind, config.http_port, running, "--port"),
        lambda: _port("SSH port", config.bind, config.ssh_port, running, "--ssh-port"),
        lambda: _program("git", "pushes need it", Verdict.FAIL),
        lambda: _program("ssh", "pushing from this machine needs it", Verdict.WARN),
        lambda: _program("ssh-keygen", "making a key needs it", Verdict.WARN),
        lambda: _resolution(f"drycc.{config.domain}"),
        lambda: _program("npm", "Node apps need it", Verdict.WARN),
        _container_tool,
        _memory_limits,
        _open_files,
        _root_database,
    ]
    return [check() for check in checks]


def failures(findings: list[Finding]) -> Iterator[Finding]:
    """The findings that keep the platform from starting."""
    return (finding for finding in findings if finding.verdict is Verdict.FAIL)


def _python() -> Finding:
    return Finding("Python", Verdict.OK, platform.python_version())


def _home(home: Home) -> Finding:
    existed = home.path.exists()
    try:
        home.prepare()
    except StandaloneError as exc:
        return Finding("data directory", Verdict.FAIL, str(home.path), exc.detail)
    if not existed:
        shutil.rmtree(home.path)  # looking must not leave anything behind
    return Finding("data directory", Verdict.OK, str(home.path))


def _disk(path: Path) -> Finding:
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{free / 2**30:.1f} GiB free"
    if free < MIN_FREE_BYTES:
        return Finding(
            "disk",
            Verdict.FAIL,
            detail,
            f"free at least {MIN_FREE_BYTES // 2**20} MiB on the disk of {existing}",
        )
    if free < 4 * MIN_FREE_BYTES:
        return Finding("disk", Verdict.WARN, detail, "builds may run out of space: free a gigabyte")
    return Finding("disk", Verdict.OK, detail)


def _port(name: str, host: str, port: int, running: int | None, option: str) -> Finding:
    if running is not None:
        return Finding(name, Verdict.OK, f"{port}, used by the running platform")
    if problem := port_problem(host, port, option):
        return Finding(name, Verdict.FAIL, f"{port}: {problem.reason}", problem.advice)
    return Finding(name, Verdict.OK, f"{port} is free")


@dataclass(frozen=True)
class PortProblem:
    """Why a listener would fail, and what to do about it."""

    reason: str
    advice: str


def port_problem(host: str, port: int, option: str) -> PortProblem | None:
    """What keeps a listener from this address and port, or None; `option` chooses another port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            if exc.errno == errno.EADDRNOTAVAIL:
                return PortProblem(
                    f"{host} is not an address of this machine", "choose one: `workflow up --bind 127.0.0.1`"
                )
            if exc.errno == errno.EACCES:
                return PortProblem("not open to this account", f"choose one above 1023: `workflow up {option} N`")
            return PortProblem(
                (exc.strerror or str(exc)).lower(), f"stop what uses it, or choose another: `workflow up {option} N`"
            )
    return None


def _program(name: str, purpose: str, missing: Verdict) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding(name, missing, "not found", f"{purpose}: install {name}")
    option = "-V" if name == "ssh" else "--version"
    version = "" if name == "ssh-keygen" else _first_line([path, option])
    return Finding(name, Verdict.OK, version or path)


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError) as exc:
        return str(exc)
    text = (done.stdout or done.stderr).strip()
    return text.splitlines()[0] if text else ""


def _resolution(host: str) -> Finding:
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM)}
    except OSError:
        return Finding(
            "name resolution",
            Verdict.WARN,
            f"{host} has no address here",
            f"browsers and curl know *.localhost; for other programs add `127.0.0.1 {host}` to /etc/hosts",
        )
    if addresses - {"127.0.0.1", "::1"}:
        return Finding(
            "name resolution",
            Verdict.WARN,
            f"{host} is {', '.join(sorted(addresses))}",
            "it should be 127.0.0.1: see /etc/hosts",
        )
    return Finding("name resolution", Verdict.OK, f"{host} is {', '.join(sorted(addresses))}")


def _container_tool() -> Finding:
    for name in ("docker", "podman", "buildah"):
        path = shutil.which(name)
        if path is None:
            continue
        try:
            done = subprocess.run(
                [path, "info"], capture_output=True, timeout=10, check=False, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.SubprocessError):
            continue
        if done.returncode == 0:
            return Finding("container tool", Verdict.OK, name)
    return Finding(
        "container tool",
        Verdict.WARN,
        "no working docker, podman or buildah",
        "apps with a Dockerfile cannot be built; Python, Node, static and Procfile apps need none of these",
    )


def _memory_limits() -> Finding:
    if os.access("/sys/fs/cgroup/memory", os.W_OK):
        return Finding("memory limits", Verdict.OK, "cgroup v1")
    if Path("/sys/fs/cgroup/cgroup.controllers").exists() and os.access(_own_cgroup(), os.W_OK):
        return Finding("memory limits", Verdict.OK, "cgroup v2")
    return Finding(
        "memory limits",
        Verdict.WARN,
        "no writable cgroup",
        "limits are kept by rlimit, which counts address space rather than memory",
    )


def _own_cgroup() -> Path:
    match = re.search(r"^0::(/.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    return Path("/sys/fs/cgroup") / (match[1].lstrip("/") if match else "")


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1024:
        return Finding("open files", Verdict.WARN, f"limit {hard}", "raise `ulimit -n` to 1024 or more")
    return Finding("open files", Verdict.OK, f"limit {soft}")


def _root_database() -> Finding:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return Finding(
            "database as root",
            Verdict.FAIL,
            "setpriv not found",
            "install util-linux, or run as a normal user",
        )
    return Finding("database", Verdict.OK, "runs as an account of its own" if os.geteuid() == 0 else "runs as you")
