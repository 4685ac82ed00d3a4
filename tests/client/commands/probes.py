"""Probes of process types, as answers have them (cli.md 10.13)."""

from __future__ import annotations

from dataclasses import dataclass

from client.model.go_json import MayLack


@dataclass(frozen=True)
class Header:
    """A header that a probe sends."""

    name: str
    value: str


@dataclass(frozen=True)
class HttpGet:
    """Probe by HTTP."""

    port: int
    path: MayLack[str]
    httpHeaders: MayLack[list[Header]]  # noqa: N815  the key of the JSON


@dataclass(frozen=True)
class Exec:
    """Probe by a command."""

    command: list[str]


@dataclass(frozen=True)
class TcpSocket:
    """Probe by a connection."""

    port: int


@dataclass(frozen=True)
class Probe:
    """A probe; without an action it is none."""

    initialDelaySeconds: MayLack[int]  # noqa: N815
    timeoutSeconds: MayLack[int]  # noqa: N815
    periodSeconds: MayLack[int]  # noqa: N815
    successThreshold: MayLack[int]  # noqa: N815
    failureThreshold: MayLack[int]  # noqa: N815
    httpGet: MayLack[HttpGet | None]  # noqa: N815
    exec: MayLack[Exec | None]
    tcpSocket: MayLack[TcpSocket | None]  # noqa: N815

    @property
    def described(self) -> str:
        """The probe on one line; nothing when there is none."""
        action = self._action()
        if not action:
            return ""
        return (
            f"{action} delay={self.initialDelaySeconds}s timeout={self.timeoutSeconds}s period={self.periodSeconds}s "
            f"#success={self.successThreshold} #failure={self.failureThreshold}"
        )

    def _action(self) -> str:
        if self.exec is not None:
            return f"exec [{' '.join(self.exec.command)}]"
        if self.tcpSocket is not None:
            return f"tcp-socket port={self.tcpSocket.port}"
        if self.httpGet is None:
            return ""
        headers = " ".join(f"{header.name}={header.value}" for header in self.httpGet.httpHeaders)
        return f"http-get headers=[{headers}] path={self.httpGet.path} port={self.httpGet.port}"
