"""What a build is told: the request and the files around it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.request import SOURCE_MAX_BYTES, Dockerfile, Inputs, parse_request
from imagebuilder.result import MAX_BYTES, BuildFailed, failure, success

REQUEST: dict[str, Any] = {
    "build_id": "7e6d",
    "app": "shop",
    "number": 7,
    "sha": "a" * 40,
    "stack": "container",
    "source_url": "http://builder/source",
    "image": "registry:5000/shop/shop:git-aaaaaaaaaaaa-7",
    "insecure_registries": ["registry:5000"],
    "cache_image": None,
    "dockerfiles": [{"ptype": "web", "path": "Dockerfile", "image": "registry:5000/shop/shop:x", "args": {"A": "b c"}}],
    "builder_image": None,
    "run_image": None,
    "processes": {"web": "run"},
}


def test_a_request_is_read() -> None:
    request = parse_request(json.dumps(REQUEST).encode())
    assert request.number == "7"
    assert request.dockerfiles == (Dockerfile("web", "Dockerfile", "registry:5000/shop/shop:x", {"A": "b c"}),)
    assert request.insecure_registries == ("registry:5000",)
    assert request.cache_image is None
    assert request.source_max_bytes == SOURCE_MAX_BYTES


def test_keys_of_a_newer_builder_are_passed_over() -> None:
    assert parse_request(json.dumps({**REQUEST, "later": 1}).encode()).app == "shop"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"app": None}, "app is missing"),
        ({"image": 5}, "image is missing or of the wrong kind"),
        ({"dockerfiles": [{"ptype": "web"}]}, "dockerfiles[0].path"),
        ({"dockerfiles": ["web"]}, "dockerfiles[0] is not an object"),
        ({"processes": {"web": 1}}, "processes has a value that is not a string"),
        ({"source_max_bytes": True}, "source_max_bytes"),
    ],
)
def test_a_bad_request_names_what_is_wrong(change: dict[str, Any], told: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        parse_request(json.dumps({**REQUEST, **change}).encode())
    assert caught.value.code == "internal"
    assert told in caught.value.message


def test_a_request_that_is_no_json_is_told() -> None:
    with pytest.raises(BuildFailed, match="not JSON"):
        parse_request(b"{")


def test_the_secret_is_read_as_kubernetes_mounts_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    data = tmp_path / "config" / "..2026_01_01"
    data.mkdir(parents=True)
    (data / "API_KEY").write_text("value")
    (tmp_path / "config" / "..data").symlink_to(data.name)
    (tmp_path / "config" / "API_KEY").symlink_to("..data/API_KEY")
    inputs = Inputs(tmp_path)
    assert inputs.token() == "t0ken"
    assert list(inputs.config()) == ["API_KEY"]
    assert inputs.registry_credentials() is None
    with pytest.raises(BuildFailed, match=r"request\.json cannot be read"):
        inputs.request()


def test_a_build_without_config_has_none(tmp_path: Path) -> None:
    assert Inputs(tmp_path).config() == {}


def test_results_fit_into_what_the_kubelet_keeps() -> None:
    assert json.loads(success({"web": "r/a@sha256:1"})) == {"images": {"web": "r/a@sha256:1"}}
    with pytest.raises(BuildFailed, match="60 images"):
        success({f"type-{number}": "r/a@sha256:" + "0" * 64 for number in range(60)})


def test_a_failure_keeps_its_beginning() -> None:
    content = failure(BuildFailed("build-failed", "long " + "ä" * 9000, "do this"))
    assert len(content) <= MAX_BYTES
    error = json.loads(content)["error"]
    assert error["code"] == "build-failed"
    assert error["hint"] == "do this"
    assert error["message"].startswith("long ä")
