"""Use cases of the billing manager: apps and users are blocked and let go again (controller-api.md 3.27, 4.27)."""

from __future__ import annotations

from collections.abc import Sequence

from controller.domain.blocks import BlockKind, Target
from controller.repositories.blocklist import BlockRepository
from controller.services.audit import AuditTrail
from controller.services.jobs import JOBS_CHANNEL
from controller.uow import Uow
from shared.db import notify
from shared.logging import get_logger

MANAGER = "manager"
"""Who acts, in the audit trail."""

log = get_logger(__name__)


class Blocklist:
    """Blocks, in the transaction of `uow`. `Access` refuses what is blocked."""

    def __init__(self, uow: Uow) -> None:
        self._uow = uow
        self._blocks = BlockRepository(uow.session)

    async def block(self, target: Target, *, remark: str) -> None:
        """Shut an app down, or all of a user's: nothing of them runs and nobody may use them. Again: nothing new.

        An app that does not exist yet can be blocked as well.
        """
        now = self._uow.now()
        is_new = await self._blocks.add(target, remark=remark, now=now)
        stopped = await self._blocks.scale_to_zero(target, now=now)
        await self._uow.wake_reconciler()
        await notify(self._uow.session, JOBS_CHANNEL)
        if is_new:
            await self._record("blocked", target, after={"remark": remark, "stopped": stopped})
        if target.kind is BlockKind.USERS:
            await self._tell_apps(stopped, remark)
        log.info("blocked", kind=target.kind, id=target.id, stopped=stopped)

    async def unblock(self, target: Target) -> None:
        """Let an app or a user go; what was scaled down stays so. Nothing to lift is fine."""
        if await self._blocks.remove(target):
            await self._blocks.touch(target, now=self._uow.now())
            await self._uow.wake_reconciler()
            await self._record("unblocked", target)
        log.info("unblocked", kind=target.kind, id=target.id)

    async def _tell_apps(self, names: Sequence[str], remark: str) -> None:
        """Note in the trail of each app why nothing of it runs any more: who is in charge of it sees no other."""
        trail = AuditTrail(self._uow)
        for name in names:
            await trail.record("app.stopped", actor=MANAGER, app=name, after={"remark": remark})

    async def _record(self, verb: str, target: Target, *, after: dict[str, object] | None = None) -> None:
        is_app = target.kind is BlockKind.APPS
        await AuditTrail(self._uow).record(
            f"{'app' if is_app else 'user'}.{verb}",
            actor=MANAGER,
            app=target.id if is_app else None,
            target="" if is_app else target.id,
            after=after,
        )
