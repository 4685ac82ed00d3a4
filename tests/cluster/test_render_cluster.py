"""What the renderers of an app make, on a real cluster: admitted, kept as it was written, and running."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from controller.domain.spec import AppSpec, ProcessSpec
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests import Manifest, render, render_job
from controller.engine.kubernetes.manifests.quantities import canonical
from support.kubectl import Kubectl, eventually
from support.kubernetes_specs import CAREFUL, CONFIG, JOB, MINIMAL, RICH, SCALED, VOLUMES

IMAGE = os.environ.get("TEST_IMAGE", "busybox:1")
QUANTITIES: Final = (
    "1",
    "0.25",
    "1000m",
    "1500",
    "0.5Gi",
    "1.5Gi",
    "8.588",
    "57.168G",
    "2e3",
    "0.0001Ki",
    "1024",
    "+1",
)

RENDERERS: Final[Mapping[str, Callable[[str], tuple[Manifest, ...]]]] = {
    "minimal": lambda app: render(replace(MINIMAL, app=app), CONFIG),
    "rich": lambda app: render(replace(RICH, app=app), CAREFUL),
    "autoscale": lambda app: render(replace(SCALED, app=app), CONFIG),
    "volumes": lambda app: render(replace(VOLUMES, app=app), CONFIG),
    "job": lambda app: render_job(replace(JOB, app=app), CONFIG),
    "shipped plans": lambda app: render(replace(MINIMAL, app=app), KubernetesConfig()),
}


@pytest.mark.parametrize("name", RENDERERS)
def test_every_object_is_admitted_and_kept_as_it_was_written(
    kubectl: Kubectl, make_namespace: Callable[[], str], name: str
) -> None:
    made = RENDERERS[name](make_namespace())
    answer = json.loads(kubectl.apply(made, "--dry-run=server", "--force-conflicts", "-o", "json"))
    kept = answer["items"] if answer["kind"] == "List" else [answer]
    assert len(kept) == len(made)
    assert [list(differences(ours, theirs)) for ours, theirs in zip(made, kept, strict=True)] == [[]] * len(made)


def test_the_api_server_has_nothing_to_change_about_quantities(
    kubectl: Kubectl, make_namespace: Callable[[], str]
) -> None:
    volumes = [{"name": f"v{i}", "emptyDir": {"sizeLimit": canonical(text)}} for i, text in enumerate(QUANTITIES)]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "sizes", "namespace": make_namespace()},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{"name": "one", "image": "busybox:1"}],
            "volumes": volumes,
        },
    }
    kept = json.loads(kubectl.apply([pod], "--dry-run=server", "-o", "json"))
    assert list(differences(pod, kept)) == []


def test_an_app_runs_under_these_rules(kubectl: Kubectl, make_namespace: Callable[[], str]) -> None:
    app = make_namespace()
    env = {"PORT": "8000", "FOO_BAR": "1", "foo-bar": "2", "hex-41": "3", "odd[name]": "4"}
    web = ProcessSpec(
        "web", 1, 2, IMAGE, "heroku-24", shell="httpd -f -p $PORT -h /", env=env, port=8000, must_listen=True
    )
    line = 'test "$$" = 1 && echo "$(echo $PORT)" && sleep 1000'
    worker = ProcessSpec("worker", 1, 2, IMAGE, "heroku-24", shell=line, env=env, port=8000)
    kubectl.apply(render(AppSpec(app, (web, worker)), KubernetesConfig()))
    kubectl("rollout", "status", "-n", app, f"deployment/{app}-web", "--timeout=50s")
    # The program takes the place of the shell, so that it is told to stop.
    assert execute(kubectl, app, "web", "cat", "/proc/1/cmdline").startswith("httpd\0")
    seen = dict(entry.split("=", 1) for entry in execute(kubectl, app, "web", "env").splitlines() if "=" in entry)
    assert env.items() <= seen.items()
    assert seen["CONTAINER_IP"] == kubectl.get("pods", "-n", app, "-l", "type=web")["items"][0]["status"]["podIP"]

    def says() -> str:
        text = kubectl("logs", "-n", app, f"deployment/{app}-worker")
        assert text
        return text

    assert eventually(says) == "8000\n"


def execute(kubectl: Kubectl, app: str, ptype: str, *command: str) -> str:
    """What a command says in the container of that process type."""
    return kubectl("exec", "-n", app, f"deployment/{app}-{ptype}", "--", *command)


def differences(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Where `theirs` is not what we wrote; what it has besides does not count."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from differences(value, theirs.get(key), f"{place}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{place}[{number}]")
    elif ours != theirs:
        yield f"{place}: {ours!r} became {theirs!r}"
