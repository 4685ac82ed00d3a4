"""The whole controller at work on a real cluster: API, worker, PostgreSQL, the Kubernetes engine and real pods.

Apps run the image `sample` (`cluster_images/sample/sample.py`), and are reached as users reach them: through the
gateway, by their host name.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import httpx

from controller.domain.names import RUN
from controller.domain.plans_file import read_catalog
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.engine import KubernetesEngine
from shared.kubernetes.transport import Kubeconfig
from support import cluster_image
from support.controller_api import Api, Person, running_api
from support.go_websocket import GoWebSocket
from support.kubectl import Kubectl

T = TypeVar("T")
MakeEngine = Callable[[Kubeconfig, KubernetesConfig], KubernetesEngine]
StartPlatform = Callable[..., AbstractAsyncContextManager["Platform"]]
"""`running_platform` with all that a test does not choose; see the fixture `start_platform`."""

APP_DOMAIN: Final = "apps.test"
PROCFILE: Final[Mapping[str, str]] = {"web": "sample web", "worker": "sample worker"}
LIMITS_FILE: Final = cluster_image.IMAGES / "limits.json"
"""Plans that leave room for many pods on a small machine."""
ENTRY: Final = os.environ.get("TEST_GATEWAY", "127.0.0.1")
"""Where the gateway of all apps takes requests, at ports 80 and 443."""
SECONDS: Final = 90.0
_PAUSE_SECONDS: Final = 0.05
_OWNER: Final = "ana"


async def until(ask: Callable[[], Awaitable[T]], *, seconds: float = SECONDS, pause: float = _PAUSE_SECONDS) -> T:
    """The first answer that is true; asked now and then, as a person would, since the cluster works meanwhile.

    Raises:
        AssertionError: there was none in time; tells the last one, or what asking raised last.
    """
    end = asyncio.get_running_loop().time() + seconds
    while True:
        seen: object
        try:
            seen = answer = await ask()
            if answer:
                return answer
        except (AssertionError, httpx.TransportError) as error:
            seen = error
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"not within {seconds} s; last seen: {seen!r}")
        await asyncio.sleep(pause)


@dataclass
class Platform:
    """A running controller, and the apps that were made in it: all of them are destroyed in the end."""

    api: Api[KubernetesEngine]
    kubectl: Kubectl
    image: str
    entry: httpx.AsyncClient
    """Sends requests to the gateway of all apps."""
    prefix: str
    apps: list[PlatformApp] = field(default_factory=list)

    @property
    def engine(self) -> KubernetesEngine:
        """The engine of the controller."""
        return self.api.engine

    async def create(self, name: str | None = None) -> PlatformApp:
        """A new app, without a build."""
        name = await self.api.create(name or f"{self.prefix}-{uuid4().hex[:10]}", _OWNER)
        self.apps.append(PlatformApp(name, self, await self.api.person(_OWNER)))
        return self.apps[-1]

    async def deploy(self, *, values: Mapping[str, str] | None = None, **facts: Any) -> PlatformApp:
        """A new app that runs: `values` are its variables from the start, `facts` are of the build."""
        app = await self.create()
        if values:
            await app.set(**values)
        await app.build(**facts)
        await app.succeeds()
        return app

    async def run_kubectl(self, *arguments: str) -> str:
        """What kubectl prints."""
        return await asyncio.to_thread(self.kubectl, *arguments)

    async def objects(self, *arguments: str) -> Any:
        """What `kubectl get` gives."""
        return await asyncio.to_thread(self.kubectl.get, *arguments)

    async def clear(self) -> None:
        """Destroy what is left, all at once.

        Raises:
            AssertionError: something is still there; its namespace is told to go by kubectl.
        """
        left = [app for app in self.apps if not app.is_gone]
        done = await asyncio.gather(*(app.destroy() for app in left), return_exceptions=True)
        failed = {app.name: error for app, error in zip(left, done, strict=True) if error is not None}
        if failed:
            await self.run_kubectl("delete", "namespace", "--wait=false", "--ignore-not-found", *failed)
        assert not failed, f"not destroyed: {failed}"


@dataclass
class PlatformApp:
    """One app, and what its owner does with it."""

    name: str
    platform: Platform
    owner: Person = field(repr=False)
    is_gone: bool = False

    @property
    def host(self) -> str:
        """Its own host name."""
        return f"{self.name}.{APP_DOMAIN}"

    async def call(self, method: str, path: str = "", *, expect: int | None = None, json: object = None) -> Any:
        """The answer of the API to a request about the app; it must have the status `expect`, or be no error."""
        response = await self.owner.client.request(method, f"/v2/apps/{self.name}/{path}", json=json)
        good = response.is_success if expect is None else response.status_code == expect
        assert good, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    async def build(self, **facts: Any) -> int:
        """Deploy an image, `sample` with web and worker unless told otherwise; the number of the new release."""
        body = {"image": self.platform.image, "stack": "container", "procfile": dict(PROCFILE)}
        await self.call("POST", "build/", expect=201, json=body | facts)
        return await self.newest_version()

    async def configure(self, **patch: Any) -> int:
        """Change the config; the number of the new release."""
        await self.call("POST", "config/", expect=201, json=patch)
        return await self.newest_version()

    async def set(self, ptype: str | None = None, **values: str | None) -> int:
        """Variables of all process types, or of one; the number of the new release."""
        scope = {"group": "global"} if ptype is None else {"ptype": ptype}
        return await self.configure(values=[{"name": name, "value": text, **scope} for name, text in values.items()])

    async def scale(self, **counts: int) -> None:
        """So many instances."""
        await self.call("POST", "ptypes/scale/", expect=204, json=counts)

    async def release(self, version: int | None = None) -> dict[str, Any]:
        """A release, the newest unless a version is given."""
        if version is None:
            found: dict[str, Any] = (await self.call("GET", "releases/?limit=1"))["results"][0]
        else:
            found = await self.call("GET", f"releases/v{version}/")
        return found

    async def newest_version(self) -> int:
        """The number of the newest release."""
        return int((await self.release())["version"])

    async def settled(
        self, version: int | None = None, *, seconds: float = SECONDS, pause: float = _PAUSE_SECONDS
    ) -> dict[str, Any]:
        """A release, the newest unless a version is given, as soon as its rollout has ended."""

        async def is_over() -> dict[str, Any] | None:
            release = await self.release(version)
            return release if release["state"] != "created" else None

        found = await until(is_over, seconds=seconds, pause=pause)
        assert found is not None
        return found

    async def succeeds(self, version: int | None = None, *, seconds: float = SECONDS) -> None:
        """The rollout of a release, the newest unless a version is given, ends well."""
        release = await self.settled(version, seconds=seconds)
        assert release["state"] == "succeed", release

    async def fails(self, version: int | None = None, *, seconds: float = SECONDS) -> dict[str, Any]:
        """The rollout of a release ends badly, for this reason: `code`, `ptype`, `message`, `log`, `hint`."""
        release = await self.settled(version, seconds=seconds)
        assert release["state"] == "crashed", release
        failure: dict[str, Any] = release["failure"]
        return failure

    async def pods(self, ptype: str | None = None) -> list[dict[str, Any]]:
        """Instances as the API lists them; those of one process type if one is given."""
        listed: list[dict[str, Any]] = (await self.call("GET", "pods/"))["results"]
        return [pod for pod in listed if ptype in (None, pod["type"])]

    async def runs(self, *, seconds: float = SECONDS, **counts: int) -> list[dict[str, Any]]:
        """All instances but one-offs, as soon as there are exactly so many of each type, all of them up and ready."""
        wanted = sorted(ptype for ptype, count in counts.items() for _ in range(count))
        found: list[dict[str, Any]] = []

        async def are_there() -> bool:
            found[:] = [pod for pod in await self.pods() if pod["type"] != RUN]
            assert sorted(pod["type"] for pod in found) == wanted, found
            assert all((pod["state"], pod["ready"]) == ("up", "1/1") for pod in found), found
            return True

        await until(are_there, seconds=seconds)
        return found

    async def get(self, path: str = "/", *, method: str = "GET", content: bytes | None = None) -> httpx.Response:
        """What the app answers to a request through the gateway."""
        return await self.platform.entry.request(method, path, headers={"Host": self.host}, content=content)

    async def answers(
        self, path: str = "/", *, status: int = 200, text: str | None = None, seconds: float = SECONDS
    ) -> str:
        """The text of its answer, as soon as that has the status, and is `text` if one is given."""

        async def ask() -> httpx.Response:
            response = await self.get(path)
            is_it = response.status_code == status and text in (None, response.text)
            assert is_it, f"{self.host}{path}: {response.status_code} {response.text}"
            return response

        return (await until(ask, seconds=seconds)).text

    async def job(self, command: str | Sequence[str], *, seconds: float = SECONDS, **facts: Any) -> dict[str, Any]:
        """A one-off, as it stands when it has ended."""
        body = {"command": command if isinstance(command, str) else list(command), **facts}
        started = await self.call("POST", "jobs", expect=201, json=body)

        async def is_over() -> dict[str, Any] | None:
            job: dict[str, Any] = await self.call("GET", f"jobs/{started['name']}")
            return job if job["state"] in ("down", "crashed") else None

        found = await until(is_over, seconds=seconds)
        assert found is not None
        return found

    async def dial(self, path: str) -> GoWebSocket:
        """A conversation at that path below the app, as the released client holds it."""
        address = self.platform.api.address
        assert address is not None
        assert address.host is not None
        assert address.port is not None
        path = f"/v2/apps/{self.name}/{path}"
        return await GoWebSocket.dial(address.host, address.port, path, token=self.owner.token)

    async def converse(self, path: str, request: object) -> list[bytes]:
        """All messages that come after one request."""
        conversation = await self.dial(path)
        try:
            await conversation.send_json(request)
            return await conversation.everything()
        finally:
            await conversation.close()

    async def logs(self, pod: str, *, lines: int = 100) -> list[str]:
        """What an instance has said."""
        messages = await self.converse(f"pods/{pod}/logs/", {"lines": lines, "follow": False})
        return b"".join(messages).decode().splitlines()

    async def execute(self, pod: str, *command: str) -> bytes:
        """What a command beside an instance answers: the byte of the channel, then all of its output."""
        messages = await self.converse(f"pods/{pod}/exec/", {"command": command, "tty": False, "stdin": False})
        return b"".join(messages)

    async def destroy(self, *, seconds: float = SECONDS) -> None:
        """Destroy the app and wait until nothing of it is left."""
        response = await self.owner.client.delete(f"/v2/apps/{self.name}/")
        assert response.status_code in (204, 404), response.text
        await until(self._has_no_namespace, seconds=seconds, pause=0.5)
        self.is_gone = True

    async def _has_no_namespace(self) -> bool:
        found = await self.platform.run_kubectl("get", "namespace", self.name, "--ignore-not-found", "-o", "name")
        return not found.strip()


@asynccontextmanager
async def running_platform(
    kubeconfig: Path,
    database_url: str,
    *,
    kubectl: Kubectl | None = None,
    image: str | None = None,
    make_engine: MakeEngine = KubernetesEngine,
    config: Mapping[str, Any] | None = None,
    prefix: str = "pf",
    served: bool = True,
    **overrides: Any,
) -> AsyncIterator[Platform]:
    """A controller on the cluster of that file; `config` and `overrides` change what the engine and it are set to.

    Apps run `image`, which is made unless it is given.
    """
    kubectl = kubectl or Kubectl()
    if image is None:
        image = await asyncio.to_thread(cluster_image.image)
    engine = make_engine(Kubeconfig(kubeconfig), config_for(kubectl, **(config or {})))
    settings: dict[str, Any] = {"app_domain": APP_DOMAIN, "limits_file": LIMITS_FILE} | overrides
    entry = httpx.AsyncClient(base_url=f"http://{ENTRY}", timeout=10, trust_env=False)
    try:
        await engine.start()
        async with entry, running_api(database_url, engine=engine, served=served, **settings) as api:
            platform = Platform(api, kubectl, image, entry, prefix)
            try:
                yield platform
            finally:
                await platform.clear()
    finally:
        await engine.close()


def config_for(kubectl: Kubectl, **changes: Any) -> KubernetesConfig:
    """What an operator would choose for that cluster, with small plans; volumes of one node."""
    config = KubernetesConfig(
        gateway_class=gateway_class(kubectl),
        app_domain=APP_DOMAIN,
        volume_access_mode="ReadWriteOnce",
        catalog=read_catalog(LIMITS_FILE),
        start_deadline=timedelta(seconds=60),
    )
    return replace(config, **changes)


def gateway_class(kubectl: Kubectl) -> str:
    """The first class of gateways that the cluster has accepted."""
    for item in kubectl.get("gatewayclass")["items"]:
        conditions = {each["type"]: each["status"] for each in item.get("status", {}).get("conditions", ())}
        if conditions.get("Accepted") == "True":
            return str(item["metadata"]["name"])
    raise AssertionError("no gateway class of the cluster is accepted")
