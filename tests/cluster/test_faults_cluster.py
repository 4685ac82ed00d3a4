"""What goes wrong in and around a cluster: it is told, nothing else suffers, and it heals by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from support.cluster_platform import Platform, PlatformApp, StartPlatform, until
from support.cluster_rights import Rights
from support.tcp_proxy import TcpProxy, proxied

pytestmark = pytest.mark.timeout(240)
STUCK = 8
OUTAGE_SECONDS = 120.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def line(rights: Rights, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[TcpProxy, Path]]:
    """The line to the API server, which tests cut."""
    async with proxied(rights.kubeconfig(rights.whole), tmp_path_factory.mktemp("line")) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(start_platform: StartPlatform, line: tuple[TcpProxy, Path]) -> AsyncIterator[Platform]:
    """A controller with its worker, which reaches the cluster through the line."""
    async with start_platform(prefix="hf", kubeconfig=line[1]) as running:
        yield running


@pytest.fixture
def proxy(line: tuple[TcpProxy, Path]) -> TcpProxy:
    """The line to the API server."""
    return line[0]


async def test_an_api_server_away_in_mid_rollout_fails_nothing(platform: Platform, proxy: TcpProxy) -> None:
    """It is away far longer than the rollouts have, 10 s or 20 s."""
    rolling = await platform.deploy(procfile={"web": "sample web"})
    new = await platform.create()
    await new.set(DRYCC_DEPLOY_TIMEOUT="20")
    scaled = await platform.deploy(**_sleeper(platform))
    good = await rolling.newest_version()
    # It listens after the line was cut and before its time is over: only nobody sees it.
    rolled = await rolling.set("web", START_DELAY="6", DRYCC_DEPLOY_TIMEOUT="10")
    await until(lambda: _has_new_pod(rolling, rolled))
    await proxy.cut()
    end = asyncio.get_running_loop().time() + OUTAGE_SECONDS
    try:
        deployed = await new.build(**_sleeper(platform))
        await scaled.scale(worker=1)
        configured = await scaled.set(COLOUR="blue")
        assert {pod["release"] for pod in await rolling.pods("web")} <= {f"v{good}", f"v{rolled}"}
        assert await scaled.pods() == []
        while asyncio.get_running_loop().time() < end:
            for app, version in ((rolling, rolled), (new, deployed), (scaled, configured)):
                assert (await app.release(version))["state"] == "created"
            assert await rolling.answers()
            await asyncio.sleep(1)
    finally:
        await proxy.open()
    await asyncio.gather(
        rolling.succeeds(rolled, seconds=30),
        new.succeeds(deployed, seconds=30),
        scaled.succeeds(configured, seconds=30),
    )
    (pod,) = await scaled.runs(worker=1)
    assert pod["release"] == f"v{configured}"
    assert await rolling.answers("/env/START_DELAY") == "6"


async def _has_new_pod(app: PlatformApp, version: int) -> bool:
    return any(pod["release"] == f"v{version}" for pod in await app.pods("web"))


async def test_a_namespace_of_somebody_else_is_told_and_left_alone(platform: Platform) -> None:
    name = f"hf-theirs-{uuid4().hex[:6]}"
    await platform.run_kubectl("create", "namespace", name)
    await platform.run_kubectl("create", "configmap", "theirs", "-n", name, "--from-literal=a=b")
    before = await platform.objects("namespace", name)
    app = await platform.create(name)
    version = await app.build(**_sleeper(platform))
    failure = await app.fails(version)
    assert failure["code"] == "namespace-taken"
    assert f"The namespace {name} is in the cluster already" in failure["message"]
    assert (await platform.objects("namespace", name))["metadata"] == before["metadata"]
    owned = await platform.objects("deployments,services,secrets,rolebindings,serviceaccounts", "-n", name)
    assert [one["metadata"]["name"] for one in owned["items"]] == ["default"]
    await app.call("DELETE", expect=204)
    app.is_gone = True
    await until(lambda: _is_free(platform, name))
    assert (await platform.objects("namespace", name))["metadata"] == before["metadata"]
    await platform.run_kubectl("delete", "namespace", name, "--wait=false")


async def test_namespaces_that_do_not_go_delay_nobody(platform: Platform) -> None:
    """As many as there are workers, and one app more."""
    stuck = await asyncio.gather(*(platform.deploy(**_sleeper(platform)) for _ in range(STUCK)))
    for app in stuck:
        held = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "held", "finalizers": ["example.org/x"]}}
        await asyncio.to_thread(platform.kubectl, "create", "-n", app.name, "-f", "-", stdin=json.dumps(held))
    try:
        for app in stuck:
            await app.call("DELETE", expect=204)
            await app.call("GET", expect=404)
        await asyncio.gather(*(until(lambda app=app: _is_going(app)) for app in stuck))  # type: ignore[misc]
        ninth = await platform.create()
        await ninth.succeeds(await ninth.build(**_sleeper(platform)), seconds=30)
        assert all(await asyncio.gather(*(_is_going(app) for app in stuck)))
        assert not await _is_free(platform, stuck[0].name)
    finally:
        patch = ("--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        for app in stuck:
            await platform.run_kubectl("patch", "configmap", "held", "-n", app.name, *patch)
    await until(lambda: _is_free(platform, stuck[0].name))


async def test_a_namespace_that_somebody_deletes_comes_back_with_everything(platform: Platform) -> None:
    app = await platform.deploy(procfile={"web": "sample web"})
    await app.answers()
    before = await platform.objects("namespace", app.name)
    await platform.run_kubectl("delete", "namespace", app.name, "--wait=false")

    async def is_another() -> bool:
        return bool((await platform.objects("namespace", app.name))["metadata"]["uid"] != before["metadata"]["uid"])

    await until(is_another)
    await app.runs(web=1)
    await app.answers()


async def test_long_names_deploy_and_answer(platform: Platform) -> None:
    app = await platform.create(f"hf-{uuid4().hex[:8]}-{'long' * 10}"[:50])
    ptype = f"{'process-' * 6}type"
    assert len(f"{app.name}-{ptype}") > 63
    await app.succeeds(await app.build(procfile={"web": "sample web", ptype: "sample worker"}))
    await app.scale(**{ptype: 1})
    await app.runs(**{"web": 1, ptype: 1})
    await app.answers()
    (pod,) = await app.pods(ptype)

    async def has_said() -> bool:
        return any("worker of v" in line for line in await app.logs(pod["name"]))

    await until(has_said)


async def test_what_a_policy_denies_fails_at_once_in_its_words(platform: Platform) -> None:
    """Another app deploys meanwhile."""
    app = await platform.deploy(image=platform.image, procfile={"clock": "sample worker"})
    rules = [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}]
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules, "namespaceSelector": _only(app)},
        "validations": [
            {"expression": "!object.metadata.name.endsWith('-worker')", "message": "no workers on Sundays"}
        ],
    }
    binding = {"policyName": app.name, "validationActions": ["Deny"]}
    kinds = {"ValidatingAdmissionPolicy": spec, "ValidatingAdmissionPolicyBinding": binding}
    objects = [_admission(kind, app, {"spec": facts}) for kind, facts in kinds.items()]
    await asyncio.to_thread(platform.kubectl.apply, objects)
    try:
        await until(lambda: _refuses(app, "-worker", "no workers on Sundays"))
        failure = await app.fails(await app.build(), seconds=20)
        assert (failure["code"], failure["ptype"]) == ("cluster-denied", "worker")
        assert "no workers on Sundays" in failure["message"]
        other = await platform.create()
        await other.succeeds(await other.build(**_sleeper(platform)), seconds=30)
    finally:
        await platform.run_kubectl("delete", ",".join(kinds), app.name)

    async def is_let_in() -> bool:
        return not await _refuses(app, "-worker", "no workers on Sundays")

    await until(is_let_in)
    await app.succeeds(await app.build(**_sleeper(platform)))
    answer = await app.owner.client.post(f"/v2/apps/{app.name}/config/", json={"tags": {"worker": {"disk": "none"}}})
    assert answer.status_code == 400, answer.text


async def test_a_webhook_that_is_away_is_waited_for_until_the_deadline(platform: Platform) -> None:
    app = await platform.deploy(values={"DRYCC_DEPLOY_TIMEOUT": "5"}, **_sleeper(platform))
    hook = {
        "name": "away.example.org",
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": _only(app),
    }
    webhook = _admission("ValidatingWebhookConfiguration", app, {"webhooks": [hook]})
    await asyncio.to_thread(platform.kubectl.apply, [webhook])
    try:
        await until(lambda: _refuses(app, "", "failed calling webhook"))
        failure = await app.fails(await app.set(COLOUR="red"))
        assert "away.example.org" in failure["message"]
        assert failure["ptype"] == "worker"
        patient = await app.set(DRYCC_DEPLOY_TIMEOUT="60")
        with pytest.raises(AssertionError, match="last seen: None"):
            await app.settled(patient, seconds=3)
    finally:
        await platform.run_kubectl("delete", "validatingwebhookconfiguration", app.name)
    await app.succeeds(patient)


def _sleeper(platform: Platform) -> dict[str, Any]:
    """A build without pods: a process type other than `web` begins at 0."""
    return {"image": platform.image, "procfile": {"worker": "sample worker"}}


def _only(app: PlatformApp) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": app.name}}


def _admission(kind: str, app: PlatformApp, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": app.name},
        **facts,
    }


async def _refuses(app: PlatformApp, suffix: str, words: str) -> bool:
    """The cluster refuses a Deployment whose name ends so, in these words."""
    command = ("create", "deployment", f"probe{suffix}", "--image=busybox:1", "-n", app.name, "--dry-run=server")
    try:
        await app.platform.run_kubectl(*command)
    except AssertionError as refused:
        return words in str(refused)
    return False


async def _is_going(app: PlatformApp) -> bool:
    space = await app.platform.objects("namespace", app.name)
    return bool(space["status"]["phase"] == "Terminating")


async def _is_free(platform: Platform, name: str) -> bool:
    """Whether an app of that name can be made; it is taken away again."""
    owner = await platform.api.person("ana")
    answer = await owner.client.post("/v2/apps/", json={"id": name})
    if answer.status_code == 400:
        assert "already exists" in answer.text
        return False
    assert answer.status_code == 201, answer.text
    await owner.client.delete(f"/v2/apps/{name}/")
    return True
