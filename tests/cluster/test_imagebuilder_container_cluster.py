"""Builds of Dockerfiles on a real cluster: a Job that may nothing, an image in the registry, pods that run it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from support.build_source import archive, served
from support.cluster_image import REGISTRY_OF_PODS
from support.imagebuilder_image import imagebuilder_image
from support.imagebuilder_job import SHA, ContainerBuild, Outcome, blob, ended_build, manifest, start_build
from support.kubectl import Kubectl, eventually

pytestmark = pytest.mark.timeout(900)

BASE = f"{REGISTRY_OF_PODS}/library/busybox:1"
SECRET = "kept-among-builders"
DOCKERFILE = f"""\
FROM {BASE}
ARG GREETING=none
ARG SHOUT
LABEL maintainer=mina
COPY --chown=1234 text /srv/text
RUN test "$SHOUT" = "good  morning" && echo "$GREETING" > /srv/greeting && chown 77:88 /srv/greeting
RUN --mount=type=secret,id=API_KEY test "$(cat /run/secrets/API_KEY)" = {SECRET[:4]}"{SECRET[4:]}" && echo used
USER 1234
CMD cat /srv/text /srv/greeting; stat -c %u:%g /srv/text /srv/greeting; id -u
"""
WORKER = f'FROM {BASE}\nSHELL ["/bin/sh", "-ec"]\nRUN echo works > /made\nCMD ["cat", "/made"]\n'
RunBuild = Callable[..., Outcome]


@pytest.fixture(scope="module")
def builder() -> str:
    return imagebuilder_image()


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl) -> Iterator[str]:
    name = f"hb-{uuid4().hex[:10]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", "--wait=false", name)


@pytest.fixture
def app() -> str:
    return f"hb-{uuid4().hex[:10]}"


@pytest.fixture
def run_build(kubectl: Kubectl, namespace: str, builder: str, app: str) -> RunBuild:
    """Runs a build of the app with those files to its end."""

    def run(files: dict[str, str], *, failures: tuple[int, ...] = (), **facts: object) -> Outcome:
        with served(archive(files), failures=failures) as url:
            name = f"b-{uuid4().hex[:8]}"
            build = ContainerBuild(name, app, url, builder, **facts)  # type: ignore[arg-type]  # by name
            start_build(kubectl, namespace, build)
            return ended_build(kubectl, namespace, build)

    return run


def test_an_app_with_two_process_types_is_built_pushed_and_runs(
    run_build: RunBuild, kubectl: Kubectl, namespace: str
) -> None:
    outcome = run_build(
        {
            "Dockerfile": DOCKERFILE,
            "docker/worker": WORKER,
            "text": "hello\n",
        },
        failures=(503, 500),
        config={"API_KEY": SECRET},
        dockerfiles=[
            {
                "ptype": "web",
                "path": "Dockerfile",
                "args": {"GREETING": "from the tree", "SHOUT": "good  morning", "OTHER": "1"},
            },
            {"ptype": "worker", "path": "docker/worker", "args": {}},
        ],
    )
    images = outcome.images
    assert sorted(images) == ["web", "worker"]
    assert _said(kubectl, namespace, images["web"]) == "hello\nfrom the tree\n1234:1234\n77:88\n1234\n"
    assert _said(kubectl, namespace, images["worker"]) == "works\n"
    configuration = _configuration(images["web"])
    assert configuration["config"]["Labels"]["org.opencontainers.image.revision"] == SHA
    assert configuration["config"]["Labels"]["maintainer"] == "mina"
    assert "used" in outcome.log
    _assert_nowhere(SECRET, images["web"])
    assert SECRET not in outcome.log


def test_a_second_build_takes_its_layers_from_the_cache_image(run_build: RunBuild, app: str) -> None:
    files = {"Dockerfile": f"FROM {BASE}\nARG WHAT=x\nCOPY text /text\nRUN echo built $WHAT > /made\n", "text": "one\n"}
    cache = f"{REGISTRY_OF_PODS}/{app}/cache:container"
    first = run_build(files, cache_image=cache)
    second = run_build(files, cache_image=cache)
    changed = run_build({**files, "text": "two\n"}, cache_image=cache)
    refused = run_build(files)
    layers = [[layer["digest"] for layer in manifest(build.images["web"])["layers"]] for build in (first, second)]
    assert layers[0] == layers[1]
    assert first.log.count("Using cache") == 0
    assert second.log.count("Using cache") >= 3
    assert changed.log.count("Using cache") == 1
    assert refused.log.count("Using cache") == 0


def test_a_cache_that_cannot_be_written_does_not_fail_the_build(run_build: RunBuild) -> None:
    outcome = run_build({"Dockerfile": f"FROM {BASE}\nRUN true\n"}, cache_image="nowhere.invalid/cache:container")
    assert outcome.images["web"]
    assert "building without it" in outcome.log


def test_steps_of_a_dockerfile_see_nothing_of_the_build(run_build: RunBuild) -> None:
    dockerfile = f"""\
FROM {BASE}
RUN ! ls /build /scratch 2>/dev/null
RUN for root in /proc/[0-9]*/root; do ! ls $root/build/token $root/build/registry 2>/dev/null || exit 1; done
RUN ! cat /proc/1/environ
RUN mkdir /x && ! chroot /x true 2>&1 | tee /dev/stderr | grep -v permitted
RUN ! unshare -r -m sh -c 'cat /proc/1/environ || ls /build || ls /proc/1/root/build'
RUN ! mount -t tmpfs none /x
RUN echo "sees $(id -u) as $(cat /proc/self/uid_map)"
"""
    outcome = run_build({"Dockerfile": dockerfile}, config={"API_KEY": SECRET})
    assert outcome.succeeded, outcome.log
    assert "100000" in next(line for line in outcome.log.splitlines() if "sees 0 as" in line and "STEP" not in line)


def test_a_docker_hub_name_is_looked_up_at_its_mirror(run_build: RunBuild) -> None:
    outcome = run_build({"Dockerfile": "FROM busybox:1\nRUN true\n"}, mirrors={"docker.io": REGISTRY_OF_PODS})
    assert outcome.images["web"]


def test_a_failing_instruction_is_named(run_build: RunBuild) -> None:
    outcome = run_build({"Dockerfile": f"FROM {BASE}\nRUN echo before; exit 3\n"})
    assert outcome.error["code"] == "build-failed"
    assert outcome.error["message"] == "Dockerfile, step 2 failed: RUN echo before; exit 3: exit status 3"
    assert "before" in outcome.log


def test_an_unknown_instruction_is_told(run_build: RunBuild) -> None:
    outcome = run_build({"Dockerfile": f"FROM {BASE}\nRUNN true\n"})
    assert outcome.error["code"] == "build-failed"
    assert "RUNN" in outcome.error["message"]


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        (f"{REGISTRY_OF_PODS}/library/nothing:1", "does not exist"),
        ("registry.invalid/x:1", "cannot be reached"),
    ],
)
def test_a_missing_base_image_is_told(run_build: RunBuild, base: str, reason: str) -> None:
    error = run_build({"Dockerfile": f"FROM {base}\nRUN true\n"}).error
    assert error["code"] == "build-failed"
    assert base in error["message"]
    assert reason in error["message"]


def test_a_file_that_is_not_there_to_copy_is_told(run_build: RunBuild) -> None:
    error = run_build({"Dockerfile": f"FROM {BASE}\nCOPY nothing /\n"}).error
    assert "COPY nothing /" in error["message"]
    assert "must be in the repository" in error["hint"]


def test_a_full_disk_is_told(run_build: RunBuild) -> None:
    dockerfile = f"FROM {BASE}\nRUN dd if=/dev/zero of=/large bs=1M count=200\n"
    error = run_build({"Dockerfile": dockerfile}, work={"medium": "Memory", "sizeLimit": "64Mi"}).error
    assert error["code"] == "disk-full"


def test_a_pod_that_may_not_make_a_namespace_is_told(run_build: RunBuild) -> None:
    error = run_build({"Dockerfile": f"FROM {BASE}\n"}, seccomp="RuntimeDefault").error
    assert error["code"] == "internal"
    assert "may not make a user namespace" in error["message"]


def test_packages_are_installed_and_an_app_answers(run_build: RunBuild, kubectl: Kubectl, namespace: str) -> None:
    python = f"{REGISTRY_OF_PODS}/library/python:3.11-slim-bookworm"
    dockerfile = f'FROM {python}\nRUN pip install --no-cache-dir six\nCOPY app.py /\nCMD ["python3", "/app.py"]\n'
    app = """\
import http.server, threading, urllib.request
import six

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(six.ensure_binary("answered"))

server = http.server.HTTPServer(("", 8000), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(urllib.request.urlopen("http://127.0.0.1:8000").read().decode())
"""
    outcome = run_build({"Dockerfile": dockerfile, "app.py": app})
    assert "answered" in _said(kubectl, namespace, outcome.images["web"])


def test_a_wrong_token_is_told(run_build: RunBuild) -> None:
    error = run_build({"Dockerfile": f"FROM {BASE}\n"}, token="wrong").error
    assert error["code"] == "internal"
    assert "401" in error["message"]
    assert "wrong" not in json.dumps(error)


def test_a_build_that_is_told_to_end_ends_and_pushes_nothing(
    kubectl: Kubectl, namespace: str, builder: str, app: str
) -> None:
    with served(archive({"Dockerfile": f"FROM {BASE}\nRUN echo waits; sleep 200\n"})) as url:
        build = ContainerBuild(f"b-{uuid4().hex[:8]}", app, url, builder)
        start_build(kubectl, namespace, build)
        eventually(lambda: _assert_waits(kubectl, namespace, build.name), seconds=120)
        # As the runtime does it: the build runs as a user that root of the pod has no power over.
        kill = "import os; os.setuid(100000); os.kill(1, 15)"
        kubectl("exec", "-n", namespace, f"job/{build.name}", "--", "python3", "-c", kill)
        outcome = ended_build(kubectl, namespace, build)
    assert outcome.error["code"] == "cancelled"
    with pytest.raises(Exception, match="404"):
        manifest(build.image)


def _assert_waits(kubectl: Kubectl, namespace: str, name: str) -> None:
    assert "\n     waits\n" in kubectl("logs", "-n", namespace, f"job/{name}")


def _said(kubectl: Kubectl, namespace: str, image: str) -> str:
    """What a pod of that image prints."""
    name = f"run-{uuid4().hex[:8]}"
    container = {"name": "app", "image": image, "resources": {"limits": {"memory": "64Mi"}}}
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    metadata = {"name": name, "namespace": namespace}
    kubectl.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}])

    def ended() -> None:
        assert kubectl.get("pod", name, "-n", namespace)["status"]["phase"] == "Succeeded"

    eventually(ended, seconds=120)
    return kubectl("logs", "-n", namespace, name)


def _configuration(image: str) -> dict[str, dict[str, dict[str, str]]]:
    return dict(json.loads(blob(image, manifest(image)["config"]["digest"])))


def _assert_nowhere(secret: str, image: str) -> None:
    """It is in no layer and not in the configuration, which has the history."""
    document = manifest(image)
    assert secret.encode() not in blob(image, document["config"]["digest"])
    for layer in document["layers"]:
        assert secret.encode() not in gzip.decompress(blob(image, layer["digest"]))
