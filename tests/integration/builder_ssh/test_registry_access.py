"""Who may do what in a real registry that leaves that to the builder: builds, the operator, machines, strangers."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from builder.domain.access import Access
from builder.domain.builds import number_after
from builder.registry.client import Account
from builder.registry.client import RegistryClient as CleaningClient
from builder.runner.kubernetes.tokens import registry_password, source_token
from builder.runner.port import AppConfig, BuildLimits, BuildSpec, Plan
from builder.services.registry_tokens import RegistryTokens
from integration.builder_ssh.world import World, open_world, run
from shared.settings import SettingsError
from support.fixtures import MakeDatabase
from support.http import reachable
from support.registry_server import registry_server
from support.registry_tokens import (
    BUILD_KEY,
    ISSUER,
    MACHINE,
    OPERATOR,
    SERVICE,
    RegistryClient,
    signing_pair,
    token_auth,
    token_settings,
)
from support.tools import free_port, require_tool

LIFECYCLE = Path(__file__).parents[3] / "services/builder/imagebuilder/buildpacks/cnb/lifecycle"
# The package is installed in the image only: it is asked in a process of its own.
PHASES = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from phases.registry import Name, Registry
host = sys.argv[2]
registry, name = Registry.from_environment([host]), Name.parse(f"{host}/shop/shop:2")
registry.check_push(name)
base = registry.find(Name.parse(f"{host}/library/base:1"))
assert base is not None and registry.find(name) is None
for part in (base.manifest["config"], *base.manifest["layers"]):
    if not registry.mount(name, part["digest"], base.name):
        registry.download(base.name, part["digest"], Path(sys.argv[3]))
        registry.upload(name, part["digest"], Path(sys.argv[3]))
registry.put_manifest(name, base.manifest)
print(registry.find(name).manifest == base.manifest)
print(registry.mount(name, base.manifest["config"]["digest"], Name.parse(f"{host}/pie/pie:1")))
"""


@dataclass(frozen=True)
class Place:
    """A builder, reached at `url`, and the registry at `host` that trusts it."""

    world: World
    url: str
    host: str

    def client(self, username: str, password: str) -> RegistryClient:
        return RegistryClient(self.host, username, password)

    async def build(self, app: str) -> RegistryClient:
        """The account of a new build of that app."""
        spec = BuildSpec(
            build_id=uuid4(),
            app=app,
            number=number_after(await self.world.context.records.newest(app)),
            sha="0" * 40,
            branch="main",
            actor="ana",
            config=AppConfig(),
            options={},
            limits=BuildLimits(timedelta(minutes=1), 1),
        )
        await self.world.context.records.requested(spec, Plan("container", "container", {}, {}, "FROM scratch\n"))
        return self.client(str(spec.build_id), registry_password(BUILD_KEY, spec.build_id))

    async def token(self, login: tuple[str, str], **parameters: str | list[str]) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(f"{self.url}/registry/token", params=parameters, auth=login)

    async def pulls_with(self, token: str) -> int:
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://{self.host}/v2/shop/shop/tags/list"
            return (await client.get(url, headers={"Authorization": f"Bearer {token}"})).status_code


@pytest_asyncio.fixture
async def place(short_path: Path, make_database: MakeDatabase, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Its parameter are settings of the builder."""
    pair = signing_pair()
    changes = getattr(request, "param", {})
    async with AsyncExitStack() as stack:
        database = await make_database("builder")
        world = await stack.enter_async_context(open_world(short_path, database, **token_settings(pair), **changes))
        url = await stack.enter_async_context(reachable(world.app))
        auth = token_auth(short_path, pair, builder=url)
        host = stack.enter_context(registry_server(short_path / "registry", port=free_port(), auth=auth))
        place = Place(world, url, host)
        assert await place.client(*OPERATOR).push("library/base") == 201
        yield place


async def test_a_build_uses_the_repositories_of_its_app_and_no_others(place: Place) -> None:
    build, operator = await place.build("shop"), place.client(*OPERATOR)
    assert await operator.push("pie/pie") == 201
    for name in ("shop/shop", "shop/cache"):
        assert await build.push(name) == 201
        assert await build.pull(name) == 200
        assert await build.delete(name) == 401
    assert await build.pull("library/base") == 200
    for name in ("library/base", "pie/pie", "shop/other", "shop", "shop/shop/deeper", "workflow/run"):
        assert await build.push(name) == 401
    for name in ("pie/pie", "shop/other"):
        assert await build.pull(name) == 401


@pytest.mark.parametrize("place", [{"registry_organization": "my/team"}], indirect=True)
async def test_below_an_organization_too(place: Place) -> None:
    build, operator = await place.build("shop"), place.client(*OPERATOR)
    assert await operator.push("my/team/pie") == 201
    assert await operator.push("shop/shop") == 201  # from before
    for name in ("my/team/shop", "my/team/shop.cache"):
        assert await build.push(name) == 201
        assert await build.pull(name) == 200
        assert await build.delete(name) == 401
    assert await build.pull("library/base") == 200
    for name in (
        "my/team/pie",
        "my/team",
        "my/team/shop/shop",
        "team/shop",
        "shop/shop",
        "shop/cache",
        "my/team/shop-two",
    ):
        assert await build.push(name) == 401
    for name in ("my/team/pie", "shop/shop"):
        assert await build.pull(name) == 401
    assert await place.client(*MACHINE).pull("shop/shop") == 200
    # What an app of another name has that looks like the layers of this one.
    assert await (await place.build("shop-cache")).push("my/team/shop.cache") == 401


async def test_the_account_ends_with_the_build(place: Place) -> None:
    build, other = await place.build("shop"), await place.build("shop")
    assert await build.push("shop/shop") == 201
    await place.world.context.records.cancelled(UUID(build.username), "enough")
    assert await build.push("shop/shop", "2") == 401
    assert await build.pull("library/base") == 401
    answer = await place.token((build.username, build.password), scope="repository:shop/shop:push")
    assert answer.json()["detail"] == "that build has ended, and its account of the registry with it"
    assert await other.push("shop/shop", "2") == 201
    await place.world.context.records.forget("shop")
    assert await other.pull("shop/shop") == 401


async def test_the_operator_does_everything_and_machines_pull(place: Place) -> None:
    operator, machine = place.client(*OPERATOR), place.client(*MACHINE)
    assert await operator.push("shop/shop") == 201
    assert await machine.pull("shop/shop") == 200
    assert await machine.push("shop/shop") == 401
    assert await machine.delete("shop/shop") == 401
    assert await operator.delete("shop/shop") == 202
    assert await machine.pull("shop/shop") == 404


async def test_the_builder_removes_images_with_its_own_account(place: Place) -> None:
    assert await (await place.build("shop")).push("shop/shop") == 201
    async with httpx.AsyncClient(trust_env=False) as client:
        cleaner = CleaningClient(client, host=place.host, is_insecure=True, account=Account(*OPERATOR))
        digest = await cleaner.digest("shop/shop", "1")
        assert digest is not None
        await cleaner.delete("shop/shop", digest)
        assert await cleaner.tags("shop/shop") == []
    assert await place.client(*MACHINE).pull("shop/shop") == 404


async def test_a_wrong_password_gets_one_sentence_and_no_token(place: Place) -> None:
    build = await place.build("shop")
    id_ = UUID(build.username)
    unborn = uuid4()
    for login in (
        (OPERATOR[0], MACHINE[1]),
        ("nobody", "x"),
        (build.username, source_token(BUILD_KEY, id_)),  # that of the source is for nothing else
        (build.username, registry_password(BUILD_KEY, unborn)),
        (str(unborn), registry_password(BUILD_KEY, unborn)),
        (build.username, ""),
        ("", "é"),
    ):
        answer = await place.token(login, service=SERVICE, scope="repository:shop/shop:pull")
        assert answer.status_code == 401
        assert "registry" in answer.json()["detail"]
        assert answer.json()["errors"][0]["message"] == answer.json()["detail"]
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert "token" not in answer.json()
    async with httpx.AsyncClient(trust_env=False) as client:
        for header in ({}, {"Authorization": "Basic !"}, {"Authorization": "Bearer x"}):
            assert (await client.get(f"{place.url}/registry/token", headers=header)).status_code == 401


async def test_what_is_no_repository_gets_no_access_and_is_no_error(place: Place) -> None:
    scopes = ["registry:catalog:*", "repository:../shop:pull", "repository", "", "repository:shop/shop:pull,*"]
    answer = await place.token(OPERATOR, service=SERVICE, account="cleaner", offline_token="true", scope=scopes)
    facts = answer.json()
    assert facts["token"] == facts["access_token"]
    assert facts["expires_in"] == 300
    assert abs(datetime.fromisoformat(facts["issued_at"]) - datetime.now(UTC)) < timedelta(seconds=60)
    assert answer.headers["Cache-Control"] == "no-store"
    assert await place.client(*OPERATOR).push("shop/shop") == 201
    assert await place.pulls_with(facts["token"]) == 200
    catalog = await place.client(*OPERATOR).ask("GET", "/v2/_catalog")
    assert catalog.status_code == 401


async def test_tokens_for_other_services_are_not_made(place: Place) -> None:
    answer = await place.token(OPERATOR, service="another", scope="repository:shop/shop:pull")
    assert answer.status_code == 400
    assert answer.json()["detail"] == f"tokens are made here for the service {SERVICE} only"


@pytest.mark.parametrize(
    ("pair", "issuer", "service", "age"),
    [(1, ISSUER, SERVICE, 0), (0, "another", SERVICE, 0), (0, ISSUER, "another", 0), (0, ISSUER, SERVICE, 10)],
    ids=["key", "issuer", "service", "expired"],
)
async def test_a_foreign_or_old_token_opens_nothing(
    place: Place, pair: int, issuer: str, service: str, age: int
) -> None:
    assert await place.client(*OPERATOR).push("shop/shop") == 201
    made, now = signing_pair(pair), datetime.now(UTC)
    tokens = RegistryTokens(key=made.key, certificates=made.certificate, issuer=issuer, service=service, now=now)
    asked = [Access("shop/shop", frozenset({"pull"}))]
    assert await place.pulls_with(tokens.sign("x", asked, now - timedelta(minutes=age))) == 401
    good = signing_pair()
    tokens = RegistryTokens(key=good.key, certificates=good.certificate, issuer=ISSUER, service=SERVICE, now=now)
    assert await place.pulls_with(tokens.sign("x", asked, now)) == 200


async def test_buildah_pushes_with_the_account_of_a_build(place: Place, tmp_path: Path) -> None:
    require_tool("buildah")
    build = await place.build("shop")
    (tmp_path / "auth.json").write_text(build.auth_file)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    store = ("--root", str(tmp_path / "store"), "--runroot", str(tmp_path / "run"), "--storage-driver", "vfs")
    login = ("--tls-verify=false", f"--authfile={tmp_path / 'auth.json'}")
    own, foreign = f"{place.host}/shop/shop:7", f"{place.host}/pie/pie:7"
    done = await run(
        *("buildah", *store, "build", "--isolation=chroot", "--layers", f"--cache-to={place.host}/shop/cache"),
        *(f"--cache-from={place.host}/shop/cache", *login, f"--tag={own}", f"--tag={foreign}", str(tmp_path)),
    )
    assert done.status == 0, done.output
    done = await run("buildah", *store, "push", *login, own)
    assert done.status == 0, done.output
    assert await place.client(*MACHINE).pull("shop/shop", "7") == 200
    done = await run("buildah", *store, "push", *login, foreign)
    assert done.status != 0
    assert "denied" in done.output or "unauthorized" in done.output or "authentication required" in done.output


async def test_phases_of_buildpacks_push_with_the_account_of_a_build(place: Place, tmp_path: Path) -> None:
    build = await place.build("shop")
    assert await place.client(*OPERATOR).push("pie/pie") == 201
    (tmp_path / "config.json").write_text(build.auth_file)
    command = [sys.executable, "-c", PHASES, str(LIFECYCLE), place.host, str(tmp_path / "blob")]
    process = await run(
        *command, environment={"DOCKER_CONFIG": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin"}
    )
    assert process.output == "True\nFalse\n"
    assert await place.client(*MACHINE).pull("shop/shop", "2") == 200


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"registry_token_key": None}, "BUILDER_REGISTRY_TOKEN_KEY: is required"),
        ({"registry_token_certificate": ""}, "BUILDER_REGISTRY_TOKEN_CERTIFICATE: is required"),
        ({"source_token_key": None}, "BUILDER_SOURCE_TOKEN_KEY: is required"),
        ({"registry_password": None}, "BUILDER_REGISTRY_USERNAME: give both"),
        ({"registry_pull_password": SecretStr("easily guessed")}, "BUILDER_REGISTRY_PULL_PASSWORD: has 14 characters"),
        ({"registry_pull_username": ""}, "BUILDER_REGISTRY_PULL_USERNAME: give both"),
        (
            {"registry_organization": "workflow"},
            "BUILDER_REGISTRY_SHARED: no build pushes to what begins with workflow/",
        ),
        ({"registry_pull_username": OPERATOR[0]}, "BUILDER_REGISTRY_PULL_USERNAME: must differ"),
    ],
)
async def test_half_of_the_settings_is_told_at_the_start(
    short_path: Path, make_database: MakeDatabase, settings: dict[str, object], told: str
) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        async with open_world(
            short_path, await make_database("builder"), **{**token_settings(signing_pair()), **settings}
        ):
            pass
    assert "\n" not in caught.value.detail


async def test_a_builder_without_a_key_makes_no_tokens(world: World) -> None:
    async with world.http() as client:
        answer = await client.get("/registry/token", auth=OPERATOR)
    assert answer.status_code == 404
    assert "BUILDER_REGISTRY_TOKEN_KEY" in answer.json()["detail"]
