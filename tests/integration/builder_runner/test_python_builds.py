"""Python apps built with real pip. The only package that is fetched is bottle, one file without dependencies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builder.runner.port import BuildFailedError
from support.build_workbench import Workbench, output_of, serving
from support.builds import project, sample


async def test_the_sample_is_built_and_serves(bench: Workbench) -> None:
    result = await bench.push(sample("python"))
    assert result.image == f"workspace/shop:{bench.build_ids[-1]}"
    assert (result.stack, result.dockerfile, result.dryccfile) == ("buildpack", "", {})
    assert result.procfile == {"web": "python app.py", "worker": "python worker.py"}
    assert bench.log.headings[0].startswith("Python app detected (Python 3.")
    assert bench.log.headings[1:] == ["Installing requirements..."]
    assert "     Successfully installed bottle-0.13.4\n" in bench.log.text
    assert sorted(path.name for path in bench.workspace.iterdir()) == ["launch.json", "source"]
    launch = json.loads((bench.workspace / "launch.json").read_text())
    assert (launch["version"], launch["stack"], launch["workdir"]) == (1, "python", "source")
    assert launch["path"] == [str(bench.caches / bench.cached("venv")[0] / "bin")]
    variables = {"DRYCC_APP": "shop", "WORKFLOW_RELEASE": "v2", "GREETING": "Salut", "SOURCE_VERSION": "4f2a"}
    async with serving(bench.workspace, result.procfile["web"], **variables) as client:
        assert (await client.get("/")).text.startswith("Salut from shop v2 (4f2a")
        assert (await client.get("/healthz")).text == "ok\n"
        assert (await client.get("/nothing")).status_code == 404
    assert bench.leftovers() == []


async def test_unchanged_requirements_are_not_installed_again(bench: Workbench) -> None:
    files = {"app.py": "print(1)", "Procfile": "web: python app.py", "requirements.txt": ""}
    await bench.push(files)
    first = bench.workspace
    # Without pip's cache and without a pip that could run, a second installation would fail.
    (marker,) = bench.caches.glob("venv-*/.complete")
    made = marker.stat().st_mtime_ns
    await bench.push(files | {"app.py": "print(2)"})
    assert bench.log.headings[1:] == ["Requirements unchanged, using the cached environment"]
    assert marker.stat().st_mtime_ns == made
    assert len(bench.cached("venv")) == 1
    assert output_of(first, "python app.py") == "1\n"
    assert output_of(bench.workspace, "python app.py") == "2\n"


async def test_changed_requirements_get_an_environment_of_their_own(bench: Workbench) -> None:
    files = {"Procfile": "web: python -V", "requirements.txt": "-r base.txt\n", "base.txt": "# one\n"}
    await bench.push(files)
    await bench.push(files | {"base.txt": "# two\n"})
    assert len(bench.cached("venv")) == 2
    bench.variables["PIP_INDEX_URL"] = "https://mirror.example.com/simple"
    await bench.push(files)
    assert len(bench.cached("venv")) == 3


async def test_a_package_that_does_not_exist_fails_the_build(bench: Workbench) -> None:
    files = {"Procfile": "web: python -V", "requirements.txt": "bottle==99999\n"}
    with pytest.raises(BuildFailedError) as caught:
        await bench.push(files)
    failure = caught.value
    assert (failure.code, failure.message) == (
        "build-failed",
        "installing requirements failed: it exited with status 1",
    )
    assert any("No matching distribution found for bottle==99999" in line for line in failure.log)
    assert len(failure.log) <= 20
    assert failure.hint
    assert bench.leftovers() == []
    assert not bench.workspace.exists()
    assert bench.cached("venv") == []


async def test_a_failed_build_leaves_earlier_ones_alone(bench: Workbench) -> None:
    files = {"app.py": "print(1)", "Procfile": "web: python app.py", "requirements.txt": ""}
    await bench.push(files)
    good = bench.workspace
    with pytest.raises(BuildFailedError):
        await bench.push(files | {"requirements.txt": "-e .\n"})
    assert output_of(good, "python app.py") == "1\n"


async def test_a_project_is_installed_for_its_commit(bench: Workbench) -> None:
    result = await bench.push(project(says="first"))
    assert bench.log.headings[1:] == ["No dependencies to install", "Installing the project..."]
    first = bench.workspace
    await bench.push(project(says="second"))
    assert bench.log.headings[1:] == [
        "Dependencies unchanged, using the cached environment",
        "Installing the project...",
    ]
    assert len(bench.cached("venv")) == 1
    assert output_of(first, result.procfile["web"]) == "first\n"
    assert output_of(bench.workspace, result.procfile["web"]) == "second\n"


async def test_a_tree_in_the_requirements_is_installed_for_its_commit(bench: Workbench) -> None:
    files = {"requirements.txt": ".\n", "Procfile": "web: cd / && demo\n"}
    await bench.push(project(says="first") | files)
    first = bench.workspace
    await bench.push(project(says="second") | files)
    assert len(bench.cached("venv")) == 2
    assert output_of(first, "cd / && demo") == "first\n"
    assert output_of(bench.workspace, "cd / && demo") == "second\n"


async def test_dependencies_that_only_a_build_backend_knows(bench: Workbench) -> None:
    files = project(says="dynamic")
    files["pyproject.toml"] = files["pyproject.toml"].replace("dependencies = []", 'dynamic = ["dependencies"]')
    await bench.push(files)
    assert output_of(bench.workspace, "cd / && demo") == "dynamic\n"


async def test_a_setup_py_alone_is_a_project(bench: Workbench) -> None:
    """pip has setuptools from the index for it, as for every project that names no build backend (PEP 517)."""
    files = {
        "setup.py": "from setuptools import setup\nsetup(name='demo', version='1', py_modules=['demo'])\n",
        "demo.py": "print('of setup.py')\n",
        "Procfile": "web: python -m demo\n",
    }
    result = await bench.push(files)
    assert bench.log.headings[1:] == ["Installing project..."]
    assert output_of(bench.workspace, f"cd / && {result.procfile['web']}") == "of setup.py\n"


async def test_weakness_21_without_the_cache_everything_is_made_anew(bench: Workbench) -> None:
    files = {"Procfile": "web: python -V", "requirements.txt": ""}
    await bench.push(files)
    await bench.push(files | {".clear-cache": ""})
    assert len(bench.cached("venv")) == 2
    bench.variables["DRYCC_DISABLE_CACHE"] = "true"
    await bench.push(files)
    assert len(bench.cached("venv")) == 3
    bench.variables["DRYCC_DISABLE_CACHE"] = "0"
    await bench.push(files)
    assert bench.log.headings[1:] == ["Requirements unchanged, using the cached environment"]


async def test_build_arguments_are_variables_of_the_build(bench: Workbench) -> None:
    step = "import os\nprint('told', os.environ['GREETING'], os.environ['PATH'] != 'x')"
    files = project(step) | {".build-arg": "GREETING='good day'\nPATH=x\n"}
    files["requirements.txt"] = ".\n"
    bench.variables |= {"GREETING": "of the app", "PIP_VERBOSE": "1"}
    await bench.push(files)
    assert "told good day True" in bench.log.text


async def test_a_builder_image_is_said_to_be_ignored(bench: Workbench) -> None:
    await bench.push({"Procfile": "web: sh -c true", ".packbuilder": "A malformed name"})
    assert bench.log.headings == [
        ".packbuilder is ignored: apps are built on this machine, without builder images",
        "Procfile app detected, nothing to build",
    ]


async def test_a_project_without_build_backend_is_no_package(bench: Workbench) -> None:
    files = {"pyproject.toml": '[project]\nname = "x"\nversion = "1"\n', "uv.lock": "", "Procfile": "web: python -V"}
    await bench.push(files)
    assert bench.log.headings[1:] == [
        "uv.lock is not read; to pin versions, export it to requirements.txt",
        "No dependencies to install",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[project", "pyproject.toml is not valid TOML"),
        (f"x = {'[' * 100_000}", "pyproject.toml is not valid TOML"),
        ("project = 1", r"`project` is a table: write \[project\]"),
        ('[project]\nname = "x"\ndynamic = 1\ndependencies = 1', "project.dependencies is a list of strings"),
        ('[project]\nname = "x"\ndependencies = "bottle"', "project.dependencies is a list of strings"),
    ],
)
async def test_unusable_project_files(bench: Workbench, text: str, message: str) -> None:
    with pytest.raises(BuildFailedError, match=message):
        await bench.push({"pyproject.toml": text, "Procfile": "web: python -V"})


async def test_the_python_that_is_asked_for(bench: Workbench, tmp_path: Path) -> None:
    # No other version can be relied on, so a program answers for one; it lacks pip, so the environment gets its own.
    answer = json.dumps({"path": str(bench.config.python), "version": "3.99.1", "pip": ""})
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python3.99").write_text(f"#!/bin/sh\necho '{answer}'\n")
    (programs / "python3.99").chmod(0o755)
    host = dict(bench.config.host_environment)
    bench.restart(host_environment=host | {"PATH": f"{programs}:{host['PATH']}"})
    files = {"Procfile": "web: python -V", "requirements.txt": "", ".python-version": "# here\n3.99\n"}
    await bench.push(files)
    assert bench.log.headings[0] == "Python app detected (Python 3.99.1)"
    assert output_of(bench.workspace, "python -m pip --version").startswith("pip ")
    await bench.push(files | {".python-version": "3.99.7"})
    assert bench.log.headings[1] == ".python-version asks for Python 3.99.7; using 3.99.1"


async def test_a_newer_patch_of_the_own_python(bench: Workbench) -> None:
    own = bench.config.python.name.removeprefix("python")
    await bench.push({"Procfile": "web: a", "requirements.txt": "", "runtime.txt": f"python-{own}.99"})
    assert bench.log.headings[1].startswith(f"runtime.txt asks for Python {own}.99; using {own}.")


async def test_a_python_that_is_not_there(bench: Workbench, tmp_path: Path) -> None:
    bench.restart(host_environment=dict(bench.config.host_environment) | {"PATH": "/usr/bin:/bin"})
    with pytest.raises(BuildFailedError) as caught:
        await bench.check({".python-version": "3.4.1", "Procfile": "web: a", "requirements.txt": ""})
    assert caught.value.message.startswith(
        ".python-version asks for Python 3.4.1, which is not installed here; there is "
    )
    assert "(default)" in caught.value.message
    assert "python3.4" in caught.value.hint


async def test_a_version_that_makes_no_sense(bench: Workbench) -> None:
    with pytest.raises(BuildFailedError, match="says `pypy3`, which is no Python version"):
        await bench.check({".python-version": "pypy3", "Procfile": "web: a", "requirements.txt": ""})


async def test_files_that_lead_outside_are_not_read(bench: Workbench) -> None:
    with pytest.raises(BuildFailedError) as caught:
        await bench.push({"Procfile": "web: a", "requirements.txt": Path("/etc/passwd")})
    assert caught.value.code == "build-failed"
    assert bench.leftovers() == []
