"""What is there after a start: keys, clients, the administrator; rotation, events, tidying up, commands."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from integration.passport.world import ADMIN, ISSUER, Passport, client_settings, hidden_fields, make_settings, running
from passport.background.janitor import Janitor
from passport.domain.accounts import NewAccount
from passport.domain.errors import AccountExistsError, AccountNotFoundError, EncryptionKeyError, InvalidAccountError
from passport.schema import Base
from passport.settings import Settings
from shared.auth import TokenVerifier
from shared.bus import InProcessBus
from shared.events.base import Envelope
from shared.testing.wait import eventually
from support.fixtures import MakeDatabase


async def kids(passport: Passport) -> list[str]:
    response = await passport.browser.get("/oauth/.well-known/jwks.json")
    published = response.json()["keys"]
    assert all(set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"} for key in published)
    return [key["kid"] for key in published]


COMMAND = [sys.executable, "-c", "from passport.cli import main; main()"]


def environment(settings: Settings) -> dict[str, str]:
    assert settings.database_url is not None
    return {
        **os.environ,
        "PASSPORT_DATABASE_URL": settings.database_url,
        "PASSPORT_ISSUER": settings.issuer,
        "PASSPORT_ENCRYPTION_KEYS": f'["{settings.encryption_keys[0].get_secret_value()}"]',
    }


async def run_command(settings: Settings, *arguments: str, password: str = "") -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [*COMMAND, *arguments],
        env=environment(settings),
        input=password,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_migration_makes_what_the_tables_say(make_database: MakeDatabase) -> None:
    def differences(connection: Connection) -> Any:
        return compare_metadata(MigrationContext.configure(connection), Base.metadata)

    engine = create_async_engine(await make_database("passport"))
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_discovery(passport: Passport) -> None:
    for path in ("/oauth/.well-known/openid-configuration", "/oauth/.well-known/openid-configuration/"):
        found = (await passport.browser.get(path)).json()
        assert found["issuer"] == ISSUER
        assert found["token_endpoint"] == f"{ISSUER}/token/"
        assert found["code_challenge_methods_supported"] == ["S256"]
        assert found["response_types_supported"] == ["code"]


async def test_administrator_is_made_once(make_database: MakeDatabase) -> None:
    url = await make_database("passport")
    settings = make_settings(url)
    async with running(settings):
        pass
    async with running(settings.model_copy(update={"admin_password": SecretStr("another password 1")})) as passport:
        assert (await passport.log_in()).status_code == 303
        assert (await passport.log_in(password="another password 1")).status_code == 200
    other = make_settings(url, admin_username="other", encryption_keys=settings.encryption_keys)
    async with running(other) as passport:
        assert (await passport.log_in("other")).status_code == 200


async def test_processes_that_start_together(make_database: MakeDatabase) -> None:
    settings = make_settings(await make_database("passport"))
    async with running(settings) as one, running(settings) as two:
        assert await kids(one) == await kids(two)
        async with one.context.database.session() as session:
            assert (await session.execute(text("SELECT count(*) FROM accounts"))).scalar_one() == 1


async def test_without_administrator_nobody_can_log_in(make_database: MakeDatabase) -> None:
    url = await make_database("passport")
    async with running(make_settings(url, admin_username=None, admin_password=None)) as passport:
        assert (await passport.log_in()).status_code == 200


async def test_clients_follow_the_settings(make_database: MakeDatabase) -> None:
    url = await make_database("passport")
    key = [Fernet.generate_key().decode()]
    async with running(make_settings(url, encryption_keys=key)) as passport:
        tokens = await passport.password_tokens()
    changed = client_settings()
    changed[0] |= {"client_secret": "n" * 40, "grants": ["refresh_token"]}
    async with running(make_settings(url, encryption_keys=key, clients=changed)) as passport:
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        assert (await passport.token("controller", **form)).status_code == 401
        async with passport.program() as program:
            response = await program.post("/oauth/token/", data=form, auth=("controller", "n" * 40))
            assert response.status_code == 200
            form = {"grant_type": "password", "username": ADMIN[0], "password": ADMIN[1]}
            response = await program.post("/oauth/token/", data=form, auth=("controller", "n" * 40))
            assert response.json()["error"] == "unauthorized_client"


async def test_rotation_invalidates_nothing(passport: Passport) -> None:
    old = (await passport.password_tokens())["access_token"]
    (before,) = await kids(passport)
    added = (await passport.context.keys.rotate()).kid
    assert await kids(passport) == [before, added]
    async with passport.program() as program:
        verifier = TokenVerifier(issuer=ISSUER, audience="controller", client=program)
        await verifier.verify(old)
        assert (await passport.context.keys.ring()).signing.kid == before
        passport.clock.ahead = timedelta(minutes=16)
        assert (await passport.context.keys.ring()).signing.kid == added
        assert await kids(passport) == [before, added]
    janitor = Janitor(passport.context.database, keys=passport.context.keys, clock=passport.clock)
    await janitor.tidy()
    passport.clock.ahead = timedelta(minutes=20)
    assert await kids(passport) == [before, added]
    passport.clock.ahead = timedelta(minutes=46)
    await janitor.tidy()
    passport.clock.ahead = timedelta(minutes=48)
    assert await kids(passport) == [added]


async def test_rotation_after_a_leak(passport: Passport) -> None:
    leaked = (await passport.password_tokens())["access_token"]
    key = await passport.context.keys.rotate(at_once=True)
    assert await kids(passport) == [key.kid]
    assert (await passport.get("/oauth/userinfo/", leaked)).status_code == 401
    fresh = (await passport.password_tokens())["access_token"]
    assert (await passport.get("/oauth/userinfo/", fresh)).status_code == 200


async def test_encryption_keys(make_database: MakeDatabase) -> None:
    url = await make_database("passport")
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    async with running(make_settings(url, encryption_keys=[old])) as passport:
        before = await kids(passport)
        async with passport.context.database.session() as session:
            stored = (await session.execute(text("SELECT encrypted_key FROM signing_keys"))).scalar_one()
        assert b'"d"' in Fernet(old).decrypt(stored)
        with pytest.raises(EncryptionKeyError):
            async with running(make_settings(url, encryption_keys=[new])):
                pass
    async with running(make_settings(url, encryption_keys=[new, old])) as passport:
        assert await kids(passport) == before
    async with running(make_settings(url, encryption_keys=[new])) as passport:
        assert await kids(passport) == before


async def test_account_changes_are_published(make_database: MakeDatabase) -> None:
    bus = InProcessBus()
    received: list[Envelope] = []

    async def remember(envelope: Envelope) -> None:
        received.append(envelope)

    await bus.subscribe(consumer="test", patterns=["user.*"], handler=remember)
    async with running(make_settings(await make_database("passport")), bus=bus):
        await eventually(lambda: len(received) == 1)
    envelope = received[0]
    assert (envelope.type, envelope.subject) == ("workflow.user.changed.v1", "users/1")
    assert envelope.source == "/services/passport"
    assert envelope.data == {
        "user_id": 1, "username": "admin", "email": "admin@example.com", "first_name": "", "last_name": "",
        "is_active": True, "is_staff": True, "is_superuser": True,
    }  # fmt: skip
    await bus.close()


async def test_accounts(passport: Passport) -> None:
    accounts = passport.context.accounts
    mina = await accounts.create(NewAccount("mina", "mina@example.com"), password="a fine password")
    assert (mina.id, mina.is_staff, mina.is_active) == (2, False, True)
    with pytest.raises(AccountExistsError):
        await accounts.create(NewAccount("MINA", "other@example.com"), password="a fine password")
    with pytest.raises(AccountExistsError):
        await accounts.create(NewAccount("other", "Mina@Example.com"), password="a fine password")
    await accounts.create(NewAccount("without"), password="a fine password")
    await accounts.create(NewAccount("without-2"), password="a fine password")
    for password in ("short", "x" * 1025, "aaaaaaaaaaaaaaaa", "mina@example.com"):
        with pytest.raises(InvalidAccountError):
            await accounts.set_password("mina", password)
    with pytest.raises(AccountNotFoundError):
        await accounts.set_password("nobody", "a fine password")


async def test_new_password_ends_sessions_and_tokens(passport: Passport) -> None:
    tokens = await passport.password_tokens()
    await passport.log_in()
    await passport.context.accounts.set_password("admin", "a fine password")
    assert (await passport.browser.get("/user/info")).status_code == 403
    assert (await passport.get("/oauth/userinfo/", tokens["access_token"])).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert (await passport.token("controller", **form)).json()["error"] == "invalid_grant"
    assert (await passport.log_in(password="a fine password")).status_code == 303


async def test_outdated_hashes_are_made_anew(passport: Passport) -> None:
    from argon2 import PasswordHasher

    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(ADMIN[1])
    async with passport.context.database.transaction() as session:
        await session.execute(text("UPDATE accounts SET password_hash = :hash"), {"hash": weak})
    assert (await passport.log_in()).status_code == 303
    async with passport.context.database.session() as session:
        row = (await session.execute(text("SELECT password_hash, last_login_at FROM accounts"))).one()
    assert "m=19456,t=2,p=1" in row[0]
    assert row[1] is not None
    assert (await passport.log_in()).status_code == 303


async def test_what_has_expired_is_removed(passport: Passport) -> None:
    await passport.log_in()
    await passport.log_in(password="wrong")
    await passport.password_tokens()
    janitor = Janitor(passport.context.database, keys=passport.context.keys, clock=passport.clock)

    async def count() -> dict[str, int]:
        tables = ("sessions", "access_tokens", "refresh_tokens", "token_families", "login_attempts", "accounts")
        async with passport.context.database.session() as session:
            return {
                table: (await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() for table in tables
            }

    await janitor.tidy()
    assert min((await count()).values()) >= 1
    passport.clock.ahead = timedelta(days=92)
    await janitor.tidy()
    left = await count()
    assert left.pop("accounts") == 1
    assert set(left.values()) == {0}


async def test_commands(passport: Passport) -> None:
    settings = passport.settings
    made = await run_command(settings, "create-user", "mina", "--email", "m@example.com", password="a fine password\n")
    assert (made.returncode, made.stdout) == (0, "created mina, id 2\n")
    assert (await passport.log_in("mina", "a fine password")).status_code == 303
    again = await run_command(settings, "create-user", "mina", password="a fine password")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "The username mina or its e-mail address is already taken.\n"
    changed = await run_command(settings, "set-password", "mina", password="a finer password")
    assert changed.returncode == 0
    assert (await passport.log_in("mina", "a finer password")).status_code == 303
    rotated = await run_command(settings, "rotate-keys")
    assert rotated.returncode == 0
    passport.clock.ahead = timedelta(minutes=2)
    assert rotated.stdout.split()[1] in await kids(passport)
    assert (await run_command(settings, "migrate")).returncode == 0


async def test_serve_command(passport: Passport, tmp_path: Path) -> None:
    socket = tmp_path / "p.sock"
    env = environment(passport.settings) | {"PASSPORT_BIND_SOCKET": str(socket)}
    process = await asyncio.create_subprocess_exec(*COMMAND, "serve", env=env, stderr=asyncio.subprocess.DEVNULL)
    try:
        await eventually(socket.exists)
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://passport") as client:
            page = await client.get("/user/login/")
            fields = hidden_fields(page.text) | {"username": ADMIN[0], "password": ADMIN[1]}
            response = await client.post("/user/login/", data=fields)
            assert response.status_code == 303
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 15) == 0
    assert not socket.exists()
