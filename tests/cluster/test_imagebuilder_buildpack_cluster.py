"""Apps without a Dockerfile, built by our buildpacks in Jobs, then run from the registry."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from support.build_source import archive, served
from support.buildpack_images import builder_image, run_image
from support.buildpack_job import BuildJob, Outcome, run_build
from support.cluster_image import REGISTRY, REGISTRY_OF_PODS
from support.kubectl import Kubectl, eventually

pytestmark = pytest.mark.timeout(900)

SECRET = "s3cret-of-the-build"
PYTHON_APP = {
    "requirements.txt": "flask==3.0.3\ngunicorn==22.0.0\n",
    "app.py": "from flask import Flask\napp = Flask(__name__)\napp.get('/')(lambda: 'hello from flask')\n",
    "Procfile": (
        "web: gunicorn app:app --bind 0.0.0.0:$PORT\n"
        "worker: python -c 'import flask; print(\"working\")' && sleep 600\n"
    ),
}
NODE_APP = {
    "package.json": json.dumps(
        {
            "name": "shop",
            "version": "1.0.0",
            "dependencies": {"is-number": "7.0.0"},
            "devDependencies": {"is-odd": "3.0.1"},
            "scripts": {"start": "node server.js", "build": "node build.js"},
        }
    ),
    "build.js": (
        "require('is-odd');\n"
        "require('fs').writeFileSync('built.txt', String((process.env.BUILD_TOKEN || '').length));\n"
    ),
    "server.js": (
        "const has = name => { try { require(name); return true } catch { return false } };\n"
        "const built = require('fs').readFileSync('built.txt', 'utf8');\n"
        "const text = `run ${has('is-number')} dev ${has('is-odd')} built ${built}`;\n"
        "require('http').createServer((_, answer) => answer.end(text)).listen(process.env.PORT);\n"
    ),
}

Build = Callable[..., Outcome]


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    name = f"hc-{uuid4().hex[:10]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def build(kubectl: Kubectl, namespace: str) -> Build:
    """Builds those files; every build of a test is of the same app, with the same cache."""
    app = f"{REGISTRY_OF_PODS}/{namespace}/{namespace}"
    count = 0

    def start(files: Mapping[str, str], **facts: Any) -> Outcome:
        nonlocal count
        count += 1
        image = f"{app}:git-0123456789ab-{count}"
        with served(archive(files), needs_token=False) as url:
            job = BuildJob(f"build-{count}", url, image, builder_image(), run_image(), cache_image=f"{app}:cache")
            return run_build(kubectl, namespace, replace(job, **facts))

    return start


def answer_of(kubectl: Kubectl, namespace: str, name: str, image: str, command: list[str]) -> str:
    """Run the image as the controller runs a process type, and ask it."""
    start(kubectl, namespace, name, image, command)

    def ask() -> str:
        address = kubectl.get("pod", name, "-n", namespace)["status"].get("podIP")
        assert address
        try:
            return httpx.get(f"http://{address}:5000/", timeout=5, trust_env=False).raise_for_status().text
        except httpx.HTTPError as error:
            raise AssertionError(str(error)) from error

    return eventually(ask)


def start(kubectl: Kubectl, namespace: str, name: str, image: str, command: list[str]) -> None:
    container = {
        "name": "app",
        "image": image,
        "command": command,
        "env": [{"name": "PORT", "value": "5000"}],
        "resources": {"limits": {"memory": "256Mi"}},
    }
    spec = {"containers": [container], "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0}
    kubectl.apply(
        [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}]
    )


def blobs_of(image: str) -> tuple[dict[str, Any], list[bytes]]:
    """Configuration and layers of an image, as the registry has them."""
    path, _, digest = image.removeprefix(f"{REGISTRY_OF_PODS}/").partition("@")
    base = f"http://{REGISTRY}/v2/{path}"
    with httpx.Client(timeout=60, trust_env=False) as client:
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        manifest = client.get(f"{base}/manifests/{digest}", headers=accept).raise_for_status().json()
        config = client.get(f"{base}/blobs/{manifest['config']['digest']}").raise_for_status().json()
        return config, [client.get(f"{base}/blobs/{item['digest']}").content for item in manifest["layers"][-3:]]


def test_a_python_app_is_built_runs_and_its_layers_are_reused(kubectl: Kubectl, namespace: str, build: Build) -> None:
    first = build(PYTHON_APP)
    assert "Installing dependencies with pip" in first.log
    line = "exec gunicorn app:app --bind 0.0.0.0:$PORT"
    assert answer_of(kubectl, namespace, "web", first.image, ["/bin/sh", "-c", line]) == "hello from flask"
    assert answer_of(kubectl, namespace, "by-type", first.image, ["/cnb/process/web"]) == "hello from flask"
    start(kubectl, namespace, "worker", first.image, ["/cnb/process/worker"])

    def working() -> None:
        assert "working" in kubectl("logs", "-n", namespace, "worker")

    eventually(working)
    second = build(
        {**PYTHON_APP, "app.py": PYTHON_APP["app.py"].replace("hello from", "hello again from")},
        previous_image=first.image,
    )
    assert "using the cached environment" in second.log
    assert "Restored from the cache: workflow/python:" in second.log
    assert blobs_of(first.image)[1][0] == blobs_of(second.image)[1][0]
    assert answer_of(kubectl, namespace, "again", second.image, ["/cnb/process/web"]) == "hello again from flask"


def test_a_node_app_is_built_and_runs_without_what_only_its_build_needs(
    kubectl: Kubectl, namespace: str, build: Build
) -> None:
    config = {"BUILD_TOKEN": SECRET}
    first = build(NODE_APP, config=config)
    expected = f"run true dev false built {len(SECRET)}"
    assert answer_of(kubectl, namespace, "web", first.image, ["/cnb/process/web"]) == expected
    settings, layers = blobs_of(first.image)
    assert SECRET not in first.log + json.dumps(settings)
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
            assert not [item.name for item in archive if item.isfile() and SECRET.encode() in content(archive, item)]
    second = build(NODE_APP, config=config, previous_image=first.image)
    assert "Packages unchanged, using the cached node_modules" in second.log
    assert second.image == first.image
    third = build(NODE_APP, config=config, skip_layers=True)
    assert "Starting without the cache, as asked" in third.log
    assert "Installing packages with npm" in third.log


def test_a_static_site_is_served_without_its_dot_files(kubectl: Kubectl, namespace: str, build: Build) -> None:
    outcome = build({"index.html": "a site", ".drycc": "hidden"})
    assert answer_of(kubectl, namespace, "web", outcome.image, ["/bin/sh", "-c", "exec serve"]) == "a site"
    address = kubectl.get("pod", "web", "-n", namespace)["status"]["podIP"]
    for path in ("/.drycc", "/%2edrycc", "/nothing"):
        answer = httpx.get(f"http://{address}:5000{path}", timeout=5, trust_env=False)
        assert answer.status_code == httpx.codes.NOT_FOUND, path


def content(archive: tarfile.TarFile, item: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(item)
    return b"" if file is None else file.read()


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({"README": "hello"}, "nothing-recognised", "no buildpack fits this repository"),
        (
            {"requirements.txt": "flask==0.0.0.1\n", "Procfile": "web: x\n"},
            "build-failed",
            "No matching distribution found",
        ),
        ({"requirements.txt": ""}, "no-procfile", "there is no Procfile"),
        ({"package.json": "{}"}, "no-procfile", "no `start` script"),
        ({"requirements.txt": "", ".python-version": "2.7", "Procfile": "web: x\n"}, "build-failed", "it has 3.11"),
    ],
    ids=["nothing", "pip", "python-procfile", "node-start", "version"],
)
def test_what_cannot_be_built_says_why(build: Build, files: dict[str, str], code: str, words: str) -> None:
    outcome = build(files)
    assert not outcome.succeeded
    assert outcome.error["code"] == code, outcome.log
    assert words in outcome.log
