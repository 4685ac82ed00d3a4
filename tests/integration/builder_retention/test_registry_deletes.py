"""Removing images from a real registry, as it may be set up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from builder.domain.errors import RegistryUnavailableError
from builder.registry import images as images_module
from builder.registry.client import Account, RegistryClient
from builder.registry.images import RegistryImages
from integration.builder_ssh.world import open_world
from shared.http import create_client
from support.fixtures import MakeDatabase
from support.http import reachable
from support.registry_images import TestedRegistry
from support.registry_server import registry_server
from support.registry_tokens import OPERATOR, signing_pair, token_auth, token_settings
from support.registry_tokens import RegistryClient as TokenClient
from support.tools import free_port

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ANA = Account("ana", "open sesame")
# bcrypt of that password
HTPASSWD = "ana:$2b$04$oD99Ht/Ts5MQkoOx0uAcke0yUrk83bAcS6p7/IcNdukN6wPINl2Mu\n"


@asynccontextmanager
async def images_in(
    host: str, account: Account | None = None, *, organization: str = ""
) -> AsyncIterator[RegistryImages]:
    async with create_client(base_url=f"http://{host}") as client:
        registry = RegistryClient(client, host=host, is_insecure=True, account=account)
        yield RegistryImages(registry, host=host, organization=organization)


async def test_an_image_goes_by_its_digest_and_with_it_its_tags(tmp_path: Path) -> None:
    with registry_server(tmp_path, port=free_port()) as host:
        registry = TestedRegistry(host)
        old, new = registry.push("shop/shop", "git-1-1", "old"), registry.push("shop/shop", "git-2-2", "new")
        other = registry.push("pie/pie", "git-1-1", "old")
        async with images_in(host) as images:
            foreign = [other, f"elsewhere/shop/shop@{new.partition('@')[2]}", "workspace/shop:1", f"{host}/shop/shop:x"]
            assert await images.remove("shop", [old, *foreign])
            assert await images.remove("shop", [old])  # again is no error
        assert not registry.has(old)
        assert registry.has(new)
        assert registry.has(other)
        assert registry.tags("shop/shop") == ["git-2-2"]


async def test_nothing_of_an_app_stays_and_others_do(tmp_path: Path) -> None:
    with registry_server(tmp_path, port=free_port()) as host:
        registry = TestedRegistry(host)
        for number in range(3):
            registry.push("shop/shop", f"git-{number}-{number}", "same" if number else "other")
        registry.push("shop/cache", "buildpack", "cache")
        kept = registry.push("shop-two/shop-two", "git-1-1", "same")
        async with images_in(host) as images:
            await images.remove_app("shop")
            await images.remove_app("shop")
            await images.remove_app("never-built")
        assert registry.tags("shop/shop") == registry.tags("shop/cache") == []
        assert registry.has(kept)


async def test_below_an_organization_only_what_builds_made_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first, second = f"git-{'a' * 12}-1", f"git-{'b' * 12}-2-worker"
    with registry_server(tmp_path, port=free_port()) as host:
        registry = TestedRegistry(host)
        before = registry.push("shop/shop", first, "before")
        elsewhere = registry.push("other/shop", first, "elsewhere")
        old, new = registry.push("my/team/shop", first, "old"), registry.push("my/team/shop", second, "new")
        by_hand = registry.push("my/team/shop", "latest", "somebody's own")
        pie = registry.push("my/team/pie", first, "old")
        registry.push("my/team/shop.cache", "buildpack", "cache")
        registry.push("shop/cache", "buildpack", "cache")
        async with images_in(host, organization="my/team") as images:
            assert await images.tags("shop") == {first: 1, second: 2}
            assert await images.remove("shop", [before, elsewhere, old, pie])
            assert caplog.text.count("image_left") == 3
            assert [registry.has(one) for one in (before, elsewhere, pie)] == [True, True, True]
            assert registry.tags("my/team/shop") == sorted([second, "latest"])
            await images.remove_tagged("shop", second, used={new})
            assert registry.has(new)
            await images.remove_app("shop")
        assert registry.tags("my/team/shop.cache") == []
        assert registry.tags("my/team/shop") == ["latest"]
        assert all(registry.has(one) for one in (before, elsewhere, by_hand, pie))
        async with images_in(host) as images:  # back to the names of before
            assert await images.remove("shop", [before, new])
        assert registry.tags("shop/shop") == []
        assert registry.tags("shop/cache") == ["buildpack"]


async def test_old_layers_of_dockerfiles_leave_the_cache(tmp_path: Path) -> None:
    with registry_server(tmp_path, port=free_port()) as host:
        registry = TestedRegistry(host)
        layers = {days: f"{days:064x}" for days in (1, 29, 31)}
        for days, tag in layers.items():
            registry.push("shop/cache", tag, tag, NOW - timedelta(days=days))
        registry.push("shop/cache", "f" * 64, "undated")
        registry.push("shop/cache", "buildpack", "cache", NOW - timedelta(days=90))
        async with images_in(host) as images:
            await images.trim_cache("shop", before=NOW - timedelta(days=30))
            assert registry.tags("shop/cache") == sorted([layers[1], layers[29], "f" * 64, "buildpack"])
            await images.remove_cache("shop")
        assert registry.tags("shop/cache") == []


async def test_old_layers_leave_the_cache_also_where_more_new_ones_are_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_module, "MOST_AT_ONCE", 3)
    with registry_server(tmp_path, port=free_port()) as host:
        registry = TestedRegistry(host)
        for number, days in enumerate((1, 1, 1, 31)):
            registry.push("shop/cache", f"{number:064x}", f"layer {number}", NOW - timedelta(days=days))
        async with images_in(host) as images:
            for _ in range(30):
                await images.trim_cache("shop", before=NOW - timedelta(days=30))
        assert registry.tags("shop/cache") == [f"{number:064x}" for number in range(3)]


async def test_the_account_that_pushes_removes(tmp_path: Path) -> None:
    tmp_path.joinpath("htpasswd").write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "tests", "path": str(tmp_path / "htpasswd")}}
    with registry_server(tmp_path, port=free_port(), auth=auth) as host:
        registry = TestedRegistry(host, (ANA.username, ANA.password))
        image = registry.push("shop/shop", "git-1-1")
        for wrong in (None, Account("ana", "wrong"), Account("bo", ANA.password)):
            async with images_in(host, wrong) as images:
                with pytest.raises(RegistryUnavailableError) as refused:
                    await images.remove("shop", [image])
                assert "401" in refused.value.detail
                assert ANA.password not in refused.value.detail
        assert registry.has(image)
        async with images_in(host, ANA) as images:
            assert await images.remove("shop", [image])
            await images.remove_app("shop")
        assert not registry.has(image)


async def test_with_tokens_of_the_builder(tmp_path: Path, make_database: MakeDatabase) -> None:
    pair = signing_pair()
    async with AsyncExitStack() as stack:
        database = await make_database("builder")
        world = await stack.enter_async_context(open_world(tmp_path, database, **token_settings(pair)))
        url = await stack.enter_async_context(reachable(world.app))
        auth = token_auth(tmp_path, pair, builder=url)
        host = stack.enter_context(registry_server(tmp_path / "registry", port=free_port(), auth=auth))
        operator = TokenClient(host, *OPERATOR)
        for name, tag in (("shop/shop", "git-1-1"), ("shop/cache", "buildpack"), ("pie/pie", "git-1-1")):
            assert await operator.push(name, tag) == 201
        async with images_in(host, Account(*OPERATOR)) as images:
            await images.remove_app("shop")
        assert await operator.pull("shop/shop", "git-1-1") == 404
        async with images_in(host, Account(OPERATOR[0], "wrong")) as images:
            with pytest.raises(RegistryUnavailableError):
                await images.remove_app("pie")
        assert await operator.pull("pie/pie", "git-1-1") == 200


async def test_a_registry_that_deletes_nothing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with registry_server(tmp_path, port=free_port(), deletes=False) as host:
        registry = TestedRegistry(host)
        image = registry.push("shop/shop", "git-1-1")
        async with images_in(host) as images:
            for _ in range(3):
                assert not await images.remove("shop", [image])
            await images.remove_app("shop")
        assert registry.has(image)
    assert caplog.text.count("registry_deletes_nothing") == 1


async def test_a_registry_that_is_away(tmp_path: Path) -> None:
    host = f"127.0.0.1:{free_port()}"
    async with images_in(host) as images:
        for removal in (images.remove("shop", [f"{host}/shop/shop@sha256:{'0' * 64}"]), images.remove_app("shop")):
            with pytest.raises(RegistryUnavailableError) as away:
                await removal
            assert host in away.value.detail
