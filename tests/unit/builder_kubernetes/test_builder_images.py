"""What is read of a builder image that an app chooses, from registries as they are, and what stands against one."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from builder.domain.builders import BuilderImageError, Reference, Wish
from builder.runner.kubernetes.builder_images import METADATA, BuilderImages
from builder.runner.kubernetes.config import KubernetesRunnerConfig
from builder.runner.kubernetes.image_facts import ImageReader, ImageUnknownError, RegistryAwayError
from builder.runner.port import ChosenBuilder

BASIC = f"Basic {base64.b64encode(b'builder:s3cret').decode()}"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry(http.server.ThreadingHTTPServer):
    """A registry of a few images; `wants` is the way in that it asks for, `heard` what came."""

    def __init__(self, wants: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_port}"
        self.wants = wants
        self.content: dict[str, bytes] = {}
        self.heard: list[tuple[str, str]] = []
        self.elsewhere = ""
        self.places: dict[str, str] = {}

    def add(self, path: str, tag: str, *, index: bool = False, **facts: Any) -> str:
        """Keep an image; its digest."""
        config = json.dumps({"os": "linux", "config": facts}).encode()
        document: dict[str, Any] = {"config": {"digest": self._blob(path, config)}, "layers": []}
        if index:
            digest = self._manifest(path, "", document)
            entries = [{"digest": "sha256:0", "platform": {"os": "windows"}}]
            entries.append({"digest": digest, "platform": {"os": "linux", "architecture": "riscv64"}})
            document = {"manifests": entries}
        return self._manifest(path, tag, document)

    def _blob(self, path: str, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.content[f"/v2/{path}/blobs/{digest}"] = content
        return digest

    def _manifest(self, path: str, tag: str, document: dict[str, Any]) -> str:
        content = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        for name in filter(None, (tag, digest)):
            self.content[f"/v2/{path}/manifests/{name}"] = content
        return digest


class Handler(http.server.BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        path, has = self.path.partition("?")[0], self.headers.get("Authorization", "")
        self.server.heard.append((path, has))
        if path == "/token":
            return self._answer(200, json.dumps({"token": "t0ken"}).encode())
        wanted = {"Basic": BASIC, "Bearer": "Bearer t0ken"}.get(self.server.wants, has)
        if has != wanted:
            realm = f'Bearer realm="http://{self.server.host}/token",service="r"'
            return self._answer(401, b"{}", {"WWW-Authenticate": realm})
        if "/blobs/" in path and self.server.elsewhere:
            return self._answer(307, b"", {"Location": f"http://{self.server.elsewhere}{path}"})
        if place := self.server.places.get(path):
            return self._answer(307, b"", {"Location": place})
        content = self.server.content.get(path)
        return self._answer(404, b"{}") if content is None else self._answer(200, content)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    yield from serving(Registry())


@pytest.fixture
def other() -> Iterator[Registry]:
    yield from serving(Registry())


def serving(server: Registry) -> Iterator[Registry]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def config(registry: Registry, *insecure: str, **changes: Any) -> KubernetesRunnerConfig:
    return KubernetesRunnerConfig(
        namespace="builds",
        registry=registry.host,
        source_url="http://builder",
        imagebuilder_image="i",
        builder_image=f"{registry.host}/workflow/builder:1",
        run_image="r",
        source_token_key=b"k",
        builder_images=("*",),
        insecure_registries=(registry.host, *insecure),
        **changes,
    )


def labels(run_image: str, **more: Any) -> dict[str, str]:
    return {METADATA: json.dumps({"stack": {"runImage": {"image": run_image}}, **more})}


USERS = ["CNB_USER_ID=1234", "CNB_GROUP_ID=2345", "PATH=/bin"]


def wish(image: str) -> Wish:
    return Wish(".packbuilder", Reference.parse(image))


@pytest.mark.parametrize("index", [False, True])
async def test_a_builder_image_is_read_and_pinned(registry: Registry, index: bool) -> None:
    run = registry.add("acme/run", "2", index=index)
    digest = registry.add("acme/b", "1", index=index, Env=USERS, Labels=labels(f"{registry.host}/acme/run:2"))
    found = await BuilderImages(config(registry)).choose(wish(f"{registry.host}/acme/b:1"))
    assert found == ChosenBuilder(
        name=f"{registry.host}/acme/b:1",
        image=f"{registry.host}/acme/b@{digest}",
        run_image=f"{registry.host}/acme/run@{run}",
        user=1234,
        group=2345,
    )


async def test_the_run_image_is_the_operators_choice_then_that_of_images_then_that_of_the_stack(
    registry: Registry,
) -> None:
    new, old, forced = (f"{registry.host}/acme/{name}" for name in ("new", "old", "forced"))
    for name in ("new", "old", "forced"):
        registry.add(f"acme/{name}", "latest")
    registry.add("acme/b", "1", Env=USERS, Labels=labels(old, images=[{"image": new}]))
    builder = wish(f"{registry.host}/acme/b:1")
    found = await BuilderImages(config(registry)).choose(builder)
    assert found is not None
    assert found.run_image.startswith(f"{new}@sha256:")
    setting = {f"{registry.host}/other/*": "x", f"{registry.host}/acme/*": forced}
    found = await BuilderImages(config(registry, builder_run_images=setting)).choose(builder)
    assert found is not None
    assert found.run_image.startswith(f"{forced}@sha256:")


async def test_the_platforms_own_is_not_looked_at(registry: Registry) -> None:
    assert await BuilderImages(config(registry)).choose(wish(f"{registry.host}/workflow/builder:1")) is None
    assert registry.heard == []


async def test_what_is_not_allowed_is_not_looked_at(registry: Registry) -> None:
    closed = replace(config(registry), builder_images=())
    with pytest.raises(BuilderImageError, match="BUILDER_BUILDER_IMAGES"):
        await BuilderImages(closed).choose(wish(f"{registry.host}/acme/b:1"))
    assert registry.heard == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "has no label io.buildpacks.builder.metadata"),
        ({"Labels": {METADATA: "[]"}}, "has no label"),
        ({"Labels": {METADATA: "{}"}, "Env": USERS}, "does not name a run image"),
        ({"Labels": {METADATA: '{"stack": 1, "images": [2]}'}, "Env": USERS}, "does not name a run image"),
        ({"Labels": labels("HOST/acme/none"), "Env": USERS}, "the run image .* cannot be pulled"),
        ({"Labels": labels("HOST/acme/run:2"), "Env": ["CNB_USER_ID=0"]}, "CNB_USER_ID is no number above 0"),
        ({"Labels": labels("HOST/acme/run:2"), "Env": ["CNB_USER_ID=cnb"]}, "CNB_USER_ID is no number above 0"),
        ({"Labels": labels("HOST/acme/run:2"), "Env": USERS[:1]}, "CNB_GROUP_ID is no number above 0"),
        (
            {"Labels": labels("HOST/r", lifecycle={"apis": {"platform": {"supported": ["0.3", "0.7"]}}})},
            "its lifecycle does not speak platform API 0.12",
        ),
    ],
)
async def test_what_cannot_build_says_why(registry: Registry, facts: dict[str, Any], words: str) -> None:
    registry.add("acme/run", "2")
    registry.add("acme/b", "1", **json.loads(json.dumps(facts).replace("HOST", registry.host)))
    with pytest.raises(BuilderImageError, match=words) as caught:
        await BuilderImages(config(registry)).choose(wish(f"{registry.host}/acme/b:1"))
    assert caught.value.detail.startswith(".packbuilder: ")
    assert caught.value.detail.isprintable()


async def test_an_image_that_is_not_there_is_told(registry: Registry) -> None:
    with pytest.raises(BuilderImageError, match="has no such image, or none that everybody may pull"):
        await BuilderImages(config(registry)).choose(wish(f"{registry.host}/acme/b:1"))


async def test_a_registry_that_does_not_answer_is_told(registry: Registry) -> None:
    with pytest.raises(BuilderImageError, match=r"127\.0\.0\.1:9 cannot be read now.*push again later"):
        await BuilderImages(config(registry)).choose(wish("127.0.0.1:9/acme/b:1"))


@pytest.mark.parametrize("way", ["Basic", "Bearer"])
async def test_our_own_registry_is_read_with_our_account(registry: Registry, way: str) -> None:
    registry.wants = way
    registry.add("acme/b", "1", Env=["A=b=c"])
    reader = ImageReader(config(registry, registry_account=("builder", "s3cret")))
    facts = await reader.read(Reference.parse(f"{registry.host}/acme/b:1"))
    assert facts.env == {"A": "b=c"}
    assert (registry.heard[0][1], way) == (BASIC, way)


async def test_another_registry_never_sees_our_account(registry: Registry, other: Registry) -> None:
    other.wants = "Bearer"
    other.add("acme/b", "1")
    reader = ImageReader(config(registry, other.host, registry_account=("builder", "s3cret")))
    await reader.read(Reference.parse(f"{other.host}/acme/b:1"))
    assert {authorization for _, authorization in other.heard} == {"", "Bearer t0ken"}


async def test_a_store_that_a_registry_leads_to_sees_no_credentials(registry: Registry, other: Registry) -> None:
    registry.wants, registry.elsewhere = "Basic", other.host
    registry.add("acme/b", "1", Env=["A=1"])
    other.content = dict(registry.content)
    image = Reference.parse(f"{registry.host}/acme/b:1")
    account = {"registry_account": ("builder", "s3cret")}
    assert (await ImageReader(config(registry, other.host, **account)).read(image)).env == {"A": "1"}
    assert {authorization for _, authorization in other.heard} == {""}
    with pytest.raises(RegistryAwayError, match="without TLS"):
        await ImageReader(config(registry, **account)).read(image)


async def test_a_mirror_is_asked_first_and_the_name_stays(registry: Registry, other: Registry) -> None:
    digest = other.add("acme/b", "1", Env=["A=mirror"])
    reader = ImageReader(config(registry, other.host, registry_mirrors={registry.host: other.host}))
    image = Reference.parse(f"{registry.host}/acme/b:1")
    facts = await reader.read(image)
    assert (facts.name, facts.env) == (f"{registry.host}/acme/b@{digest}", {"A": "mirror"})
    other.content.clear()
    registry.add("acme/b", "1", Env=["A=origin"])
    assert (await reader.read(image)).env == {"A": "origin"}


async def test_weakness_25_a_registry_that_is_not_named_as_insecure_must_prove_itself(
    registry: Registry, other: Registry
) -> None:
    other.add("acme/b", "1")
    with pytest.raises(RegistryAwayError, match="does not answer"):
        await ImageReader(config(registry)).read(Reference.parse(f"{other.host}/acme/b:1"))
    assert other.heard == []


@pytest.mark.parametrize("content", [b"x" * (17 * 1024**2), b"no json", b"[]", b"{}", b'{"manifests": [{}]}'])
async def test_answers_of_strangers_are_not_believed(registry: Registry, content: bytes) -> None:
    registry.content["/v2/acme/b/manifests/1"] = content
    with pytest.raises((RegistryAwayError, ImageUnknownError)):
        await ImageReader(config(registry)).read(Reference.parse(f"{registry.host}/acme/b:1"))


@pytest.mark.parametrize("facts", [{"Labels": [1]}, {"Labels": 1}, {"Env": 1}, {"Env": {"A": 1}, "Labels": "x"}])
async def test_facts_of_strangers_are_not_believed(registry: Registry, facts: dict[str, Any]) -> None:
    registry.add("acme/b", "1", **facts)
    with pytest.raises(RegistryAwayError, match="cannot be understood"):
        await ImageReader(config(registry)).read(Reference.parse(f"{registry.host}/acme/b:1"))


@pytest.mark.parametrize("host", ["127.0.0.1:99999", "xn--.com", "a..b"])
async def test_a_host_that_cannot_be_is_told(registry: Registry, host: str) -> None:
    with pytest.raises(BuilderImageError, match=f"the registry {host} cannot be read now"):
        await BuilderImages(config(registry)).choose(wish(f"{host}/acme/b:1"))


@pytest.mark.parametrize("place", ["http://[", "http://a..b:99999/x", "https://xn--.com/"])
async def test_a_place_that_cannot_be_is_not_gone_to(registry: Registry, place: str) -> None:
    registry.places["/v2/acme/b/manifests/1"] = place
    with pytest.raises(RegistryAwayError):
        await ImageReader(config(registry)).read(Reference.parse(f"{registry.host}/acme/b:1"))


async def test_what_is_asked_for_by_digest_is_that(registry: Registry) -> None:
    digest = registry.add("acme/b", "1")
    image = Reference.parse(f"{registry.host}/acme/b@{digest}")
    assert (await ImageReader(config(registry)).read(image)).name == str(image)
    registry.content[f"/v2/acme/b/manifests/{digest}"] += b" "
    with pytest.raises(RegistryAwayError, match="something else"):
        await ImageReader(config(registry)).read(image)


async def test_the_images_of_apps_are_not_given_to_other_apps(registry: Registry) -> None:
    """We and the machines can pull them all; who may choose a builder image names its run image as well."""
    registry.add("shop/shop", "git-1", Env=USERS, Labels=labels(f"{registry.host}/acme/run:2"))
    registry.add("acme/b", "1", Env=USERS, Labels=labels(f"{registry.host}/shop/shop:git-1"))
    for path in ("acme/b:1", "shop/shop:git-1"):
        with pytest.raises(BuilderImageError, match="belongs to an app"):
            await BuilderImages(config(registry)).choose(wish(f"{registry.host}/{path}"))
    assert not any("shop" in path for path, _ in registry.heard)


async def test_below_an_organization_neither(registry: Registry) -> None:
    team = replace(config(registry), organization="team")
    for path in ("team/shop:git-1", "team/shop.cache:1", "shop/shop:git-1"):
        with pytest.raises(BuilderImageError, match="belongs to an app"):
            await BuilderImages(team).choose(wish(f"{registry.host}/{path}"))
    assert not registry.heard
    registry.add("team/base/run", "2", Env=USERS)
    registry.add("team/base/b", "1", Env=USERS, Labels=labels(f"{registry.host}/team/base/run:2"))
    chosen = await BuilderImages(team).choose(wish(f"{registry.host}/team/base/b:1"))
    assert chosen is not None
    assert chosen.run_image.startswith(f"{registry.host}/team/base/run@")
