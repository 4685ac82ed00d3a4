"""The one-time code that makes whoever registers first the administrator (passport.md 3.1).

There is one as long as nobody has an account and no administrator is configured. All changes of it happen under the
lock on the accounts, so that replicas and registrations at the same time agree. The database has its digest only.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from passport.domain.accounts import Account
from passport.domain.errors import BootstrapOverError, NoBootstrapCodeError, WrongBootstrapCodeError
from passport.domain.secrets import digest, new_secret, same
from passport.repositories.accounts import Accounts, BootstrapCodes
from passport.services.accounts import AccountService
from shared.clock import Clock
from shared.db import Database
from shared.logging import get_logger

log = get_logger(__name__)


class Bootstrap:
    """Use cases around the bootstrap code. `is_wanted`: no administrator is configured."""

    def __init__(
        self, database: Database, *, accounts: AccountService, is_wanted: bool, registration_url: str, clock: Clock
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._is_wanted = is_wanted
        self._registration_url = registration_url
        self._clock = clock

    async def is_pending(self) -> bool:
        """Whether the next account is the first one and needs the code."""
        if not self._is_wanted:
            return False
        async with self._database.session() as session:
            return await Accounts(session).is_empty()

    async def prepare(self) -> None:
        """Make the code if it is needed and there is none, and tell it in the log: nobody else knows it yet."""
        if not await self.is_pending():
            return
        async with self._database.transaction() as session:
            await Accounts(session).lock()
            if not await Accounts(session).is_empty() or await BootstrapCodes(session).find() is not None:
                return
            code = await self._store_new(session)
        # The one secret that a log of ours holds (passport.md 3.1): whoever reads the log runs the platform, and the
        # code is void after its first use. A warning, because it must show at any usual level.
        log.warning("bootstrap_code_made", bootstrap_code=code, registration_url=self._registration_url)

    async def renew(self) -> str:
        """A new code; the one before is void.

        Raises:
            NoBootstrapCodeError: an administrator is configured, or there are accounts.
        """
        if not self._is_wanted:
            raise NoBootstrapCodeError("PASSPORT_ADMIN_USERNAME is set: the service makes that administrator at start.")
        async with self._database.transaction() as session:
            await Accounts(session).lock()
            if not await Accounts(session).is_empty():
                raise NoBootstrapCodeError(
                    "There are accounts already: make an administrator with `workflow-passport create-user --admin`."
                )
            return await self._store_new(session)

    async def register(self, username: str, *, email: str, password: str, code: str) -> Account:
        """Make the first account, an administrator; the code is void with it.

        Raises:
            InvalidAccountError: the values are not good enough.
            WrongBootstrapCodeError: that is not the code.
            BootstrapOverError: there are accounts already, or no code is needed.
        """

        async def check(session: AsyncSession) -> None:
            expected = await BootstrapCodes(session).find()
            if expected is None or not same(expected, digest(code)):
                raise WrongBootstrapCodeError

        if not self._is_wanted:
            raise BootstrapOverError
        account = await self._accounts.create_first_administrator(username, email=email, password=password, check=check)
        if account is None:
            raise BootstrapOverError
        return account

    async def _store_new(self, session: AsyncSession) -> str:
        code = new_secret()
        await BootstrapCodes(session).put(digest(code), now=self._clock.now())
        return code
