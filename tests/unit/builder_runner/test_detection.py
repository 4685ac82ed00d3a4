"""Which stack is chosen, what is said when none fits, and the example line for a missing Procfile."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import pytest

from builder.domain.detect import (
    BUILDPACK,
    CONTAINER,
    Detected,
    NoProcfileError,
    NothingRecognisedError,
    detect,
    node_procfile,
    python_example,
)
from builder.runner.checks import make_plan
from builder.runner.port import AppConfig, BuildFailedError, BuildLimits, BuildSpec, ConfigValue, Plan
from support.builds import MemoryTree


@pytest.mark.parametrize(
    ("names", "asked", "expected"),
    [
        (["Dockerfile", "Procfile", "requirements.txt"], None, Detected(CONTAINER, "container")),
        (["Dockerfile", "Procfile", "requirements.txt"], BUILDPACK, Detected(BUILDPACK, "python")),
        (["Dockerfile"], CONTAINER, Detected(CONTAINER, "container")),
        (["requirements.txt"], None, Detected(BUILDPACK, "python")),
        (["pyproject.toml", "package.json"], None, Detected(BUILDPACK, "python")),
        (["package.json", "index.html"], None, Detected(BUILDPACK, "node")),
        (["package.json", ".python-version"], None, Detected(BUILDPACK, "node")),
        ([".python-version", "Procfile"], None, Detected(BUILDPACK, "python")),
        (["setup.py", "Procfile"], None, Detected(BUILDPACK, "python")),
        ([".node-version", "Procfile"], None, Detected(BUILDPACK, "node")),
        (["index.html"], None, Detected(BUILDPACK, "static")),
        (["index.html", "Procfile"], None, Detected(BUILDPACK, "procfile")),
        (["Procfile", "bin/"], None, Detected(BUILDPACK, "procfile")),
        (["Procfile", "go.mod"], None, Detected(BUILDPACK, "procfile")),
    ],
)
def test_the_stack_is_chosen(names: list[str], asked: str | None, expected: Detected) -> None:
    assert detect(names, asked=asked) == expected


def test_a_public_directory_makes_a_static_site() -> None:
    assert detect(["public/"], asked=None, public=["index.html"]).kind == "static"


def test_a_pipeline_with_build_needs_images() -> None:
    assert detect(["Procfile"], asked=None, image_builds=["worker"]) == Detected(CONTAINER, "container")
    with pytest.raises(NothingRecognisedError, match=r"needs images \(worker\)"):
        detect(["Procfile"], asked=BUILDPACK, image_builds=["worker"])


@pytest.mark.parametrize(
    ("names", "asked", "message"),
    [
        ([], None, "nothing to build was found: looked for Dockerfile, requirements.txt"),
        (["README.md"], None, "nothing to build was found"),
        (["Procfile"], "heroku-24", "the stack `heroku-24` does not exist: set DRYCC_STACK to"),
        (["Procfile"], CONTAINER, "there is no Dockerfile"),
        (["Pipfile"], None, "found Pipfile, which is not read: write requirements.txt with `pipenv requirements"),
        (["go.mod"], None, "found go.mod: Go needs a Dockerfile"),
    ],
)
def test_what_does_not_fit_is_explained(names: list[str], asked: str | None, message: str) -> None:
    with pytest.raises(NothingRecognisedError) as caught:
        detect(names, asked=asked)
    assert message in caught.value.detail
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize(
    ("names", "dependencies", "line"),
    [
        (["manage.py"], "django", "web: python manage.py runserver 0.0.0.0:$PORT"),
        (["app.py"], "", "web: python app.py"),
        (["main.py"], "uvicorn[standard]", "web: uvicorn main:app --host 0.0.0.0 --port $PORT"),
        (["wsgi.py"], "Gunicorn==21", "web: gunicorn wsgi:app --bind 0.0.0.0:$PORT"),
        (["server.py"], "Flask", "web: flask --app server run --host 0.0.0.0 --port $PORT"),
        (["lib/"], "", "web: python app.py"),
    ],
)
def test_the_example_line_fits_the_app(names: list[str], dependencies: str, line: str) -> None:
    assert python_example(names, dependencies) == line


def test_npm_start_is_used() -> None:
    assert node_procfile(json.dumps({"scripts": {"start": "node x.js"}}).encode()) == {"web": "npm start"}


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000])
def test_a_package_that_cannot_be_read_is_told(content: bytes) -> None:
    with pytest.raises(NothingRecognisedError, match=r"package\.json is not valid JSON: "):
        node_procfile(content)


@pytest.mark.parametrize("package", [{}, {"scripts": {}}, {"scripts": []}, {"scripts": {"start": 1}}, []])
def test_without_npm_start_a_procfile_is_asked_for(package: object) -> None:
    with pytest.raises(NoProcfileError, match="no `start` script"):
        node_procfile(json.dumps(package).encode())


async def plan_of(tree: MemoryTree, asked: BuildSpec) -> Plan:
    return await make_plan(tree, asked, static_start="serve the files")


def spec(variable: str | None = None, **options: str) -> BuildSpec:
    values = (ConfigValue("DRYCC_STACK", variable, group="global"),) if variable else ()
    limits = BuildLimits(timedelta(seconds=10), 1024)
    return BuildSpec(uuid4(), "shop", 1, "0" * 40, "main", "mina", AppConfig(values), options, limits)


@pytest.mark.parametrize(
    ("files", "code", "message"),
    [
        ({"requirements.txt": "flask", "main.py": ""}, "no-procfile", "`web: flask --app main run --host 0.0.0.0"),
        ({"package.json": "{}"}, "no-procfile", "no `start` script"),
        ({".node-version": "18"}, "no-procfile", "no `start` script"),
        ({"setup.py": "install_requires=['gunicorn']", "wsgi.py": ""}, "no-procfile", "`web: gunicorn wsgi:app --bind"),
        ({"Procfile": "web: a", ".build-arg": "A=1\nx"}, "build-failed", ".build-arg line 2: write NAME=value"),
        ({"package.json": "{"}, "nothing-recognised", "package.json is not valid JSON"),
        ({"Procfile": "web"}, "bad-procfile", "Procfile line 1: `web` is not `name: command`"),
        ({"Procfile": "web: a", ".drycc/web.yaml": "kind: x"}, "bad-dryccfile", ".drycc/web.yaml line 1"),
        ({"README": ""}, "nothing-recognised", "looked for"),
        ({"Dockerfile": "RUN x"}, "nothing-recognised", "no FROM line"),
        ({"Dockerfile": "FROM x\n# \0"}, "nothing-recognised", "NUL bytes"),
        (
            {".drycc/web.yaml": "kind: pipeline\nptype: web\nbuild: {docker: web.Dockerfile}\ndeploy: {}"},
            "bad-dryccfile",
            "the pipeline of `web` is built from web.Dockerfile, which is not in the repository",
        ),
    ],
)
async def test_checks_fail_before_anything_is_built(files: dict[str, str], code: str, message: str) -> None:
    with pytest.raises(BuildFailedError) as caught:
        await plan_of(MemoryTree(files), spec())
    assert caught.value.code == code
    assert message in caught.value.message


async def test_a_plan_holds_what_the_controller_will_be_told() -> None:
    plan = await plan_of(MemoryTree({"Dockerfile": "FROM scratch\n", "Procfile": "web: a"}), spec())
    assert (plan.stack, plan.kind, plan.procfile, plan.dockerfile) == (
        "container",
        "container",
        {"web": "a"},
        "FROM scratch\n",
    )


async def test_push_option_and_variable_choose_the_stack() -> None:
    files = {"Dockerfile": "FROM scratch\n", "Procfile": "web: a"}
    assert (await plan_of(MemoryTree(files), spec("buildpack"))).kind == "procfile"
    plan = await plan_of(MemoryTree(files), spec("container", stack="buildpack"))
    assert (plan.stack, plan.dockerfile) == ("buildpack", "")


async def test_pipelines_take_the_place_of_a_procfile() -> None:
    files = {"requirements.txt": "", ".drycc/web.yaml": "kind: pipeline\nptype: web\ndeploy: {command: [a]}"}
    plan = await plan_of(MemoryTree(files), spec())
    assert (plan.kind, plan.procfile) == ("python", {})
