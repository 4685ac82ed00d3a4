"""Which builder image an app asks for, whether it is let, and what becomes of the wish before anything is stored."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.domain.builders import (
    BuilderImageError,
    Reference,
    Wish,
    check_allowed,
    check_pattern,
    matching,
    wish_of,
)
from builder.runner.checks import Choose, make_plan
from builder.runner.port import AppConfig, BuildFailedError, BuildLimits, BuildSpec, ChosenBuilder, Plan
from support.builds import MemoryTree

CHOSEN = ChosenBuilder("docker.io/example/b:1", "docker.io/example/b@sha256:1", "docker.io/example/r@sha256:2", 7, 8)


def wish(text: str) -> Wish:
    return Wish(".packbuilder", Reference.parse(text))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("builder", "docker.io/library/builder:latest"),
        ("builder:22", "docker.io/library/builder:22"),
        ("paketobuildpacks/builder-jammy-base", "docker.io/paketobuildpacks/builder-jammy-base:latest"),
        ("ghcr.io/a/b/c:1.2-x", "ghcr.io/a/b/c:1.2-x"),
        ("localhost/b", "localhost/b:latest"),
        ("registry.example.org:5000/b:1", "registry.example.org:5000/b:1"),
        (f"r.io/b@sha256:{'a' * 64}", f"r.io/b@sha256:{'a' * 64}"),
        (f"r.io/b:1@sha256:{'a' * 64}", f"r.io/b:1@sha256:{'a' * 64}"),
    ],
)
def test_names_are_completed_as_container_tools_do(text: str, name: str) -> None:
    assert str(Reference.parse(text)) == name


@pytest.mark.parametrize(
    "text", ["", "Builder", "a//b", "r.io/B", "r.io/a:", "r.io/a b", "r.io/../b", "-x/y", "a" * 300, "r.io/a@sha256:1"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is the name
        Reference.parse(text)


@pytest.mark.parametrize(
    ("files", "file", "image"),
    [
        ({".packbuilder": b" r.io/b:1\n"}, ".packbuilder", "r.io/b:1"),
        ({".pack-builder": b"\xef\xbb\xbfr.io/\nb:1\r\n"}, ".pack-builder", "r.io/b:1"),
        ({".pack-builder": b"r.io/b", ".packbuilder": b"r.io/b:latest"}, ".pack-builder", "r.io/b:latest"),
        ({".packbuilder": b"r.io/b", "project.toml": b"not [ toml"}, ".packbuilder", "r.io/b:latest"),
        ({"project.toml": b'[io.buildpacks]\nbuilder = "r.io/b:2"'}, "project.toml", "r.io/b:2"),
        ({"project.toml": b'[io.buildpacks.build]\nbuilder = "r.io/b:3"'}, "project.toml", "r.io/b:3"),
        ({"project.toml": b'[build]\nbuilder = "r.io/b:4"'}, "project.toml", "r.io/b:4"),
    ],
)
def test_where_an_app_names_a_builder_image(files: dict[str, bytes | None], file: str, image: str) -> None:
    assert wish_of(files) == Wish(file, Reference.parse(image))


@pytest.mark.parametrize("content", [b"", b'[_]\nid = "x"', b'build = "x"', b"[io]\nbuildpacks = 1"])
def test_a_project_descriptor_may_name_none(content: bytes) -> None:
    assert wish_of({"project.toml": content}) is None


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({".packbuilder": b" \n"}, ".packbuilder is empty"),
        ({".packbuilder": None}, "not a regular file"),
        ({".packbuilder": b"\xff"}, "not valid UTF-8"),
        ({".packbuilder": b"https://r.io/b"}, "`https://r.io/b` is no image name"),
        ({".packbuilder": b"a\x1b[31mb"}, "`a?[31mb` is no image name"),
        ({".packbuilder": b"r.io/a", ".pack-builder": b"r.io/b"}, "name different builder images"),
        ({"project.toml": b"x ="}, "project.toml is not valid TOML"),
        ({"project.toml": b"x = " + b"[" * 100_000}, "project.toml is not valid TOML"),
        ({"project.toml": b"[build]\nbuilder = 3"}, "build.builder is not a string"),
        ({"project.toml": b'[build]\nbuilder = "A B"'}, "`A B` is no image name"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(files: dict[str, bytes | None], words: str) -> None:
    with pytest.raises(BuilderImageError) as caught:
        wish_of(files)
    assert words in caught.value.detail
    assert caught.value.detail.isprintable()


@given(st.dictionaries(st.sampled_from([".packbuilder", ".pack-builder", "project.toml"]), st.binary(max_size=200)))
def test_whatever_the_files_hold_there_is_an_answer(files: dict[str, bytes | None]) -> None:
    words = ""
    try:
        found = wish_of(files)
    except BuilderImageError as error:
        found, words = None, error.detail
    assert words.isprintable()  # one line, whatever stood there
    assert found is None or Reference.parse(str(found.image)) == found.image


@pytest.mark.parametrize(
    ("image", "pattern", "fits"),
    [
        ("paketobuildpacks/builder:1", "docker.io/paketobuildpacks/*", True),
        ("evil/paketobuildpacks/builder", "docker.io/paketobuildpacks/*", False),
        ("docker.io.evil.org/paketobuildpacks/x", "docker.io/paketobuildpacks/*", False),
        ("ghcr.io/a/b/c", "ghcr.io/*", False),
        ("ghcr.io/a/b", "ghcr.io/*/*", True),
        ("heroku/builder:24", "docker.io/heroku/builder:24", True),
        ("heroku/builder:22", "docker.io/heroku/builder:24", False),
        ("heroku/builder:24.1", "docker.io/heroku/builder:24*", True),
        ("r.example:5000/b:7", "r.example:5000/b", True),
        (f"r.io/b@sha256:{'a' * 64}", f"r.io/b@sha256:{'a' * 64}", True),
        (f"r.io/b@sha256:{'b' * 64}", f"r.io/b@sha256:{'a' * 64}", False),
        ("anything/at/all", "*", True),
        ("a/bxc", "docker.io/a/b.c", False),
    ],
)
def test_patterns(image: str, pattern: str, fits: bool) -> None:
    assert (matching(Reference.parse(image), {pattern: "found"}) == "found") is fits
    check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["", "paketobuildpacks/*", "builder"])
def test_patterns_name_a_registry(pattern: str) -> None:
    with pytest.raises(ValueError, match="lacks the registry"):
        check_pattern(pattern)


def test_a_refusal_names_the_setting_and_what_is_allowed() -> None:
    with pytest.raises(BuilderImageError, match=r"allows none but its own.*BUILDER_BUILDER_IMAGES.*remove it from"):
        check_allowed(wish("r.io/b"), ())
    with pytest.raises(BuilderImageError, match=r"r.io/b:latest.*allowed are x.io/\*, y.io/z"):
        check_allowed(wish("r.io/b"), ("x.io/*", "y.io/z"))
    check_allowed(wish("r.io/b"), ("x.io/*", "r.io/*"))


async def chosen(_: Wish) -> ChosenBuilder | None:
    return CHOSEN


async def own(_: Wish) -> ChosenBuilder | None:
    return None


async def refused(found: Wish) -> ChosenBuilder | None:
    check_allowed(found, ())
    return CHOSEN


async def plan_of(files: dict[str, str], choose: Choose | None, **options: str) -> Plan:
    limits = BuildLimits(timedelta(seconds=10), 1024)
    spec = BuildSpec(uuid4(), "shop", 1, "0" * 40, "main", "mina", AppConfig(), options, limits)
    return await make_plan(MemoryTree(files), spec, static_start="serve", choose=choose)


async def test_a_chosen_builder_decides_what_it_can_build() -> None:
    plan = await plan_of({".packbuilder": "example/b:1", "go.mod": "module x"}, chosen)
    assert (plan.stack, plan.kind, plan.procfile, plan.builder) == ("buildpack", "chosen", {}, CHOSEN)
    assert plan.notes == ("Building with docker.io/example/b:1, as .packbuilder asks",)
    with_procfile = await plan_of({"project.toml": '[build]\nbuilder = "a/b"', "Procfile": "web: x"}, chosen)
    assert with_procfile.procfile == {"web": "x"}


async def test_the_platforms_own_builder_is_as_if_none_was_named() -> None:
    plan = await plan_of({".packbuilder": "r.io/own", "Procfile": "web: x"}, own)
    assert (plan.kind, plan.builder, plan.notes) == ("procfile", None, ())


async def test_what_is_not_allowed_declines_the_push_with_one_line() -> None:
    with pytest.raises(BuildFailedError) as caught:
        await plan_of({".packbuilder": "example/b:1", "Procfile": "web: x"}, refused)
    assert caught.value.code == "bad-builder"
    assert "BUILDER_BUILDER_IMAGES" in caught.value.message
    assert caught.value.message.isprintable()


async def test_a_machine_without_builder_images_says_that_it_ignores_them() -> None:
    for name, content in ((".packbuilder", "A B C"), (".pack-builder", "x"), ("project.toml", "not [ toml")):
        plan = await plan_of({name: content, "Procfile": "web: x"}, None)
        assert plan.notes == (f"{name} is ignored: apps are built on this machine, without builder images",)
        assert plan.kind == "procfile"


@pytest.mark.parametrize("choose", [refused, None])
async def test_an_app_with_a_dockerfile_has_no_use_for_a_builder_image(choose: Choose | None) -> None:
    files = {".packbuilder": "a/b", "project.toml": "[", "Dockerfile": "FROM scratch\n"}
    assert (await plan_of(files, choose)).notes == (".packbuilder is ignored: this app is built from a Dockerfile",)


async def test_a_stack_that_was_asked_for_counts() -> None:
    files = {".packbuilder": "a/b", "Dockerfile": "FROM scratch\n"}
    assert (await plan_of(files, chosen, stack="buildpack")).builder == CHOSEN


async def test_a_plan_is_stored_and_comes_back() -> None:
    files = {".packbuilder": "a/b", ".build-arg": "A='b c'", ".clear-cache": ""}
    plan = await plan_of(files, chosen)
    back = Plan.restored(json.loads(json.dumps(dataclasses.asdict(plan))))
    assert (back.builder, back.arguments, back.is_fresh) == (CHOSEN, {"A": "b c"}, True)
    old = {"stack": "buildpack", "kind": "python", "procfile": {}, "dryccfile": {}, "dockerfile": ""}
    assert Plan.restored(old) == Plan("buildpack", "python", {}, {}, "")


def test_a_digest_does_not_pass_for_the_tag_that_is_allowed() -> None:
    pinned = wish(f"r.io/b:1@sha256:{'a' * 64}")
    with pytest.raises(BuilderImageError):
        check_allowed(pinned, ["r.io/b:1"])
    for pattern in ("r.io/b", "r.io/b:*", f"r.io/b@sha256:{'a' * 64}"):
        check_allowed(pinned, [pattern])
