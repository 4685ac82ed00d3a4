"""What happens inside one push once git has received it: the branch rule, push options, and its deploy."""

from __future__ import annotations

import asyncio
import contextlib

from builder.domain.errors import BuildEndedError
from builder.domain.refs import decide, deploy_branches
from builder.domain.text import failure, progress, refusal
from builder.git.environment import GitEnvironment
from builder.git.hooks import HookRequest, HookWriter
from builder.git.tree import quarantine_of
from builder.runner.port import BuildFailedError
from builder.services import waiting
from builder.services.deploys import Deploy, Deploys, Push
from shared.db import DatabaseAwayError
from shared.errors import SuiteError
from shared.logging import bind_context, get_logger

log = get_logger(__name__)

RIGHT_SECONDS = 10.0
"""For how long a right to push that the controller has confirmed is taken for granted."""


class Pushes:
    """Answers the pre-receive hook."""

    def __init__(self, *, deploys: Deploys, environment: GitEnvironment) -> None:
        self._deploys = deploys
        self._environment = environment

    async def answer_hook(self, push: Push, request: HookRequest, hook: HookWriter) -> int:
        """Deploy what was pushed and tell the pusher all about it; returns the hook's exit status.

        Cancelled when the hook has died: git then declines the push, so its build must not deploy either.
        """
        push.is_received = True
        bind_context(app=push.app, actor=push.username)
        try:
            return await self._receive(push, request, hook)
        except BuildFailedError as error:
            log.info("push_declined", code=error.code)
            text = failure("Not built", code=error.code, message=error.message, log=error.log, hint=error.hint)
        except SuiteError as error:
            log.info("push_declined", code=error.code)
            text = refusal(error.detail)
        except DatabaseAwayError:
            log.warning("push_declined", code="database-away")
            text = refusal("The builder's database does not answer; nothing was changed: push again in a moment.")
        except asyncio.CancelledError:
            _give_up(push)
            raise
        except Exception:
            log.exception("push_broke")
            text = refusal("The builder failed unexpectedly; nothing was changed.")
        await hook.write(text.encode("utf-8", "replace"))
        return 1

    async def _receive(self, push: Push, request: HookRequest, hook: HookWriter) -> int:
        # A client may take any time to send what it was let in for.
        await self._deploys.ask_right(push, unless_within=RIGHT_SECONDS)
        decision = decide(request.refs, deploy_branches(push.config.deploy_branch))
        if decision.refusal is not None:
            await hook.write(refusal(decision.refusal).encode())
            return 1
        if waiting.CANCEL in request.options:
            told = waiting.cancel(self._deploys.present(push.app), push.app, push.username)
            await hook.write(told.encode())
            return 1
        notes = "".join(progress(note) for note in decision.notes) + waiting.unknown_options(request.options)
        await hook.write(notes.encode("utf-8", "replace"))
        if decision.deploy is None:
            return 0
        quarantine = quarantine_of(push.repository, request.quarantine)
        environment = self._environment.quarantined(push.repository, quarantine)
        turn = self._deploys.enter(push)
        return await self._deploys.carry_out(Deploy(push, turn, decision.deploy, request.options, environment, hook))


def _give_up(push: Push) -> None:
    if push.run is not None:
        with contextlib.suppress(BuildEndedError):
            push.run.cancel("git ended before the build did")
