"""Serves the git commands of SSH clients: permission, repository, and the process, watched until its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from builder.domain.commands import GitCommand
from builder.domain.errors import RepositoryUnavailableError
from builder.domain.refs import deploy_branches
from builder.domain.text import refusal
from builder.git.environment import GitEnvironment
from builder.git.hooks import HookServer
from builder.git.packing import Packer
from builder.git.pipe import InputPipe
from builder.git.process import GitProcess, Sink
from builder.git.repository import Repositories
from builder.metrics import PUSHES
from builder.runner.port import AppConfig
from builder.services.controller import ControllerClient
from builder.services.deploys import Push
from builder.services.limits import Caller, CommandLimits
from builder.services.turns import Turns
from shared.errors import SuiteError
from shared.logging import get_logger

log = get_logger(__name__)


class Client(Sink, Protocol):
    """The SSH side of one command."""

    @property
    def input(self) -> InputPipe:
        """The bytes that the client sends."""

    @property
    def gone(self) -> asyncio.Event:
        """Set when the client has gone for good; the end of its input alone does not mean that."""

    @property
    def unread_since(self) -> float | None:
        """Since when the client reads nothing of what it is sent, in the loop's time; None when it does."""

    def attach(self, process: GitProcess) -> None:
        """Slow this process down when the client reads slowly."""

    def leave(self) -> None:
        """Go on as if the client had gone."""


@dataclass(frozen=True)
class GitSessions:
    """Everything that a git command of a client needs."""

    controller: ControllerClient
    turns: Turns
    repositories: Repositories
    hooks: HookServer[Push]
    environment: GitEnvironment
    packer: Packer
    upload_idle_timeout: timedelta
    limits: CommandLimits = field(default_factory=CommandLimits)

    async def serve(self, command: GitCommand, caller: Caller, client: Client, *, protocol: str | None) -> int:
        """Run the command to its end; returns its exit status. Refusals are told in git's own protocol.

        No place among the app's commands is taken before the caller's right to the app is known, and no turn before a
        whole push has arrived.
        """
        try:
            with self.limits.hold(caller):
                config = await self.controller.config(command.app, caller.username)
                with self.limits.hold_app(command.app):
                    return await self._carry_out(command, caller, config, client, protocol)
        except SuiteError as error:
            log.info("git_command_refused", code=error.code, app=command.app, actor=caller.username)
            client.take(error_packet(error.detail), is_error=False)
            return 1

    async def _carry_out(
        self, command: GitCommand, caller: Caller, config: AppConfig, client: Client, protocol: str | None
    ) -> int:
        if not command.is_push:
            return await self._run(command, client, protocol=protocol)
        with PUSHES.track_inprogress():
            return await self._receive(command, caller, config, client, protocol)

    async def _receive(
        self, command: GitCommand, caller: Caller, config: AppConfig, client: Client, protocol: str | None
    ) -> int:
        app = command.app
        push = Push(app, caller.username, config, self.repositories.path(app))
        with self.hooks.expect(push) as token:
            try:
                status = await self._run(command, client, protocol=protocol, token=token, push=push)
            finally:
                push.end()
                # The turn stands for the build too, which may outlive both the client and git.
                if push.run is not None:
                    await push.run.done.wait()
                if push.turn is not None:
                    self.turns.leave(push.turn)
        if push.is_received:
            await self._tidy(app, deploy_branches(config.deploy_branch))
        return status

    async def _tidy(self, app: str, branches: Sequence[str]) -> None:
        try:
            await asyncio.to_thread(self.repositories.adopt_head, app, branches)
            await self.packer.consider(app)
        except OSError as exc:  # a full disk: the next push sees to it, this one has its status
            log.warning("repository_not_tidied", app=app, error=str(exc))

    async def _run(
        self,
        command: GitCommand,
        client: Client,
        *,
        protocol: str | None,
        token: str | None = None,
        push: Push | None = None,
    ) -> int:
        try:
            repository = await asyncio.to_thread(self.repositories.ensure, command.app)
        except OSError as exc:
            log.error("repository_not_made", app=command.app, error=str(exc))  # noqa: TRY400  a known cause
            raise RepositoryUnavailableError(command.app, exc.strerror or type(exc).__name__) from exc
        if client.gone.is_set():
            return 1
        process = await GitProcess.spawn(
            ["git", command.service.removeprefix("git-"), str(repository)],
            environment=self.environment.serving(token=token, protocol=protocol),
            stdin=client.input,
            sink=client,
        )
        client.attach(process)
        try:
            return await self._watch(process, client, push)
        finally:
            if not process.ended.done():
                await process.end()

    async def _watch(self, process: GitProcess, client: Client, push: Push | None) -> int:
        """Wait for the process; end it when the client has gone, unless a build was requested by then."""
        gone = asyncio.create_task(client.gone.wait())
        either: set[asyncio.Future[Any]] = {process.ended, gone}
        try:
            while not process.ended.done():
                patience = self._patience(client, push)
                await asyncio.wait(either, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if process.ended.done():
                    break
                if gone.done():
                    if push is None or not push.is_requested:
                        return await _gone(process, push)
                    await asyncio.wait({process.ended})
                elif self._is_stalled(client, push):
                    client.take(
                        refusal("The push was closed: nothing was received for a while.").encode(), is_error=True
                    )
                    return 1
                elif self._is_unread(client, push):
                    log.warning("client_left", reason="it reads nothing")
                    client.leave()
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone
        return process.ended.result()

    def _patience(self, client: Client, push: Push | None) -> float:
        """Seconds until a client that sends or reads nothing may count as stalled."""
        idle, now = self.upload_idle_timeout.total_seconds(), asyncio.get_running_loop().time()
        since = now if push is None or push.is_received else client.input.last_fed
        return max(0.0, since + idle - now) + 0.01

    def _is_unread(self, client: Client, push: Push | None) -> bool:
        """Whether git has waited for too long for the client to read. A client may hold itself up as long as it likes
        while its build runs; after that others wait for their turn."""
        if client.unread_since is None or (push is not None and push.run is not None and not push.run.done.is_set()):
            return False
        return asyncio.get_running_loop().time() - client.unread_since >= self.upload_idle_timeout.total_seconds()

    def _is_stalled(self, client: Client, push: Push | None) -> bool:
        if push is None or push.is_received:
            return False
        idle = asyncio.get_running_loop().time() - client.input.last_fed
        return idle >= self.upload_idle_timeout.total_seconds()


async def _gone(process: GitProcess, push: Push | None) -> int:
    if push is not None:
        log.info("push_abandoned", app=push.app, actor=push.username)
        push.end()
    await process.end()
    return 1


def error_packet(text: str) -> bytes:
    """A pkt-line that git's client prints as `fatal: remote error: <text>` (gitprotocol-pack, ERR)."""
    payload = b"ERR " + text.replace("\n", " ").encode()
    return b"%04x" % (len(payload) + 4) + payload
