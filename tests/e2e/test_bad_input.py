"""Every wrong push gets a clear reason, and changes nothing."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.live import GOOD, WEB, WORKER, Live, User, eventually
from support import require_tool

pytestmark = pytest.mark.timeout(300)

LISTENS_ELSEWHERE = WEB.replace('int(os.environ["PORT"])', "int(os.environ['PORT']) + 1")


@pytest.fixture
def app(live: Live, admin: User, request: pytest.FixtureRequest) -> Iterator[str]:
    """An app of the test's own, without a build."""
    name = request.node.name.removeprefix("test_").replace("_", "-").split("[")[0][:40].rstrip("-")
    admin.call("POST", "/v2/apps/", expect=201, json={"id": name})
    yield name
    admin.call("DELETE", f"/v2/apps/{name}/", expect=204)


def _refused(live: Live, user: User, app: str, files: dict[str, str], *reasons: str) -> str:
    """Push these files; the push must be declined with these words, and no release may come of it."""
    before = [release["version"] for release in live.releases(live.users["admin"], app)]
    pushed = live.push(user, live.repository(app, files), app)
    assert pushed.returncode != 0, pushed.stderr
    for reason in reasons:
        assert reason in pushed.stderr, pushed.stderr
    assert [release["version"] for release in live.releases(live.users["admin"], app)] == before
    return pushed.stderr


def test_an_unknown_key(live: Live, admin: User, app: str) -> None:
    key = live.root / "unknown-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    pushed = live.push(User("nobody", admin.http, key), live.repository(app, GOOD), app)
    assert pushed.returncode == 128
    assert "Permission denied (publickey)" in pushed.stderr


def test_a_key_without_rights(live: Live, admin: User, app: str) -> None:
    stranger = live.users.get("stranger") or live.make_user("stranger")
    error = _refused(live, stranger, app, GOOD, app)
    assert "may not push" in error
    assert stranger.call("GET", f"/v2/apps/{app}/", expect=404) == "No App matches the given query."


def test_a_collaborator_may_push(live: Live, admin: User, app: str) -> None:
    friend = live.users.get("friend") or live.make_user("friend")
    admin.call("POST", f"/v2/apps/{app}/perms/", expect=201, json={"username": "friend", "permissions": "view,change"})
    pushed = live.push(friend, live.repository(app, GOOD), app)
    assert pushed.returncode == 0, pushed.stderr
    assert live.answer(app)[0] == 200


def test_an_app_that_does_not_exist(live: Live, admin: User) -> None:
    pushed = live.push(admin, live.repository("nowhere", GOOD), "nowhere")
    assert pushed.returncode == 128
    assert "nowhere" in pushed.stderr


def test_another_branch_is_stored_but_not_deployed(live: Live, admin: User, app: str) -> None:
    pushed = live.push(admin, live.repository(app, GOOD), app, "HEAD:refs/heads/feature")
    assert pushed.returncode == 0, pushed.stderr
    assert "feature" in pushed.stderr
    assert "main" in pushed.stderr
    assert [release["version"] for release in live.releases(admin, app)] == [1]


def test_nothing_recognisable(live: Live, admin: User, app: str) -> None:
    _refused(live, admin, app, {"README": "hello"}, "Procfile", "requirements.txt", "package.json")


def test_python_without_procfile(live: Live, admin: User, app: str) -> None:
    _refused(live, admin, app, {"requirements.txt": "", "app.py": WEB}, "Procfile", "web: python app.py")


def test_a_procfile_that_is_not_one(live: Live, admin: User, app: str) -> None:
    _refused(live, admin, app, {"Procfile": "web: python3 web.py\nthis is no line\n"}, "Procfile", "line 2")


def test_a_build_that_fails(live: Live, admin: User, app: str) -> None:
    files = {"requirements.txt": "./no-such-package\n", "Procfile": "web: python web.py\n"}
    _refused(live, admin, app, files, "no-such-package", "build-failed")


def test_a_dockerfile_without_a_container_tool(live: Live, admin: User, app: str) -> None:
    _refused(
        live, admin, app, {"Dockerfile": "FROM scratch\n"}, "container-tool-missing", "docker", "podman", "buildah"
    )


def _fails_after_the_build(live: Live, admin: User, app: str, files: dict[str, str], code: str, *reasons: str) -> None:
    """The push is declined with the reason, and the release v2 carries the same."""
    pushed = live.push(admin, live.repository(app, files), app)
    assert pushed.returncode != 0, pushed.stderr
    for reason in (code, *reasons):
        assert reason in pushed.stderr, pushed.stderr
    release = live.releases(admin, app)[0]
    assert (release["version"], release["failed"], release["state"]) == (2, True, "crashed")
    failure = release["conditions"][0]["failure"]
    assert (failure["code"], failure["ptype"]) == (code, "web")
    assert failure["hint"]
    for reason in reasons:
        assert reason in failure["message"] + "\n".join(failure["log"]), failure


def test_an_app_that_exits_at_once(live: Live, admin: User, app: str) -> None:
    files = {"Procfile": "web: python3 web.py\n", "web.py": "print('cannot find my database'); raise SystemExit(3)\n"}
    _fails_after_the_build(live, admin, app, files, "process-crashed", "cannot find my database", "3")


def test_an_app_whose_command_is_missing(live: Live, admin: User, app: str) -> None:
    _fails_after_the_build(live, admin, app, {"Procfile": "web: no-such-command --port $PORT\n"}, "command-not-found")


def test_an_app_that_listens_on_the_wrong_port(live: Live, admin: User, app: str) -> None:
    values = [{"name": "DRYCC_DEPLOY_TIMEOUT", "value": "20", "group": "global"}]
    admin.call("POST", f"/v2/apps/{app}/config/", expect=201, json={"values": values})
    pushed = live.push(admin, live.repository(app, {**GOOD, "web.py": LISTENS_ELSEWHERE}), app)
    assert pushed.returncode != 0
    assert "wrong-port" in pushed.stderr
    assert "PORT" in pushed.stderr


def test_an_app_that_never_listens(live: Live, admin: User, app: str) -> None:
    values = [{"name": "DRYCC_DEPLOY_TIMEOUT", "value": "20", "group": "global"}]
    admin.call("POST", f"/v2/apps/{app}/config/", expect=201, json={"values": values})
    pushed = live.push(admin, live.repository(app, {**GOOD, "web.py": WORKER}), app)
    assert pushed.returncode != 0
    assert "never-listened" in pushed.stderr
    assert live.releases(admin, app)[0]["conditions"][0]["failure"]["code"] == "never-listened"


def test_a_failed_release_leaves_the_old_one_serving(live: Live, admin: User, app: str) -> None:
    repository = live.repository(app, GOOD)
    assert live.push(admin, repository, app).returncode == 0
    live.commit(repository, {"web.py": "raise SystemExit('broken')\n"})
    pushed = live.push(admin, repository, app)
    assert pushed.returncode != 0
    assert "process-crashed" in pushed.stderr
    assert "broken" in pushed.stderr
    assert live.answer(app) == (200, "v2 - one")
    assert [(item["version"], item["state"]) for item in live.releases(admin, app)][:2] == [
        (3, "crashed"),
        (2, "succeed"),
    ]
    live.commit(repository, {"web.py": WEB, "VERSION": "three"})
    assert live.push(admin, repository, app).returncode == 0
    assert live.answer(app) == (200, "v4 - three")


def _gated_build(gate: Path) -> dict[str, str]:
    """An app whose build goes on when the file `gate` is there."""
    wait = f"""
        console.log('waiting at the gate');
        setInterval(() => require('fs').existsSync({json.dumps(str(gate))}) && process.exit(0), 20);
    """
    serve = "require('http').createServer((q, s) => s.end(process.env.WORKFLOW_RELEASE)).listen(process.env.PORT);"
    scripts = {"build": "node wait.js", "start": "node serve.js"}
    package = json.dumps({"name": "gated", "version": "1.0.0", "scripts": scripts})
    return {"package.json": package, "wait.js": wait, "serve.js": serve}


def test_two_pushes_of_a_commit_at_once(live: Live, admin: User, app: str, tmp_path: Path) -> None:
    """The second one follows the build that is under way; it is built and released once."""
    gate = tmp_path / "gate"
    repository = live.repository(app, _gated_build(gate))

    def pushing() -> subprocess.Popen[str]:
        environment = live.push_environment(admin.key)
        return subprocess.Popen(
            live.push_command(app), cwd=repository, env=environment, stderr=subprocess.PIPE, text=True
        )

    with pushing() as first:
        _read_until(first, "waiting at the gate")
        with pushing() as second:
            try:
                _read_until(second, "is of this commit and under way")
            finally:
                gate.touch()
            assert second.stderr is not None
            assert f"{app}:v2 deployed" in second.stderr.read()
            assert second.wait() == 0
        assert first.stderr is not None
        first.stderr.read()
        assert first.wait() == 0
    assert [release["version"] for release in live.releases(admin, app)] == [2, 1]


def test_ctrl_c_during_a_push(live: Live, admin: User, app: str, tmp_path: Path) -> None:
    """Once the build has begun it goes on by itself; the app can be pushed to again afterwards."""
    gate = tmp_path / "gate"
    repository = live.repository(app, _gated_build(gate))
    with subprocess.Popen(
        live.push_command(app),
        cwd=repository,
        env=live.push_environment(admin.key),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as push:
        _read_until(push, "waiting at the gate")
        os.killpg(push.pid, signal.SIGINT)
    assert push.returncode != 0
    gate.touch()
    eventually(lambda: live.releases(admin, app)[0]["state"] == "succeed" and len(live.releases(admin, app)) == 2, "v2")
    assert live.answer(app) == (200, "v2")
    # The push of the same commit has nothing to do, as the build that went on has taken it in.
    again = eventually(lambda: _unless_busy(live, admin, repository, app), "the lock of the first push to be gone")
    assert again.returncode == 0, again.stderr
    assert "Everything up-to-date" in again.stderr
    live.commit(repository, {"README": "two"})
    again = live.push(admin, repository, app)
    assert again.returncode == 0, again.stderr
    assert live.answer(app) == (200, "v3")


def _unless_busy(live: Live, user: User, repository: Path, app: str) -> subprocess.CompletedProcess[str] | None:
    pushed = live.push(user, repository, app)
    return None if "Another git push is ongoing" in pushed.stderr else pushed


def _read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    deadline = time.monotonic() + 60
    for line in process.stderr:
        if text in line:
            return
        assert time.monotonic() < deadline
    raise AssertionError(f"the push ended before it said {text!r}")


def test_an_unreadable_key_is_refused_by_the_api(live: Live, admin: User) -> None:
    for public in ("ssh-rsa foo_bar", "ssh-rsa"):
        body = admin.call("POST", "/v2/keys/", expect=400, json={"id": "broken", "public": public})
        assert body == {"public": ["Key contains invalid base64 chars"]}


def _serves(live: Live, user: User, app: str, files: dict[str, str], answer: str) -> None:
    pushed = live.push(user, live.repository(app, files), app)
    assert pushed.returncode == 0, pushed.stderr
    assert live.answer(app) == (200, answer)


def test_a_static_site(live: Live, admin: User, app: str) -> None:
    _serves(live, admin, app, {"index.html": "<h1>static</h1>"}, "<h1>static</h1>")


def test_a_node_app(live: Live, admin: User, app: str) -> None:
    require_tool("node")
    require_tool("npm")
    server = "require('http').createServer((q, s) => s.end('node')).listen(process.env.PORT, '127.0.0.1');"
    package = '{"name": "site", "version": "1.0.0", "scripts": {"start": "node server.js"}}'
    _serves(live, admin, app, {"package.json": package, "server.js": server}, "node")
