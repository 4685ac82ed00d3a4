"""How apps do TLS: shown and changed."""

from __future__ import annotations

from collections.abc import Mapping

from controller.domain.apps import Actor
from controller.domain.errors import NothingChangedError
from controller.domain.tls import Tls, audit_facts, check_tls, choice_of, choose
from controller.engine.port import Engine, NotSupportedError
from controller.repositories.domains import TlsRepository
from controller.services.base import AppService
from controller.services.ingress import Ingress
from controller.uow import Uow
from shared.logging import get_logger

NO_TLS = "this platform ends no TLS for apps: run a TLS proxy in front of it, or install the platform on a cluster"
NO_ACME = "this platform gets no certificates by itself: bring your own with `drycc certs add`"
log = get_logger(__name__)


class TlsSettings(AppService):
    """The TLS settings of apps."""

    def __init__(self, uow: Uow) -> None:
        super().__init__(uow)
        self._tls = TlsRepository(uow.session, uow.cipher)

    async def get(self, app: str) -> Tls:
        """The settings that count now; the defaults when nobody has chosen any."""
        return await self._tls.get(await self._apps.get(app))

    async def change(self, app: str, body: Mapping[str, object], *, actor: Actor) -> Tls:
        """Merge a request into the settings; everything that it leaves out stays.

        Raises:
            InvalidFieldsError: it is malformed.
            NothingChangedError: it changes nothing.
            NotSupportedError: the engine ends no TLS, gets no certificates, or has no room for so many domains with
                TLS. Switching something off is possible everywhere.
        """
        request = check_tls(body)
        locked = await self._apps.lock(app)
        before = choice_of(await self._tls.get(locked))
        after = choose(before, request)
        if after == before:
            raise NothingChangedError(f"{actor.username} changed nothing")
        if request.https_enforced or request.certs_auto_enabled or request.issuer is not None:
            require_tls(self._uow.engine)
        if request.certs_auto_enabled or request.issuer is not None:
            _require_acme(self._uow.engine)
        stored = await self._tls.put(locked, after, owner=actor, now=self._uow.now())
        ingress = Ingress(self._uow)
        await (ingress.extend(locked) if request.certs_auto_enabled else ingress.refresh(locked))
        await self._changed(locked)
        old, new = audit_facts(before), audit_facts(after)
        changed = [name for name in new if getattr(before, name) != getattr(after, name)]
        await self._record(
            locked,
            "tls.changed",
            actor=actor,
            before={name: old[name] for name in changed},
            after={name: new[name] for name in changed},
        )
        log.info("tls_changed", app=app, actor=actor.username, changed=changed)
        return stored


def require_tls(engine: Engine) -> None:
    """See that there is something that ends TLS for apps.

    Raises:
        NotSupportedError: there is not.
    """
    if "tls" not in engine.features:
        raise NotSupportedError(engine.why_not("tls") or NO_TLS)


def _require_acme(engine: Engine) -> None:
    """See that certificates can come by themselves.

    Raises:
        NotSupportedError: they cannot.
    """
    if "acme" not in engine.features:
        raise NotSupportedError(engine.why_not("acme") or NO_ACME)
