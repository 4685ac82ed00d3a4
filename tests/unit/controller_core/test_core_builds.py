"""What builds may be made of and how their process types start."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from controller.domain.builds import (
    EMPTY_COMMAND,
    IMAGE_MESSAGE,
    Start,
    check_build,
    check_owner,
    ptypes_of,
    release_jobs,
    start_of,
)
from controller.domain.configs import config_from_build
from controller.domain.errors import InvalidFieldsError
from controller.domain.names import PTYPE_LENGTH_MESSAGE, PTYPE_MESSAGE
from controller.domain.releases import Build, ConfigData
from shared.errors import InvalidInputError

NOW = datetime(2026, 1, 5, tzinfo=UTC)
BASE = {"image": "registry.test/shop:1", "stack": "container"}
DEPLOY: dict[str, Any] = {"kind": "pipeline", "ptype": "web", "deploy": {}}


def errors(**body: object) -> dict[str, list[str]]:
    with pytest.raises(InvalidFieldsError) as caught:
        check_build(body)
    return caught.value.errors


def build(**body: Any) -> Build:
    request = check_build(BASE | body)
    return Build(uuid4(), "shop", "ana", NOW, NOW, **vars(request))


def test_missing_and_malformed_fields_are_all_told() -> None:
    assert errors() == {"image": ["This field is required."], "stack": ["This field is required."]}
    assert errors(image="", stack="x" * 33, sha="a" * 41) == {
        "image": ["This field may not be blank."],
        "stack": ["Ensure this field has no more than 32 characters."],
        "sha": ["Ensure this field has no more than 40 characters."],
    }
    assert errors(**BASE, procfile=None, dryccfile=None, dockerfile=None) == {
        field: ["This field may not be null."] for field in ("procfile", "dryccfile", "dockerfile")
    }
    assert errors(**BASE, dockerfile="FROM a\0b") == {"dockerfile": ["Null characters are not allowed."]}
    assert errors(image=["x"], stack=None) == {
        "image": ["Not a valid string."],
        "stack": ["This field may not be null."],
    }


@pytest.mark.parametrize(
    ("procfile", "message"),
    [
        ({"web": ""}, EMPTY_COMMAND),
        ({"web": None}, EMPTY_COMMAND),
        ({"web": "  "}, EMPTY_COMMAND),
        ({"web": 5}, "could not validate 5: 5 is not of type 'string'"),
        ({"we": "x"}, PTYPE_LENGTH_MESSAGE),
        ({"web_x": "x"}, PTYPE_MESSAGE),
        ([], "could not validate []: [] is not of type 'object'"),
        ("web: x", "could not validate 'web: x': 'web: x' is not of type 'object'"),
    ],
)
def test_bad_procfiles(procfile: object, message: str) -> None:
    assert errors(**BASE, procfile=procfile) == {"procfile": [message]}


@pytest.mark.parametrize(
    ("dryccfile", "message"),
    [
        ({"x": 1}, "could not validate {'x': 1}: 'pipeline' is a required property"),
        ({"pipeline": {"a.yaml": {"kind": "pipeline", "ptype": "web"}}}, "'deploy' is a required property"),
        ({"pipeline": {"a.yaml": DEPLOY | {"kind": "x"}}}, "'x' does not match '^pipeline$'"),
        (
            {"pipeline": {"a.yaml": DEPLOY | {"deploy": {"foo": 1}}}},
            "Additional properties are not allowed ('foo' was unexpected)",
        ),
        ({"pipeline": {"a.yaml": DEPLOY | {"env": {"A": 1}}}}, "'***' is not of type 'string'"),
        ({"pipeline": {}, "config": {"jobs": {"A": 1}}}, "'***' is not of type 'string'"),
        ({"pipeline": {"a.yaml": DEPLOY | {"config": ["my jobs"]}}}, "'my jobs' does not match"),
        ({"pipeline": {"a.yaml": DEPLOY | {"run": {"timeout": 10**300}}}}, "is greater than the maximum of"),
        ({"pipeline": {"a.yaml": DEPLOY, "b.yaml": DEPLOY}}, "Pipeline's ptype must be unique"),
        ({"pipeline": {"a.yaml": DEPLOY | {"ptype": "w"}}}, PTYPE_LENGTH_MESSAGE),
        ({"pipeline": {"my file": DEPLOY}}, "'my file' does not match any of the regexes"),
    ],
)
def test_bad_dryccfiles(dryccfile: object, message: str) -> None:
    [found] = errors(**BASE, dryccfile=dryccfile)["dryccfile"]
    assert message in found
    assert found == message or found.startswith("could not validate {")


@pytest.mark.parametrize(
    "dryccfile",
    [
        {"config": {"jobs": {"TOKEN": "s3cret"}}},
        {"pipeline": {"a.yaml": DEPLOY | {"env": {"TOKEN": "s3cret"}, "deploy": 1}}},
        {"pipeline": {"a.yaml": DEPLOY | {"env": {"TOKEN": ["s3cret"]}}}},
        {"pipeline": {"a.yaml": DEPLOY | {"env": "TOKEN=s3cret"}}},
        {"pipeline": {"a.yaml": DEPLOY | {"build": {"arg": {"TOKEN": {"is": "s3cret"}}}}}},
        "config: {jobs: {TOKEN: s3cret}}",
    ],
)
def test_what_is_said_of_dryccfiles_repeats_no_value_of_a_variable(dryccfile: object) -> None:
    [found] = errors(**BASE, dryccfile=dryccfile)["dryccfile"]
    assert "s3cret" not in found
    assert "***" in found


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "dog", "PORT can only be a numeric value"),
        ("PORT", "9" * 5000, "PORT needs to be between 1 and 65535"),
        ("DRYCC_DEPLOY_TIMEOUT", "soon", "DRYCC_DEPLOY_TIMEOUT can only be a numeric value"),
    ],
)
def test_numbers_in_dryccfiles_are_checked_as_in_configs(name: str, value: str, message: str) -> None:
    variables = {name: value}
    in_type = {"pipeline": {"a.yaml": DEPLOY | {"env": variables}}}
    in_group = {"pipeline": {"a.yaml": DEPLOY}, "config": {"jobs": variables}}
    for dryccfile in (in_type, in_group):
        assert errors(**BASE, dryccfile=dryccfile) == {"dryccfile": [message]}


@pytest.mark.parametrize(
    "image",
    [
        "--privileged",
        "--volume=/:/host",
        "-v",
        "shop:1 --privileged",
        "shop:1\n",
        "docker-archive:/etc/passwd",
        "dir:/var/lib",
        "docker://shop",
        "Shop",
        "shop:",
        "shop@sha256:1",
        "registry.test//shop",
        "../shop",
        "a" * 1025,
    ],
)
def test_images_are_names_and_never_options_of_a_program(image: str) -> None:
    if image.strip() == image:
        assert errors(**BASE | {"image": image}) == {"image": [IMAGE_MESSAGE]}
    for section in ("deploy", "run"):
        pipeline = {"pipeline": {"a.yaml": DEPLOY | {section: {"image": image}}}}
        assert errors(**BASE, dryccfile=pipeline) == {"dryccfile": [IMAGE_MESSAGE]}


@pytest.mark.parametrize(
    "image",
    [
        "a",
        "shop:1.4",
        "library/shop__two/three--four:V1_x",
        "127.0.0.1.nip.io:5000/shop",
        "Registry.Example.ORG:443/team/shop:1",
        "[2001:db8::1]:5000/shop",
        f"registry.test/shop:1@sha256:{'0' * 64}",
        "workspace/shop:0192f0c1-7c00-7000-8000-000000000000",
    ],
)
def test_names_of_images(image: str) -> None:
    assert check_build(BASE | {"image": image}).image == image


@pytest.mark.parametrize("repository", ["workspace/", "localhost/workflow/", "workflow/"])
def test_what_was_built_here_for_another_app_is_refused(repository: str) -> None:
    for name, is_own in (("shop:1", True), ("other:1", False), ("shop-two:1", False), ("shop", False)):
        pipelines = [
            {"pipeline": {"a.yaml": DEPLOY | {part: {"image": repository + name}}}} for part in ("deploy", "run")
        ]
        for dryccfile in pipelines:
            request = check_build(BASE | {"dryccfile": dryccfile})
            if is_own:
                check_owner(request, "shop")
            else:
                with pytest.raises(InvalidInputError, match=f"{repository}{name} was built for another app"):
                    check_owner(request, "shop")


def test_an_empty_variable_of_a_group_stays_with_every_build() -> None:
    made = build(dryccfile={"pipeline": {"a.yaml": DEPLOY}, "config": {"jobs": {"EMPTY": ""}}})
    once = config_from_build(ConfigData(), made)
    assert [value.as_json() for value in once.values] == [{"name": "EMPTY", "group": "jobs", "value": ""}]
    assert config_from_build(once, made) == once


def test_a_pipeline_without_types_is_refused_before_anything_is_written() -> None:
    with pytest.raises(InvalidInputError, match=r"ptypes are not within the optional range: \[\]"):
        check_build(BASE | {"dryccfile": {"pipeline": {}}})


@pytest.mark.parametrize("image", ["localhost/a/b", "127.0.0.1:5000/a", "localhost:80/x"])
def test_images_on_this_machine(image: str) -> None:
    with pytest.raises(InvalidInputError, match="image must not use the loopback address"):
        check_build(BASE | {"image": image})
    assert check_build(BASE | {"image": image}, allow_loopback=True).image == image
    assert check_build(BASE | {"image": "localhoster.test/a"}).image


def test_builders_may_send_null() -> None:
    request = check_build(BASE | {"procfile": None, "dryccfile": None, "sha": None}, null_is_empty=True)
    assert (request.procfile, request.dryccfile, request.sha) == ({}, {}, "")


def test_process_types_come_from_the_pipeline_or_the_procfile_or_are_web() -> None:
    pipeline = {"pipeline": {"b.yaml": DEPLOY | {"ptype": "zeta"}, "a.yaml": DEPLOY}}
    assert ptypes_of(build(dryccfile=pipeline, procfile={"other": "x"})) == ("zeta", "web")
    assert ptypes_of(build(procfile={"worker": "x", "web": "y"})) == ("worker", "web")
    assert ptypes_of(build()) == ("web",)
    assert ptypes_of(None) == ()


def test_a_procfile_line_is_for_a_shell_when_the_source_was_pushed() -> None:
    procfile = {"web": "serve --port $PORT"}
    image = "registry.test/shop:1"
    assert start_of(build(procfile=procfile, sha="abc"), "web") == Start(image, shell="serve --port $PORT")
    words = ("serve", "--port", "$PORT")
    assert start_of(build(procfile=procfile), "web") == Start(image, args=words)
    assert start_of(build(procfile=procfile, sha="abc", dockerfile="FROM x"), "web") == Start(image, args=words)
    assert start_of(build(procfile=procfile), "run") == Start(image)


def test_images_of_a_pipeline() -> None:
    built = {"docker": "Dockerfile"}
    pipeline = {
        "pipeline": {
            "web.yaml": DEPLOY | {"build": built},
            "worker.yaml": DEPLOY | {"ptype": "worker", "build": built, "run": {"image": "web"}},
            "cron.yaml": DEPLOY | {"ptype": "cron", "deploy": {"image": "worker", "command": ["bash"], "args": ["-c"]}},
            "redis.yaml": DEPLOY | {"ptype": "redis", "deploy": {"image": "redis:7"}, "run": {"timeout": 5}},
            "plain.yaml": DEPLOY | {"ptype": "plain"},
        }
    }
    made = build(dryccfile=pipeline)
    images = {ptype: start_of(made, ptype).image for ptype in ptypes_of(made)}
    base = "registry.test/shop:1"
    assert images == {
        "web": base,
        "worker": f"{base}-worker",
        "cron": f"{base}-worker",
        "redis": "redis:7",
        "plain": base,
    }
    assert (start_of(made, "cron").command, start_of(made, "cron").args) == (("bash",), ("-c",))
    jobs = release_jobs(made, ("redis", "worker"))
    assert [(job.ptype, job.start.image, job.timeout_seconds) for job in jobs] == [
        ("worker", base, None),
        ("redis", base, 5),
    ]
    assert release_jobs(made, ()) == ()
