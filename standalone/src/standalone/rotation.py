"""A new encryption key for the controller of the platform on this machine, while it runs."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.fernet import Fernet

from controller.repositories.cipher import Cipher, read_key_ring
from controller.services.rotation import Rotation, RotationReport, TableReport
from shared.db import Database
from standalone.errors import CommandFailedError, HomeNotUsableError
from standalone.home import Home
from standalone.postgres import EmbeddedPostgres


async def rotate_keys(home: Home, *, progress: Callable[[str, TableReport], None]) -> RotationReport:
    """Put a new key before the others, encrypt everything with it, and forget the others. The platform follows the
    file of the key ring by itself. Stopped half-way, nothing is lost: the next call goes on with one more key.

    Raises:
        SuiteError: another rotation runs, or a secret opens with no key; all keys are kept then.
    """
    server = EmbeddedPostgres(home.postgres, socket_dir=home.postgres_socket, log_file=home.postgres_log)
    database = Database(server.url("controller"), pool_size=1)
    try:
        async with database.try_lock("new-key") as mine:
            if not mine:
                raise CommandFailedError("the keys are being rotated already: wait until that has ended")
            return await _rotate(home, database, progress)
    finally:
        await database.close()


async def _rotate(home: Home, database: Database, progress: Callable[[str, TableReport], None]) -> RotationReport:
    try:
        former = read_key_ring(home.key_ring)
    except (OSError, ValueError) as exc:
        raise HomeNotUsableError(f"the controller's keys cannot be read ({exc}); nothing was changed") from exc
    fresh = Fernet.generate_key().decode()
    home.save_key_ring([fresh, *former])
    report = await Rotation(database, Cipher([fresh, *former]), progress=progress).run(actor="operator")
    if report.unreadable:
        raise CommandFailedError(
            f"{report.unreadable} secrets open with no key in {home.key_ring} and were left as they are; all keys are"
            " kept: add the key that is missing to the list and run this again"
        )
    home.save_key_ring([fresh])
    return report
