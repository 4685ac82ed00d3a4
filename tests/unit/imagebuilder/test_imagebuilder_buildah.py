"""How buildah is called and configured, and what of its words becomes a failure."""

from __future__ import annotations

import tomllib
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder import buildah, failures, namespace
from imagebuilder.output import Finished, plain
from imagebuilder.request import Dockerfile, Request

REQUEST = Request(
    build_id="1",
    app="shop",
    number="7",
    sha="a" * 40,
    stack="container",
    source_url="http://builder",
    image="registry:5000/shop/shop:git-1",
    insecure_registries=("registry:5000",),
    cache_image="registry:5000/shop/cache:container",
)
ENTRY = Dockerfile("web", "docker/web", "registry:5000/shop/shop:git-1", {})


def command(request: Request = REQUEST, *, cached: bool = True, credentials: Path | None = None) -> list[str]:
    return buildah.build_command(
        ENTRY,
        request,
        source=Path("/scratch/source"),
        secrets={"API_KEY": Path("/build/config/API_KEY")},
        arguments={"GREETING": "a b"},
        credentials=credentials,
        cached=cached,
    )


def test_a_build_names_secrets_arguments_cache_and_credentials() -> None:
    words = command(credentials=Path("/build/registry/config.json"))
    assert "--secret=id=API_KEY,src=/build/config/API_KEY" in words
    assert "--build-arg=GREETING=a b" in words
    assert "--cache-from=registry:5000/shop/cache" in words
    assert "--cache-to=registry:5000/shop/cache" in words
    assert "--authfile=/build/registry/config.json" in words
    assert f"--label=org.opencontainers.image.revision={'a' * 40}" in words
    assert words[-2:] == ["--tag=registry:5000/shop/shop:git-1", "/scratch/source"]
    assert not any(word.startswith("--tls-verify") for word in words)


@pytest.mark.parametrize(("request_", "cached"), [(REQUEST, False), (replace(REQUEST, cache_image=None), True)])
def test_a_build_without_a_cache_names_none(request_: Request, cached: bool) -> None:
    assert not any("cache" in word for word in command(request_, cached=cached))


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("host:5000/a/b:tag", "host:5000/a/b"),
        ("host:5000/a/b", "host:5000/a/b"),
        ("host/a/b@sha256:1", "host/a/b"),
        ("a:tag@sha256:1", "a"),
    ],
)
def test_the_repository_of_an_image(image: str, repository: str) -> None:
    assert buildah.repository(image) == repository


def test_only_registries_that_are_named_are_spoken_to_without_tls() -> None:
    request = replace(REQUEST, registry_mirrors={"docker.io": "registry:5000", "quay.io": "mirror.example"})
    document = tomllib.loads(buildah.registries_conf(request))
    assert document["unqualified-search-registries"] == ["docker.io"]
    registries = {entry["prefix"]: entry for entry in document["registry"]}
    assert registries["registry:5000"]["insecure"]
    assert not registries["docker.io"]["insecure"]
    assert registries["docker.io"]["mirror"] == [{"location": "registry:5000", "insecure": True}]
    assert registries["quay.io"]["mirror"] == [{"location": "mirror.example", "insecure": False}]


def test_buildah_gets_nothing_of_our_environment_but_the_way_to_the_network(tmp_path: Path) -> None:
    own = {"PATH": "/bin", "https_proxy": "http://p", "SECRET": "x", "HOME": "/root"}
    environment = buildah.environment(tmp_path, own)
    assert environment["PATH"] == "/bin"
    assert environment["https_proxy"] == "http://p"
    assert environment["HOME"] == str(tmp_path / "home")
    assert "SECRET" not in environment


def test_the_namespace_has_no_user_of_the_node() -> None:
    words = namespace.entering(["python3", "-m", "imagebuilder", "container"])
    assert "--map-users=100000,0,65536" in words
    assert words[-4:] == ["python3", "-m", "imagebuilder", "container"]


def ended(*lines: str, status: int = 125, step: str = "") -> Finished:
    return Finished(status, deque(lines), step)


def test_a_step_that_fails_is_named_with_its_stage() -> None:
    error = failures.explain_build(
        "Dockerfile",
        ended(
            "make: *** [all] Error 2",
            'Error: building at STEP "RUN make": while running runtime: exit status 2',
            status=2,
            step="[2/3] STEP 4/9: RUN make",
        ),
    )
    assert error.code == "build-failed"
    assert error.message == "Dockerfile, stage 2, step 4 failed: RUN make: exit status 2"


@pytest.mark.parametrize(
    ("lines", "hint"),
    [
        (['Error: building at STEP "RUN x": while running runtime: exit status 127'], "not in the image"),
        (['Error: building at STEP "RUN x": while running runtime: exit status 137'], "memory"),
        (
            ["curl: (6) Could not resolve host: x", 'Error: building at STEP "RUN x": exit status 6'],
            "network",
        ),
        (
            ['Error: building at STEP "COPY a /": checking on sources: copier: stat: "/a": no such file or directory'],
            ".dockerignore",
        ),
        (['Error: building at STEP "RUN x": exit status 1'], "docker build -f Dockerfile ."),
    ],
)
def test_usual_failures_of_a_step_have_a_hint(lines: list[str], hint: str) -> None:
    assert hint in failures.explain_build("Dockerfile", ended(*lines, step="STEP 2/3: RUN x")).hint


@pytest.mark.parametrize(
    ("complaint", "told"),
    [
        ("creating build container: initializing source docker://x/y:1: reading manifest 1: manifest unknown", "exist"),
        ("creating build container: reading manifest 1 in x/y: requested access to the resource is denied", "denies"),
        ("creating build container: pinging container registry x: dial tcp: lookup x: no such host", "reached"),
        ("creating build container: something new", "cannot be pulled"),
    ],
)
def test_a_base_image_that_cannot_be_had_is_named(complaint: str, told: str) -> None:
    error = failures.explain_build("Dockerfile", ended(f"Error: {complaint}", step="STEP 1/3: FROM --platform=x x/y:1"))
    assert error.code == "build-failed"
    assert "base image x/y:1" in error.message
    assert told in error.message


def test_a_full_disk_is_a_full_disk_wherever_it_shows() -> None:
    lines = ("write /x: no space left on device", 'Error: building at STEP "RUN x": exit status 1')
    assert failures.explain_build("Dockerfile", ended(*lines)).code == "disk-full"
    assert failures.explain_push("i", ended("Error: writing blob: no space left on device")).code == "disk-full"


def test_a_signal_is_told() -> None:
    assert "signal 9" in failures.explain_build("Dockerfile", ended(status=-9)).message
    assert "signal 9" in failures.explain_push("i", ended(status=-9)).message


def test_a_syntax_error_is_told() -> None:
    error = failures.explain_build(
        "Dockerfile", ended("Error: dockerfile parse error line 2: unknown instruction: RUNN")
    )
    assert "unknown instruction: RUNN" in error.message


@pytest.mark.parametrize(
    ("complaint", "told"),
    [
        ("writing blob: requested access to the resource is denied", "does not let this build push"),
        ("trying to reuse blob: dial tcp 10.0.0.1:5000: connect: connection refused", "cannot be reached"),
        ("something new", "pushing i failed: something new"),
    ],
)
def test_a_failed_push_is_told(complaint: str, told: str) -> None:
    error = failures.explain_push("i", ended(f"Error: {complaint}"))
    assert error.code == "internal"
    assert told in error.message


def test_a_broken_cache_is_told_from_a_broken_build() -> None:
    assert failures.cache_failed(ended("Error: failed pushing cache to [x/cache]: denied"))
    assert not failures.cache_failed(ended('Error: building at STEP "RUN true": exit status 1'))
    assert not failures.cache_failed(ended("--> Pushing cache [x/cache]:1", status=0))


def test_lines_are_plain() -> None:
    assert plain("\x1b[32mgreen\x1b[0m 10%\r100%\r") == "100%"
