"""`ps`, `pts` and `apps logs` against the suite (cli.md 10.9 and 9)."""

from __future__ import annotations

import re

from client.model.call import Terminal
from client.model.session import Session
from client.suite import Suite
from client.world import App, fail, succeed, until

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
NO_POD = 'Unknown Error (400): {"detail":"this process not found"}'
NO_PTYPE = 'Unknown Error (400): {"detail":"this procfile type not found"}'


async def test_nothing_runs_yet(still: App) -> None:
    for words in (("ps",), ("pts",)):
        assert (await still.ok(*words)).stdout == f"No processes found in {still.name} app.\n"


async def test_ps_list(deployed: App) -> None:
    await deployed.ok("scale", "web=2", "worker=1")

    async def all_run() -> bool:
        return len(await deployed.pods()) == 2 and len(await deployed.pods("worker")) == 1

    await until(all_run)
    listed = await deployed.ok("ps", "list")
    assert listed.requests == [f"GET /v2/apps/{deployed.name}/pods/?limit=1000"]
    assert listed.lines[0].split() == ["NAME", "RELEASE", "STATE", "PTYPE", "READY", "RESTARTS", "STARTED"]
    rows = listed.lines[1:]
    assert [row.split()[3] for row in rows] == ["web", "web", "worker"]
    assert all(re.fullmatch(rf"[a-z0-9-]+ +v2 +up +\w+ +1/1 +0 +{TIME}", row) for row in rows)


async def test_ps_describe(suite: Suite, running: App) -> None:
    (pod,) = await running.pods()
    shown = await running.ok("ps", "describe", pod)
    assert shown.requests == [
        f"GET /v2/apps/{running.name}/pods/{pod}/describe/?limit=1000",
        f"GET /v2/apps/{running.name}/events/?pod_name={pod}&limit=1000",
    ]
    text = shown.stdout
    assert re.search(rf"^Container: +{running.name}-web +$", text, re.M)
    assert re.search(r"^Image: +registry.example.org/shop:1 +$", text, re.M)
    assert re.search(r"^Args: +python web.py +$", text, re.M)
    assert re.search(r"^State: +running +$", text, re.M)
    assert re.search(rf"^ +startedAt: +{TIME} +$", text, re.M)
    assert re.search(r"^Ready: +true +$", text, re.M)
    assert re.search(r"^Restart Count: +0 +$", text, re.M)
    assert re.search(r"^Events:\nREASON +MESSAGE +CREATED +\n", text, re.M)
    assert await running.refused("ps", "describe", "nope") == NO_POD


async def test_ps_delete(deployed: App) -> None:
    (pod,) = await deployed.pods()
    done = await deployed.ok("ps", "delete", pod, "unknown")
    assert done.stdout == f"Deleting {pod},unknown from {deployed.name}... done\n"
    assert done.requests == [f'DELETE /v2/apps/{deployed.name}/pods/ {{"pod_ids":"{pod},unknown"}}']

    async def is_replaced() -> bool:
        return await deployed.pods() not in ([], [pod])

    await until(is_replaced)


async def test_pts_list(running: App) -> None:
    listed = await running.ok("pts", "list")
    header = ["NAME", "RELEASE", "READY", "UP-TO-DATE", "AVAILABLE", "STARTED", "GARBAGE"]
    assert listed.lines[0].split() == header
    rows = {row.split()[0]: row for row in listed.lines[1:]}
    assert re.fullmatch(rf"web +v2 +1/1 +1 +1 +{TIME} +false", rows["web"])


async def test_pts_describe(deployed: App) -> None:
    name = deployed.name
    await deployed.ok("healthchecks", "set", "livenessProbe", "httpGet", "-p", "web", "--", "8000")
    await deployed.settled()
    await deployed.ok("healthchecks", "set", "readinessProbe", "exec", "-p", "web", "--", "cat", "/tmp/ready")
    await deployed.settled()
    shown = await deployed.ok("pts", "describe", "web")
    assert shown.requests == [
        f"GET /v2/apps/{name}/ptypes/{name}-web/describe/?limit=1000",
        f"GET /v2/apps/{name}/events/?ptype={name}-web&limit=1000",
    ]
    text = shown.stdout
    assert re.search(rf"^Container: +{name}-web +$", text, re.M)
    assert re.search(r"^Args: +python web.py +$", text, re.M)
    liveness = r"http-get headers=\[\] path=/ port=8000 delay=50s timeout=50s period=10s #success=1 #failure=3"
    assert re.search(rf"^Liveness: +{liveness} +$", text, re.M)
    readiness = r"exec \[cat /tmp/ready\] delay=50s timeout=50s period=10s #success=1 #failure=3"
    assert re.search(rf"^Readiness: +{readiness} +$", text, re.M)
    assert re.search(r"^Limits:", text, re.M)
    assert re.findall(r"^Deployed +(v\d) is rolled out", text, re.M) == ["v2", "v3", "v4"]  # the oldest first
    assert await deployed.refused("pts", "describe", "nope") == NO_PTYPE


async def test_scale(deployed: App) -> None:
    done = await deployed.ok("pts", "scale", "web=3", "worker=2")
    assert re.fullmatch(r"Scaling process types\.\.\. but first, coffee!\ndone in \d+s\n", done.stdout)
    assert done.requests == [f'POST /v2/apps/{deployed.name}/ptypes/scale/ {{"web":3,"worker":2}}']

    async def has(web: int, worker: int) -> bool:
        return (len(await deployed.pods()), len(await deployed.pods("worker"))) == (web, worker)

    await until(lambda: has(3, 2))
    await deployed.ok("scale", "web=0", "worker=1")
    await until(lambda: has(0, 1))


async def test_scales_that_are_refused(app: App) -> None:
    for word in ("web", "web=-1", "web=x", "Web=1", "web=1,worker=2"):
        done = await app.drycc("scale", word)
        pattern = f"'{word}' does not match the pattern 'ptype=num', ex: web=2"
        assert (done.status, done.error, done.exchanges) == (1, pattern, ())
    # The reference answered 204 to all of these and did nothing; see docs/compatibility.md.
    assert await app.refused("scale", "web=1") == (
        'Unknown Error (400): {"detail":"No build associated with this release"}'
    )
    await app.deploy()
    unknown = "process type nope is not included in procfile, which has: web, worker"
    assert await app.refused("scale", "nope=1") == f'Unknown Error (400): {{"detail":"{unknown}"}}'
    reserved = "Cannot set scale for reserved types, procfile type is: run"
    assert await app.refused("scale", "run=1") == f'Unknown Error (400): {{"detail":"{reserved}"}}'


async def test_restart(deployed: App) -> None:
    (pod,) = await deployed.pods()
    cancelled = await deployed.drycc("pts", "restart", typed=("no",))
    assert (cancelled.status, cancelled.error) == (1, "cancel the restart action")
    done = await deployed.ok("pts", "restart", "web")
    assert re.fullmatch(r"Restarting process types\.\.\. but first, coffee!\ndone in \d+s\n", done.stdout)
    assert done.requests == [f'POST /v2/apps/{deployed.name}/ptypes/restart/ {{"ptypes":"web"}}']

    async def is_replaced() -> bool:
        return await deployed.pods() not in ([], [pod])

    await until(is_replaced)
    assert (await deployed.drycc("pts", "restart", typed=("yes",))).status == 0
    await deployed.ok("pts", "restart", "--confirm=yes")
    unknown = 'Unknown Error (400): {"detail":"process type nope is not included in procfile"}'
    assert await deployed.refused("pts", "restart", "nope") == unknown


async def test_clean(deployed: App) -> None:
    await deployed.ok("autodeploy", "disable")
    (deployed.owner.directory / "Procfile").write_text("web: python web.py\n")
    await deployed.ok("pull", "registry.example.org/shop:2")
    listed = (await deployed.ok("pts")).lines
    assert [line.split()[-1] for line in listed if line.startswith("worker ")] in ([], ["true"])
    done = await deployed.ok("pts", "clean", "worker", "never-heard-of")
    assert re.fullmatch(r"Cleaning process types\.\.\. but first, coffee!\ndone in \d+s\n", done.stdout)
    assert done.requests == [f'POST /v2/apps/{deployed.name}/ptypes/clean/ {{"ptypes":"worker,never-heard-of"}}']
    busy = 'Unknown Error (400): {"detail":"ptype web should not garbage."}'
    assert await deployed.refused("pts", "clean", "web") == busy
    missing = 'Unknown Error (400): {"detail":"ptypes is a required field"}'
    assert await deployed.refused("pts", "clean", "") == missing


async def test_logs_of_an_app(suite: Suite, app: App) -> None:
    assert (await app.ok("apps", "logs")).stdout == ""
    suite.engine.write_log(app.name, f"INFO [{app.name}]: ana created initial release")
    suite.engine.write_log(app.name, f"2025-01-01T00:00:00 {app.name}[web.1]: GET / \N{SNOWMAN}")
    suite.engine.write_log(app.name, "\x1b[1mbold\x1b[0m")
    lines = (await app.ok("apps", "logs")).stdout.splitlines()
    assert lines[0] == f"\x1b[35mINFO [{app.name}]: ana created initial release\x1b[0m"
    assert "[web.1]: GET / \N{SNOWMAN}\x1b[0m" in lines[1]
    assert len(lines) == 3
    assert len((await app.ok("apps", "logs", "-n", "1")).stdout.splitlines()) == 1


async def test_following_logs(suite: Suite, app: App) -> None:
    running = app.owner.start("apps", "logs", "-f", "-a", app.name)
    suite.engine.write_log(app.name, "one")
    await until(lambda: "one" in running.console.stdout)
    suite.engine.write_log(app.name, "two")
    await until(lambda: "two" in running.console.stdout)
    await running.kill()
    ended = await app.ok("apps", "logs", "-f", "-t", "1")
    assert ended.lines[-1].endswith("two\x1b[0m")


async def test_logs_of_one_instance(suite: Suite, deployed: App) -> None:
    (pod,) = await deployed.pods()
    engine, name = suite.engine, deployed.name
    engine.write_log(name, "first", instance=pod)
    engine.write_log(name, "second", instance=pod)
    engine.write_log(name, "of another", instance="other")
    whole = await deployed.ok("ps", "logs", pod)
    assert whole.stdout.count("\x1b[0m") == 1  # one message for everything
    assert [line.strip("\x1b[0123456789m") for line in whole.stdout.splitlines()] == ["first", "second"]
    assert "first" not in (await deployed.ok("ps", "logs", pod, "-l", "1")).stdout
    assert "first" in (await deployed.ok("ps", "logs", pod, "--lines", "-5", "--container", "x", "-p")).stdout
    shortcut = await succeed(deployed.owner, "logs", pod)
    assert shortcut.stdout == whole.stdout
    following = deployed.owner.start("ps", "logs", pod, "--follow", "-a", name)
    await until(lambda: "second" in following.console.stdout)
    engine.write_log(name, "third", instance=pod)
    await until(lambda: "third" in following.console.stdout)
    await following.kill()
    assert (await deployed.ok("ps", "logs", "nope")).stdout == ""


async def test_exec(running: App) -> None:
    (pod,) = await running.pods()
    done = await running.owner.run("ps", "exec", pod, "-a", running.name, "--", "ls", "-l", "/")
    assert (done.status, done.stdout) == (0, "ls -l /\n")
    shortcut = await running.owner.run("exec", pod, "--", "env")
    assert (shortcut.status, shortcut.stdout) == (0, "env\n")
    unknown = await running.owner.run("exec", "nope", "--", "env")
    assert (unknown.status, unknown.stdout) == (0, "nope does not run; see `drycc ps` for what does\n")


async def test_exec_with_a_terminal(running: App) -> None:
    (pod,) = await running.pods()
    terminal = Terminal(rows=40, columns=120)
    shell = running.owner.start("exec", pod, "-it", "--", "sh", terminal=terminal)
    await until(lambda: shell.console.stdout.startswith("sh\r\n"))
    terminal.type(b"ls\r")
    await until(lambda: "ls\r" in shell.console.stdout)
    snowman = "\N{SNOWMAN}".encode()
    terminal.type(snowman[:1])  # the client cuts characters in two
    terminal.type(snowman[1:])
    await until(lambda: len(shell.console.stdout) > len("sh\r\nls\r"))
    terminal.type(b"x" * 5000)
    await until(lambda: shell.console.stdout.count("x") == 5000)
    await shell.kill()


async def test_exec_without_a_terminal(running: App) -> None:
    (pod,) = await running.pods()
    assert (await running.owner.run("exec", pod, "-i", "--", "sh")).status == 2


async def test_streams_that_are_refused(still: App, bo: Session) -> None:
    for words, path in (
        (("apps", "logs"), "logs"),
        (("ps", "logs", "p"), "pods/p/logs/"),
        (("ps", "exec", "p", "ls"), "pods/p/exec/"),
    ):
        for name in (still.name, "nowhere"):
            done = await bo.run(*words, "-a", name)
            url = f"{still.suite.url.replace('http', 'ws')}/v2/apps/{name}/{path}"
            assert (done.status, done.error) == (1, f"websocket.Dial {url}: bad status")


async def test_who_may_look_may_run_commands_in_instances(deployed: App, bo: Session) -> None:
    (pod,) = await deployed.pods()
    await deployed.ok("perms", "add", "bo", "change")
    for words in (("exec", pod, "ls"), ("apps", "logs")):
        assert (await fail(bo, *words, "-a", deployed.name)).endswith(": bad status")
    await deployed.ok("perms", "add", "bo", "view")
    assert (await succeed(bo, "exec", pod, "ls", "-a", deployed.name)).stdout == "ls\n"
    await succeed(bo, "apps", "logs", "-a", deployed.name)
