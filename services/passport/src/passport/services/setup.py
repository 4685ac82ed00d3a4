"""What must be there before the first request: signing keys, clients, an administrator or the code that makes one."""

from __future__ import annotations

from passport.repositories.clients import Clients
from passport.services.accounts import AccountService
from passport.services.bootstrap import Bootstrap
from passport.services.keys import KeyStore
from passport.settings import Settings
from shared.clock import Clock
from shared.db import Database
from shared.logging import get_logger

log = get_logger(__name__)


async def prepare(
    settings: Settings,
    *,
    database: Database,
    keys: KeyStore,
    accounts: AccountService,
    bootstrap: Bootstrap,
    clock: Clock,
) -> None:
    """Make what is missing. Several processes may do so at the same time.

    Raises:
        EncryptionKeyError: the signing keys in the database cannot be decrypted.
    """
    await keys.prepare()
    await keys.ring()
    clients = [client.to_client() for client in settings.clients]
    async with database.transaction() as session:
        await Clients(session).put(clients, clock.now())
    log.info("clients_stored", client_ids=[client.client_id for client in clients])
    if settings.admin_username is not None and settings.admin_password is not None:
        await accounts.create_first_administrator(
            settings.admin_username,
            email=settings.admin_email,
            password=settings.admin_password.get_secret_value(),
        )
    await bootstrap.prepare()
