"""The builder with real git in front of it and a real cluster behind it: pushes become Jobs, and Jobs images."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from builder.ssh.hostkeys import load_host_keys
from integration.builder_ssh.far_side import FarSide
from integration.builder_ssh.world import Outcome, World, commit, open_world
from shared.events import BuildSucceeded
from support import eventually
from support.builder_cluster import BuildPlace, build_images, build_place, build_settings
from support.cluster_image import REGISTRY, REGISTRY_OF_PODS
from support.fixtures import MakeDatabase
from support.http import reachable
from support.kubectl import Kubectl
from support.tools import free_port

pytestmark = pytest.mark.timeout(2400)  # the first one makes the images that builds need
SECONDS: Final = 300.0
DOCKERFILE: Final = "FROM busybox:1\nRUN echo built > /built && sleep 3 && echo after the sleep\nCMD cat /built\n"
PYTHON: Final = {
    "requirements.txt": "",
    "Procfile": "web: python -m http.server $PORT\n",
    "app.py": "",
}


@dataclass
class Builders:
    """Starts one builder after the other on the same volume, database and cluster."""

    path: Path
    database_url: str
    place: BuildPlace
    kubectl: Kubectl
    images: dict[str, str]
    far_side: FarSide = field(default_factory=FarSide)

    @asynccontextmanager
    async def started(self, **changes: object) -> AsyncIterator[World]:
        port = free_port()
        settings = build_settings(self.place, self.images, storage=self.path / "storage", port=port) | changes
        async with (
            open_world(self.path, self.database_url, is_scripted=False, far_side=self.far_side, **settings) as world,
            reachable(world.app, host="0.0.0.0", port=port),
        ):
            yield world


@pytest.fixture(scope="module")
def images(kubectl: Kubectl) -> dict[str, str]:
    """What builds run, as settings of the builder."""
    return build_images()


@pytest.fixture
def place(tmp_path: Path, kubectl: Kubectl) -> Iterator[BuildPlace]:
    """Where builds run, and the builder's rights there."""
    with build_place(kubectl, tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def builders(
    tmp_path: Path, place: BuildPlace, kubectl: Kubectl, images: dict[str, str], make_database: MakeDatabase
) -> Builders:
    load_host_keys(tmp_path / "ssh")
    return Builders(tmp_path, await make_database("builder"), place, kubectl, images)


async def pushed(world: World, app: str, files: dict[str, str | bytes]) -> Outcome:
    key = world.add_user("ana", app)
    await commit(world.path / app, files)
    return await world.push(key, world.path / app, app, seconds=SECONDS)


def image_of(world: World) -> str:
    (event,) = [one.unwrap() for one in world.events if one.routing_key == "build.succeeded"]
    assert isinstance(event, BuildSucceeded)
    return event.image


def is_in_registry(image: str) -> bool:
    name, _, digest = image.removeprefix(f"{REGISTRY_OF_PODS}/").partition("@")
    accept = {
        "Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    }
    url = f"http://{REGISTRY}/v2/{name}/manifests/{digest}"
    return httpx.head(url, headers=accept, trust_env=False).status_code == httpx.codes.OK


async def left_behind(builders: Builders) -> list[str]:
    found = await asyncio.to_thread(builders.kubectl.get, "jobs,secrets", "-n", builders.place.namespace)
    objects = [f"{one['kind']}/{one['metadata']['name']}" for one in found["items"]]
    return objects + [str(path) for path in (builders.path / "storage").rglob("*") if path.is_file()]


async def test_a_dockerfile_is_built_in_a_job_and_lands_in_the_registry(builders: Builders) -> None:
    async with builders.started() as world:
        word = uuid4().hex
        outcome = await pushed(world, "shop", {"Dockerfile": f"{DOCKERFILE}RUN echo {word} | rev\n"})
        assert outcome.status == 0, outcome.output
        assert word[::-1] in outcome.output
        assert "shop:v2 deployed to Workflow" in outcome.output
        image = image_of(world)
        assert image.startswith(f"{REGISTRY_OF_PODS}/shop/shop@sha256:")
        assert is_in_registry(image)
    await eventually(lambda: _nothing_left(builders), timeout=30)


async def test_an_app_without_a_dockerfile_is_built_by_buildpacks(builders: Builders) -> None:
    builders.far_side.values = [{"name": name, "value": "/nowhere", "group": "global"} for name in ("PATH", "PLACE")]
    async with builders.started() as world:
        outcome = await pushed(world, "pie", {**PYTHON})
        assert outcome.status == 0, outcome.output
        assert (
            "Not given to the build, as it has its own or cannot have the name: PATH " in outcome.output
        )  # git fills lines with blanks
        assert is_in_registry(image_of(world))


async def test_a_failing_build_says_why_and_leaves_nothing(builders: Builders) -> None:
    async with builders.started() as world:
        outcome = await pushed(world, "shop", {"Dockerfile": "FROM busybox:1\nRUN echo about to fail && exit 7\n"})
        assert outcome.status == 1
        assert "about to fail" in outcome.output
        assert "Build failed (build-failed)" in outcome.output
        async with world.http() as client:  # whose token is good for all else
            assert (await client.get(f"/builds/{uuid4()}/source")).status_code == 403
    await eventually(lambda: _nothing_left(builders), timeout=30)


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("evicted", "the build was stopped from outside: Eviction API: evicting"),
        # Whichever is seen first: how the pod ends, or that it is gone.
        ("deleted", "stopped from outside: its pod was deleted|the build's pod was lost: "),
        ("without its Job", "stopped from outside: its pod was deleted|was removed from the cluster"),
    ],
)
@pytest.mark.parametrize("stack", ["container", "buildpack"])
async def test_a_build_whose_pod_is_taken_away_has_not_been_cancelled(
    builders: Builders, stack: str, way: str, words: str
) -> None:
    slow = f"echo {uuid4()} && sleep 120"
    files: dict[str, str | bytes] = {"Dockerfile": f"FROM busybox:1\nRUN {slow}\n"}
    if stack == "buildpack":
        scripts = {"start": "node .", "build": slow}
        files = {"package.json": json.dumps({"name": "x", "version": "1.0.0", "scripts": scripts})}
    async with builders.started() as world:
        pushing = asyncio.create_task(pushed(world, "shop", files))
        logs = world.settings.build_logs / "shop"
        await eventually(lambda: any("&& sleep 120" in one.read_text() for one in logs.glob("*.log")), timeout=120)
        await asyncio.to_thread(_take_away, builders, way)
        outcome = await pushing
        assert outcome.status == 1
        assert "Build failed (interrupted)" in outcome.output, outcome.output
        assert re.search(words, outcome.output), outcome.output
        assert "build.cancelled" not in world.event_types()
    await eventually(lambda: _nothing_left(builders), timeout=30)


def _take_away(builders: Builders, way: str) -> None:
    namespace = builders.place.namespace
    (pod,) = builders.kubectl.get("pods", "-n", namespace)["items"]
    name = pod["metadata"]["name"]
    if way == "evicted":
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
        builders.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    elif way == "deleted":
        builders.kubectl("delete", "pod", name, "-n", namespace, "--wait=false")
    else:
        builders.kubectl("delete", "jobs", "--all", "-n", namespace, "--wait=false")


async def test_a_build_outlives_the_builder(builders: Builders) -> None:
    slow = DOCKERFILE.replace("sleep 3", f"sleep 20 && echo {uuid4()}")  # no cache has it
    async with builders.started() as world:
        pushing = asyncio.create_task(pushed(world, "shop", {"Dockerfile": slow}))
        logs = world.settings.build_logs / "shop"
        await eventually(lambda: any("RUN echo built" in one.read_text() for one in logs.glob("*.log")), timeout=120)
    assert (await pushing).status != 0
    async with builders.started() as world:
        await eventually(lambda: "build.succeeded" in world.event_types(), timeout=180)
        assert is_in_registry(image_of(world))
        (log,) = logs.glob("*.log")
        lines = [line.strip() for line in log.read_text().splitlines()]
        assert lines.count("after the sleep") == 1, "\n".join(lines)
        assert sum("RUN echo built" in line for line in lines) == 1
    await eventually(lambda: _nothing_left(builders), timeout=30)


@pytest.mark.parametrize("stack", ["container", "buildpack"])
async def test_what_a_build_may_do_as_the_cluster_has_it(builders: Builders, stack: str) -> None:
    files: dict[str, str | bytes] = {**({"Dockerfile": DOCKERFILE} if stack == "container" else PYTHON)}
    builders.far_side.values = [{"name": "PLACE", "value": "here", "group": "global"}]
    limits = {"build_timeout": timedelta(minutes=7), "build_start_timeout": timedelta(minutes=2)}
    chosen = {"pod_node_selector": "kubernetes.io/os:linux", "pod_image_pull_secrets": ["registry-one"]}
    async with builders.started(**chosen, **limits) as world:
        pushing = asyncio.create_task(pushed(world, "shop", files))
        await eventually(lambda: _is_there(builders), timeout=60)
        job, pod, secret = [await asyncio.to_thread(_only_one, builders, kind) for kind in ("job", "pod", "secret")]
        outcome = await pushing
    assert outcome.status == 0, outcome.output
    told = {"workflow.dev/app": "shop", "app.kubernetes.io/component": "build"}
    for one in (job, pod, secret):
        assert one["metadata"]["labels"].items() >= told.items()
        assert one["metadata"]["annotations"]["workflow.dev/actor"] == "ana"
    owners = [one["metadata"]["ownerReferences"][0]["uid"] for one in (pod, secret)]
    assert owners == [job["metadata"]["uid"]] * 2
    assert secret["immutable"]
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["activeDeadlineSeconds"] > (7 + 2) * 60
    spec = pod["spec"]
    assert spec["activeDeadlineSeconds"] == 7 * 60
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert (spec["restartPolicy"], spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (
        *("Never", False, False),
    )
    assert spec["imagePullSecrets"] == [{"name": "registry-one"}]
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"}
    assert {kind for volume in spec["volumes"] for kind in volume.keys() - {"name"}} == {"secret", "emptyDir"}
    assert all("sizeLimit" in volume["emptyDir"] for volume in spec["volumes"] if "emptyDir" in volume)
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        _is_held_back(container, stack)


def _is_held_back(container: dict[str, Any], stack: str) -> None:
    """No more than it needs, and a limit on all that it uses."""
    security = container["securityContext"]
    added = ["SETUID", "SETGID"] if stack == "container" else None
    assert (security["capabilities"]["drop"], security["capabilities"].get("add")) == (["ALL"], added)
    assert security["allowPrivilegeEscalation"] is False
    assert not security.get("privileged")
    assert container["resources"]["limits"].keys() == {"cpu", "memory", "ephemeral-storage"}
    assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
    assert not any("/var/run/secrets" in mount["mountPath"] for mount in container["volumeMounts"])


async def test_a_build_that_finds_no_room_in_the_quota_says_so_and_waits(builders: Builders) -> None:
    quota = ("resourcequota", "builds", "-n", builders.place.namespace)
    await asyncio.to_thread(builders.kubectl, "create", *quota, "--hard=pods=0")
    async with builders.started(build_start_timeout=timedelta(minutes=5)) as world:
        pushing = asyncio.create_task(pushed(world, "shop", {"Dockerfile": "FROM busybox:1\n"}))

        async def is_told() -> bool:
            (build,) = await world.context.records.page(app="shop", before=None, limit=1) or (None,)
            if build is None:
                return False
            text = b"".join([part async for part in world.context.logs.read("shop", build.id, offset=0, follow=False)])
            return b"The build waits: " in text and b"exceeded quota" in text

        await eventually(is_told, timeout=60)
        await asyncio.to_thread(builders.kubectl, "delete", *quota)
        outcome = await pushing
    assert outcome.status == 0, outcome.output


def test_what_a_builder_may_do(place: BuildPlace) -> None:
    def may(*words: str, namespace: str = place.namespace) -> bool:
        command = ("kubectl", "--kubeconfig", str(place.kubeconfig), "auth", "can-i", *words, "-n", namespace)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.strip() in ("yes", "no"), done.stderr
        return done.stdout.strip() == "yes"

    assert may("create", "jobs.batch")
    assert may("create", "secrets")
    assert not may("get", "secrets")
    assert not may("list", "secrets")
    assert not may("create", "pods")
    assert not may("create", "pods/exec")
    assert not may("create", "rolebindings.rbac.authorization.k8s.io")
    assert not may("create", "jobs.batch", namespace="kube-system")
    assert not may("list", "pods", namespace="kube-system")
    assert not may("create", "namespaces")


async def _is_there(builders: Builders) -> bool:
    found = await asyncio.to_thread(builders.kubectl.get, "pods", "-n", builders.place.namespace)
    return any(pod["spec"].get("nodeName") for pod in found["items"])


def _only_one(builders: Builders, kind: str) -> dict[str, Any]:
    (found,) = builders.kubectl.get(kind, "-n", builders.place.namespace, "-l", "workflow.dev/build")["items"]
    return dict(found)


async def _nothing_left(builders: Builders) -> bool:
    return await left_behind(builders) == []
