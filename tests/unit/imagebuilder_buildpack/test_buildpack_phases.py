"""The phases of our builder image, run as programs on directories of this machine: all but what needs a registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from support.tools import require_tool

CNB = Path(__file__).parents[3] / "services/builder/imagebuilder/buildpacks/cnb"


class Place:
    """An app's directory, layers and the platform's directory."""

    def __init__(self, root: Path) -> None:
        self.app, self.layers, self.platform = root / "app", root / "layers", root / "platform"
        for folder in (self.app, self.layers, self.platform / "env"):
            folder.mkdir(parents=True)
        self.termination = root / "termination-log"

    def write(self, **files: str) -> None:
        """Files of the app: `Procfile=`, `package_json=` and so on; `_` stands for the last dot."""
        for name, text in files.items():
            (self.app / (name if name.startswith(".") else name.replace("_", "."))).write_text(text)

    def run(self, program: str) -> tuple[int, str]:
        """Exit code and output of a phase."""
        options = (f"-app={self.app}", f"-layers={self.layers}", f"-platform={self.platform}")
        files = (f"-group={self.layers}/group.toml", f"-plan={self.layers}/plan.toml")
        image = (f"-order={CNB}/order.toml", f"-buildpacks={CNB}/buildpacks")
        environment = {**os.environ, "WORKFLOW_TERMINATION_LOG": str(self.termination)}
        command = [str(CNB / "lifecycle" / program), *options, *files, *image]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        return done.returncode, done.stdout + done.stderr

    def group(self) -> list[str]:
        """The buildpacks that were chosen."""
        return [item["id"] for item in self.toml("group.toml")["group"]]

    def toml(self, name: str) -> dict[str, Any]:
        """A file below the layers."""
        return tomllib.loads((self.layers / name).read_text())

    def error(self) -> dict[str, str]:
        """The reason that was told."""
        return dict(json.loads(self.termination.read_text())["error"])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("files", "group"),
    [
        ({"requirements_txt": "", "Procfile": "web: x"}, ["workflow/python", "workflow/procfile"]),
        ({"pyproject_toml": ""}, ["workflow/python"]),
        ({"setup_py": "", "package_json": "{}"}, ["workflow/python"]),
        ({"package_json": "{}"}, ["workflow/node"]),
        ({"Procfile": "web: ./server", "index_html": ""}, ["workflow/procfile"]),
        ({"index_html": "hello"}, ["workflow/static"]),
    ],
)
def test_the_first_group_that_fits_is_chosen(place: Place, files: dict[str, str], group: list[str]) -> None:
    place.write(**files)
    code, output = place.run("detector")
    assert code == 0, output
    assert place.group() == group


def test_a_node_version_alone_is_an_app_without_packages(place: Place) -> None:
    require_tool("node")
    place.write(**{".node-version": "\n", "Procfile": "web: node x.js"})
    assert place.run("detector")[0] == 0
    code, output = place.run("builder")
    assert code == 0, output
    assert "No packages to install" in output
    assert (place.layers / "workflow_node/modules/env.launch/NODE_ENV.default").read_text() == "production"


def test_a_node_of_the_same_major_version_will_do(place: Place) -> None:
    """As on one machine: packages of Linux distributions move the minor version, too."""
    major = subprocess.run([require_tool("node"), "--version"], capture_output=True, text=True, check=True).stdout[1:3]
    place.write(**{".node-version": f"v{major}.99.1\n", "Procfile": "web: node x.js"})
    assert place.run("detector")[0] == 0
    code, output = place.run("builder")
    assert code == 0, output
    place.write(**{".node-version": "4.99\n"})
    assert place.run("builder")[0] == 51
    assert ".node-version asks for Node.js 4.99, which this builder does not have" in place.error()["message"]


def test_nothing_that_fits_is_said_with_what_would(place: Place) -> None:
    place.write(README="hello")
    code, output = place.run("detector")
    assert code == 20
    assert "no buildpack fits this repository; asked were workflow/python, workflow/node, workflow/procfile" in output
    assert place.error()["code"] == "nothing-recognised"
    assert "requirements.txt" in place.error()["hint"]


def test_each_process_of_a_procfile_is_a_line_for_bash(place: Place) -> None:
    line = "A=1 ./server --name \"a b\" && echo 'it''s \\\\ done' | tee $HOME/x"
    place.write(Procfile=f"# processes\nweb: {line}\r\n\nbg-worker: 'sleep 5 # long'\n")
    assert place.run("detector")[0] == 0
    code, output = place.run("builder")
    assert code == 0, output
    processes = place.toml("workflow_procfile/launch.toml")["processes"]
    assert [(item["type"], item["command"], item["args"], item["default"]) for item in processes] == [
        ("web", ["bash", "-c"], [line], True),
        ("bg-worker", ["bash", "-c"], ["sleep 5 # long"], False),
    ]


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({"Procfile": "web server"}, "bad-procfile", "Procfile line 1"),
        ({"Procfile": "web: a\nweb: b"}, "bad-procfile", "Procfile line 2"),
        ({"Procfile": "\n# nothing\n"}, "bad-procfile", "names no process"),
        ({"requirements_txt": "gunicorn", "app_py": ""}, "no-procfile", "there is no Procfile"),
        (
            {"requirements_txt": "", "Procfile": "web: x", ".python-version": "2.7.18"},
            "build-failed",
            "asks for Python 2.7",
        ),
        ({"requirements_txt": "", "Procfile": "web: x", ".python-version": "latest?"}, "build-failed", "no version"),
        (
            {"requirements_txt": "", "Procfile": "web: x", "runtime_txt": "python-2.7.18\n"},
            "build-failed",
            "runtime.txt asks for Python 2.7",
        ),
        ({"pyproject_toml": "[", "Procfile": "web: x"}, "build-failed", "pyproject.toml is not valid TOML"),
        ({"pyproject_toml": f"x = {'[' * 9999}", "Procfile": "web: x"}, "build-failed", "is not valid TOML"),
        ({"pyproject_toml": "project = 1", "Procfile": "web: x"}, "build-failed", "`project` is a table"),
        ({"pyproject_toml": "[[project]]", "Procfile": "web: x"}, "build-failed", "`project` is a table"),
    ],
)
def test_what_is_wrong_with_the_app_is_told(place: Place, files: dict[str, str], code: str, words: str) -> None:
    place.write(**files)
    assert place.run("detector")[0] == 0
    status, output = place.run("builder")
    assert status == 51
    assert place.error()["code"] == code
    assert words in place.error()["message"]
    assert words in output


def test_the_hint_shows_a_procfile_that_fits(place: Place) -> None:
    place.write(requirements_txt="gunicorn", main_py="")
    place.run("detector")
    place.run("builder")
    assert place.error()["hint"] == "add one: `web: gunicorn main:app --bind 0.0.0.0:$PORT`"


def test_variables_reach_the_build_but_not_what_it_writes(place: Place) -> None:
    place.write(**{".python-version": "3", "Procfile": "web: x"})
    (place.platform / "env" / "DATABASE_PASSWORD").write_text("s3cret")
    place.run("detector")
    code, output = place.run("builder")
    assert code == 0, output
    found = [path for path in place.layers.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert not found
    assert "s3cret" not in output


def test_an_environment_made_of_the_same_is_kept(place: Place) -> None:
    place.write(**{".python-version": "3", "Procfile": "web: x", "app_py": "print('hello')\n"})
    for expected in ("No dependencies to install", "using the cached environment"):
        place.run("detector")
        code, output = place.run("builder")
        assert code == 0, output
        assert expected in output
    assert place.toml("workflow_python/venv.toml")["types"] == {"build": False, "launch": True, "cache": True}
    assert (place.layers / "workflow_python/venv/bin/python").exists()
    (compiled,) = (place.app / "__pycache__").iterdir()
    assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00"  # PEP 552: by hash, unchecked


def test_links_that_buildpack_code_left_are_not_followed(place: Place, tmp_path: Path) -> None:
    place.write(Procfile="web: x")
    place.run("detector")
    (tmp_path / "credentials").mkdir()
    folder = place.layers / "workflow_procfile"
    folder.mkdir()
    (folder / "evil").symlink_to(tmp_path / "credentials")
    (folder / "evil.toml").write_text("[types]\nlaunch = true\nbuild = true\n")
    code, output = place.run("builder")
    assert code == 51
    assert "the layer workflow/procfile:evil is a link" in output


# The package is in the image only: it is asked in a process of its own.
ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from phases.group import named_group
from phases.images import _entry_point, processes_of, unsupported
layers = Path(sys.argv[2])
group = named_group(layers / "group.toml")
processes = processes_of(group, layers)
scripts = {name: process.script for name, process in processes.items()}
print(json.dumps([scripts, _entry_point(processes, "web"), list(unsupported(group, layers))]))
"""


def ask(layers: Path) -> Any:
    """What export makes of layers that programs of somebody else have left."""
    command = [sys.executable, "-c", ASK, str(CNB / "lifecycle"), str(layers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


def test_what_other_buildpacks_leave_is_understood(tmp_path: Path) -> None:
    (tmp_path / "group.toml").write_text('[[group]]\nid = "acme/go"\nversion = "1.2"\napi = "0.8"\nhomepage = "x"\n')
    folder = tmp_path / "acme_go"
    (folder / "tools" / "exec.d").mkdir(parents=True)
    (folder / "tools.toml").write_text("[types]\nlaunch = true\n")
    (folder / "launch.toml").write_text(
        '[[processes]]\ntype = "job"\ncommand = "run it"\nargs = ["a b"]\n'
        '[[processes]]\ntype = "once"\ncommand = "/bin/x"\nargs = ["$A"]\ndirect = true\n'
        '[[processes]]\ntype = "serve"\ncommand = ["server"]\nargs = ["-v"]\ndefault = true\nworking-dir = "/w w"\n'
    )
    scripts, entry_point, words = ask(tmp_path)
    assert scripts == {
        "job": "#!/bin/sh\nexec bash -c 'run it '\"'\"'a b'\"'\"''\n",
        "once": "#!/bin/sh\nexec /bin/x '$A'\n",
        "serve": "#!/bin/sh\ncd '/w w' || exit\nexec server -v\n",
    }
    assert entry_point == ["/cnb/process/serve"]
    assert words == ["exec.d of the layer acme/go:tools is not run when the app starts"]


@pytest.mark.parametrize("name", ["..", "config", "a b", "app", "../x/..", ""])
def test_a_group_of_strangers_names_nothing_outside_of_its_layers(tmp_path: Path, name: str) -> None:
    (tmp_path / "group.toml").write_text(f'[[group]]\nid = "{name}"\nversion = "1"\n')
    answer = ask(tmp_path)
    if name == "../x/..":  # one directory of that odd name, inside
        assert answer == [{}, ["/cnb/lifecycle/launcher"], []]
    else:
        assert "cannot be one" in answer


@pytest.mark.parametrize("ptype", ["..", "a/b", ".x", ""])
def test_a_process_of_strangers_is_a_file_beside_the_others(tmp_path: Path, ptype: str) -> None:
    (tmp_path / "group.toml").write_text('[[group]]\nid = "acme"\nversion = "1"\n')
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "launch.toml").write_text(f'[[processes]]\ntype = "{ptype}"\ncommand = ["x"]\n')
    assert "is no process type" in ask(tmp_path)


def test_weakness_20_each_process_of_a_procfile_starts_its_own_line(place: Place) -> None:
    place.write(Procfile="web: ./server\nworker: ./work --all 'a b'\n")
    assert [place.run(program)[0] for program in ("detector", "builder")] == [0, 0]
    scripts, entry_point, _ = ask(place.layers)
    assert scripts["worker"] == "#!/bin/sh\nexec bash -c './work --all '\"'\"'a b'\"'\"''\n"
    assert (entry_point, sorted(scripts)) == (["/cnb/process/web"], ["web", "worker"])
