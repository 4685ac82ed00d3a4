"""Node.js, static sites, plain programs and Dockerfiles, built with the tools of this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import pytest_asyncio

from builder.runner.port import BuildFailedError
from shared.containers import ToolFinder
from support.build_workbench import Workbench, output_of, serving
from support.builds import sample
from support.tools import require_tool, unavailable

MS = "2.1.3"
NODE_APP = {
    "package.json": json.dumps({"name": "x", "dependencies": {"ms": MS}, "scripts": {"start": "node app.js"}}),
    "package-lock.json": json.dumps(
        {
            "name": "x",
            "lockfileVersion": 3,
            "requires": True,
            "packages": {"": {"name": "x", "dependencies": {"ms": MS}}, "node_modules/ms": {"version": MS}},
        }
    ),
    "app.js": "console.log(require('ms')(60000))\n",
}


@pytest.fixture
def npm() -> None:
    """Node.js and npm are there."""
    require_tool("node")
    require_tool("npm")


async def test_the_node_sample_is_built_and_serves(bench: Workbench, npm: None) -> None:
    result = await bench.push(sample("node"))
    assert result.procfile == {"web": "npm start"}
    assert bench.log.headings[0].startswith("Node.js app detected (Node.js ")
    assert bench.log.headings[1:] == ["No packages to install"]
    async with serving(bench.workspace, "node server.js", DRYCC_APP="shop", WORKFLOW_RELEASE="v2") as client:
        assert (await client.get("/")).text == "Hello from shop v2\n"


async def test_node_packages_are_installed_once(bench: Workbench, npm: None) -> None:
    await bench.push(NODE_APP)
    assert bench.log.headings[1:] == ["Installing packages with npm ci..."]
    first = bench.workspace
    await bench.push(NODE_APP | {"app.js": "console.log('new', require('ms')(1000))\n"})
    assert bench.log.headings[1:] == ["Packages unchanged, using the cached node_modules"]
    assert len(bench.cached("node")) == 1
    assert output_of(first, "npm --silent start") == "1m\n"
    assert output_of(bench.workspace, "npm --silent start") == "new 1s\n"
    cache = bench.caches / bench.cached("node")[0]
    assert sorted(path.name for path in cache.iterdir()) == [".complete", "node_modules"]


async def test_packages_of_the_tree_are_installed_in_place(bench: Workbench, npm: None) -> None:
    package = {"dependencies": {"lib": "file:lib"}, "scripts": {"build": "node -e \"require('lib')('built.txt')\""}}
    files = {
        "package.json": json.dumps(package),
        "lib/package.json": json.dumps({"name": "lib", "version": "1.0.0", "main": "lib.js"}),
        "lib/lib.js": "module.exports = path => require('fs').writeFileSync(path, process.env.WORD)",
        "Procfile": "web: cat built.txt\n",
    }
    bench.variables["WORD"] = "hello"
    await bench.push(files)
    assert bench.log.headings[1:] == ["Installing packages with npm install...", "Running the build script..."]
    assert output_of(bench.workspace, "cat built.txt") == "hello"
    assert bench.cached("node") == []


async def test_a_build_script_that_fails(bench: Workbench, npm: None) -> None:
    files = {
        "package.json": json.dumps({"scripts": {"build": "echo first && echo the reason && exit 3"}}),
        "Procfile": "web: node x.js",
    }
    with pytest.raises(BuildFailedError) as caught:
        await bench.push(files)
    assert caught.value.message == "the build script failed: it exited with status 3"
    assert "the reason" in caught.value.log
    assert bench.leftovers() == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({".nvmrc": "v6.1"}, ".nvmrc asks for Node.js 6; this machine has "),
        ({"package.json": "[]"}, "package.json is not a JSON object"),
    ],
)
async def test_node_apps_that_cannot_be_built(bench: Workbench, npm: None, files: dict[str, str], message: str) -> None:
    with pytest.raises(BuildFailedError) as caught:
        await bench.push({"package.json": "{}", "Procfile": "web: node x.js"} | files)
    assert caught.value.message.startswith(message)


async def test_a_node_version_alone_is_an_app_of_node(bench: Workbench) -> None:
    require_tool("npm")
    result = await bench.push({".node-version": "\n", "Procfile": "web: node x.js\n", "x.js": "console.log(1)"})
    assert bench.log.headings[1:] == ["No packages to install"]
    assert output_of(bench.workspace, result.procfile["web"]) == "1\n"


async def test_a_machine_without_node(bench: Workbench, tmp_path: Path) -> None:
    bench.restart(host_environment={"PATH": str(tmp_path)})
    with pytest.raises(BuildFailedError, match="`node` and `npm` are not both on the PATH"):
        await bench.check({"package.json": "{}", "Procfile": "web: node x.js"})


async def test_a_static_site_is_served_without_its_dot_files(bench: Workbench) -> None:
    result = await bench.push(sample("static"))
    assert bench.log.headings == ["Static site detected"]
    async with serving(bench.workspace, result.procfile["web"]) as client:
        page = await client.get("/")
        assert "It works" in page.text
        assert page.headers["content-type"].startswith("text/html")
        assert (await client.get("/style.css")).status_code == 200
        assert (await client.get("/nothing")).status_code == 404
    await bench.push({"index.html": "root", ".drycc/secret": "hunter2", ".env": "hunter2"})
    async with serving(bench.workspace, result.procfile["web"]) as client:
        assert (await client.get("/")).text == "root"
        assert (await client.get("/.drycc/secret")).status_code == 404
        assert (await client.get("/.env")).status_code == 404
        assert (await client.get("/../launch.json")).status_code == 404
    assert sorted(path.name for path in (bench.workspace / "source").iterdir()) == [".drycc", ".env", "index.html"]


async def test_plain_programs_need_no_build(bench: Workbench) -> None:
    result = await bench.push({"Procfile": "web: sh run.sh\n", "run.sh": "echo $0"})
    assert bench.log.headings == ["Procfile app detected, nothing to build"]
    assert output_of(bench.workspace, result.procfile["web"]) == "run.sh\n"


async def test_a_dockerfile_without_a_container_tool(bench: Workbench, tmp_path: Path) -> None:
    bench.restart(host_environment={"PATH": str(tmp_path)})
    with pytest.raises(BuildFailedError) as caught:
        await bench.check({"Dockerfile": "FROM scratch\n"})
    assert caught.value.code == "container-tool-missing"
    assert "docker, podman and buildah" in caught.value.message
    assert "an app with a Procfile needs none" in caught.value.message


@pytest_asyncio.fixture
async def podman(bench: Workbench, tmp_path: Path) -> Path:
    """Podman with a storage of the test's own and told to do with what a restricted machine allows; no docker."""
    path = require_tool("podman")
    configuration = tmp_path / "storage.conf"
    configuration.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/images"\nrunroot = "{tmp_path}/containers"\n'
    )
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "podman").symlink_to(path)
    rules = tmp_path / "containers.conf"
    lines = ["[containers]", 'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]']
    rules.write_text("\n".join([*lines, *(["[engine]", 'runtime = "runc"'] if shutil.which("runc") else [])]) + "\n")
    host = {"PATH": f"{programs}:/usr/sbin:/sbin", "HOME": str(tmp_path)}
    host |= {"CONTAINERS_STORAGE_CONF": str(configuration), "CONTAINERS_CONF": str(rules)}
    bench.restart(host_environment=host)
    if await ToolFinder(lambda: host).path_of("podman") is None:
        unavailable("podman cannot run a container here")
    return path


async def test_images_are_built_and_removed(bench: Workbench, podman: Path) -> None:
    bench.variables |= {"GREETING": "hunter2 of the app", "OTHER": "x"}
    files = {
        "Dockerfile": "FROM scratch\nARG GREETING=none \\\n  COLOUR\nCOPY page /page\nENV COLOUR=$COLOUR\n",
        "worker.Dockerfile": "FROM scratch\nARG SIZE\nCOPY page /page\nLABEL size=$SIZE\n",
        ".build-arg": "COLOUR='sky blue'\n",
        "page": "x",
        ".drycc/web.yaml": "kind: pipeline\nptype: web\ndeploy: {}\n",
        ".drycc/worker.yaml": (
            'kind: pipeline\nptype: worker\nbuild: {docker: worker.Dockerfile, arg: {SIZE: "4 x"}}\ndeploy: {}\n'
        ),
    }
    result = await bench.push(files)
    tag = f"localhost/workflow/shop:{bench.build_ids[-1]}"
    assert (result.stack, result.dockerfile) == ("container", files["Dockerfile"])
    assert bench.log.headings == [
        "Dockerfile app detected (building with podman)",
        "Building worker.Dockerfile...",
        "Building Dockerfile...",
    ]
    assert "hunter2" not in bench.log.text
    launch = json.loads((bench.workspace / "launch.json").read_text())
    assert (launch["stack"], launch["image"], launch["tool"]) == ("container", tag, "podman")
    sibling = bench.workspace.with_name(f"{bench.workspace.name}-worker")
    assert json.loads((sibling / "launch.json").read_text())["image"] == f"{tag}-worker"
    assert (sibling / "source" / "page").read_text() == "x"
    assert "COLOUR=sky blue" in inspected(bench, podman, tag)["Config"]["Env"]
    assert inspected(bench, podman, f"{tag}-worker")["Labels"]["size"] == "4 x"
    await bench.runner.discard("shop", None)
    assert not bench.workspaces.exists()
    assert images(bench, podman) == ""


async def test_an_image_that_cannot_be_built(bench: Workbench, podman: Path) -> None:
    with pytest.raises(BuildFailedError) as caught:
        await bench.push({"Dockerfile": "FROM scratch\nCOPY missing /x\n"})
    assert caught.value.code == "build-failed"
    assert caught.value.message.startswith("building Dockerfile failed: it exited with status ")
    assert any("missing" in line for line in caught.value.log)
    assert bench.leftovers() == []


def inspected(bench: Workbench, podman: Path, tag: str) -> dict[str, dict[str, str]]:
    done = asked(bench, podman, "image", "inspect", tag)
    found: list[dict[str, dict[str, str]]] = json.loads(done)
    return found[0]


def images(bench: Workbench, podman: Path) -> str:
    return asked(bench, podman, "images", "--quiet", "--filter", "reference=localhost/workflow/*")


def asked(bench: Workbench, podman: Path, *arguments: str) -> str:
    environment = dict(bench.config.host_environment)
    done = subprocess.run([podman, *arguments], env=environment, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout
