"""`limits`, `tags`, `timeouts`, `registry` and `healthchecks` against the suite (cli.md 10.11 to 10.13)."""

from __future__ import annotations

import json
import re

import pytest

from client.world import App, fail, succeed

DEFAULT_PLAN = "std1.large.c1m1"


async def test_limits(deployed: App) -> None:
    name = deployed.name
    listed = await deployed.ok("limits", "list")
    assert listed.lines[0].split() == ["PTYPE", "PLAN", "VCPUS", "MEMORY", "FEATURES"]
    rows = {line.split()[0]: line for line in listed.lines[1:]}
    assert re.fullmatch(rf"web +{DEFAULT_PLAN} +1 +1 GiB +\S.* \* \d+", rows["web"])
    assert listed.requests == [f"GET /v2/apps/{name}/config/", f"GET /v2/limits/plans/{DEFAULT_PLAN}/"]
    done = await deployed.ok("limits", "set", "web=std1.large.c2m4", "worker=std1.large.c2m4")
    assert done.stdout.startswith("Applying limits... done\n\nPTYPE ")
    plans = '"limits":{"web":"std1.large.c2m4","worker":"std1.large.c2m4"}'
    assert done.requests[0] == f"POST /v2/apps/{name}/config/ {{{plans}}}"
    assert re.search(r"^web +std1.large.c2m4 +2 +4 GiB ", done.stdout, re.M)
    same = await deployed.refused("limits", "set", "web=std1.large.c2m4")
    assert same == 'Unknown Error (409): {"detail":"ana changed nothing - release stopped"}'
    # The reference refused to unset the plan of a type in use; see docs/compatibility.md.
    unset = await deployed.ok("limits", "unset", "web")
    assert re.search(rf"^web +{DEFAULT_PLAN} ", unset.stdout, re.M)
    assert re.search(r"^web +std1.large.c2m4 ", (await deployed.ok("limits", "-v", "3")).stdout, re.M)


async def test_limits_that_are_refused(still: App) -> None:
    for word in ("web", "web=", "Web=std1", "web=a b"):
        error = await still.refused("limits", "set", word)
        assert error == f"{word} doesn't fit format type=#unit or type=#\nExamples: web=std1.large.c1m1"
    for plan in ("nope", "5"):
        error = await still.refused("limits", "set", f"web={plan}")
        assert error == f'Unknown Error (400): {{"limits":["The limit plan {plan} does not exist"]}}'
    unknown = await still.refused("limits", "unset", "nope")
    assert unknown == "Unable to process your request: nope does not exist under limits"


async def test_specs(still: App) -> None:
    listed = await succeed(still.owner, "limits", "specs")
    assert listed.requests == ["GET /v2/limits/specs/?limit=100"]
    header = ["ID", "CPU", "CLOCK", "BOOST", "CORES", "THREADS", "NETWORK", "FEATURES"]
    assert listed.lines[0].split() == header
    assert listed.lines[1].startswith("std1 ")
    assert "<nil>" not in listed.stdout
    found = await succeed(still.owner, "limits", "specs", "-k", "nothing,like-that", "-l", "5")
    assert found.requests == ["GET /v2/limits/specs/?keywords=nothing,like-that&limit=5"]
    assert found.stdout == "Could not find any limit spec.\n"


async def test_plans(still: App) -> None:
    listed = await succeed(still.owner, "limits", "plans")
    assert listed.requests == ["GET /v2/limits/plans/?limit=100"]
    assert listed.lines[0].split() == ["ID", "SPEC", "CPU", "VCPUS", "MEMORY", "FEATURES"]
    assert len(listed.lines) == 1 + 28
    assert listed.lines[1].split()[:2] == [DEFAULT_PLAN, "std1"]
    found = await succeed(still.owner, "limits", "plans", "--spec-id=std1", "-m", "4", "--cpu", "2")
    assert found.requests == ["GET /v2/limits/plans/?cpu=2&memory=4&spec-id=std1&limit=100"]
    assert [line.split()[0] for line in found.lines[1:]] == ["std1.large.c2m4"]
    assert (await succeed(still.owner, "limits", "plans", "--cpu", "3")).stdout == "Could not find any limit spec.\n"


async def test_tags(app: App) -> None:
    assert (await app.ok("tags")).stdout == f"No tags found in {app.name} app.\n"
    done = await app.ok("tags", "set", "disk=ssd", "example.org/rack=1", "-p", "worker")
    assert done.requests == [
        f'POST /v2/apps/{app.name}/config/ {{"tags":{{"worker":{{"disk":"ssd","example.org/rack":"1"}}}}}}',
        f"GET /v2/apps/{app.name}/config/",
    ]
    assert done.stdout.startswith("Applying tags... done\n\nPTYPE ")
    await app.ok("tags", "set", "disk=hdd", "-p", "web")
    rows = [line.split() for line in (await app.ok("tags", "list")).lines]
    assert rows == [
        ["PTYPE", "KEY", "VALUE"],
        ["web", "disk", "hdd"],
        ["worker", "disk", "ssd"],
        ["worker", "example.org/rack", "1"],
    ]
    assert len((await app.ok("tags", "-p", "web")).lines) == 2
    unset = await app.ok("tags", "unset", "disk", "example.org/rack", "-p", "worker")
    assert json.loads(unset.exchanges[0].body) == {"tags": {"worker": {"disk": None, "example.org/rack": None}}}
    assert [line.split()[0] for line in unset.lines[3:]] == ["web"]


KEY_TAG = r"""{"tags":["Tag keys must be alphanumeric or \"-_.\", and 1-63 characters."]}"""
VALUE_TAG = r"""{"tags":["Tag values must be alphanumeric or \"-_.\", and 1-63 characters."]}"""


@pytest.mark.parametrize(
    ("tag", "body"),
    [
        ("-bad=1", KEY_TAG),
        ("host/,x=1", KEY_TAG),
        ("x-=1", KEY_TAG),
        ("a=bad.", VALUE_TAG),
        ("p" * 260 + "/b=1", '{"tags":["Tag key prefixes must 253 characters or less."]}'),
        ("pre&x/b=1", '{"tags":["Tag key prefixes must be DNS subdomains."]}'),
        ("a/b/c=1", None),
    ],
)
async def test_tags_that_are_refused(still: App, tag: str, body: str | None) -> None:
    done = await still.owner.run("tags", "set", "-p", "web", "-a", still.name, "--", tag)
    assert done.status == 1
    assert done.error.startswith(f"Unknown Error (400): {body or '{'}")
    assert (await still.ok("tags")).stdout == f"No tags found in {still.name} app.\n"


async def test_tags_that_no_machine_has(app: App) -> None:
    assert await app.refused("tags", "set", "disk=tape", "-p", "web") == "No nodes matched the provided labels"
    await app.ok("tags", "set", "disk=hdd", "-p", "web")
    both = await app.refused("tags", "set", "example.org/rack=1", "-p", "web")
    assert both == "No nodes matched the provided labels"
    assert (await app.ok("tags")).lines[1].split() == ["web", "disk", "hdd"]


async def test_tags_that_are_not_there(still: App) -> None:
    error = await still.refused("tags", "unset", "nope", "-p", "web")
    assert error == "Unable to process your request: nope does not exist under tags"
    for word in ("a", "a=", "=b", "a=b=c"):
        error = await still.refused("tags", "set", word, "-p", "web")
        assert error.startswith(f"{word} is invalid, Must be in format key=value\nExamples: ")


async def test_timeouts(app: App) -> None:
    default = "Default (30 sec) or controlled by drycc controller.\n"
    assert (await app.ok("timeouts")).stdout == default
    done = await app.ok("timeouts", "set", "web=45", "worker=300")
    assert done.requests == [
        f'POST /v2/apps/{app.name}/config/ {{"termination_grace_period":{{"web":"45","worker":"300"}}}}',
        f"GET /v2/apps/{app.name}/config/",
    ]
    assert [line.split() for line in done.lines[2:]] == [["PTYPE", "TIMEOUT"], ["web", "45"], ["worker", "300"]]
    unset = await app.ok("timeouts", "unset", "web", "worker")
    assert unset.stdout == f"Applying timeouts... done\n\n{default}"
    assert len((await app.ok("timeouts", "list", "-v", "2")).lines) == 3


async def test_timeouts_that_are_refused(still: App) -> None:
    for word in ("web", "web=", "web=abc", "web=-1", "web=1.5"):
        error = await still.refused("timeouts", "set", word)
        assert error == f"{word} doesn't fit format type=#\nExamples: web=30 worker=300"
    error = await still.refused("timeouts", "unset", "web")
    assert error == "Unable to process your request: web does not exist under termination_grace_period"


async def test_registry(app: App) -> None:
    none = f"No registrys found in {app.name} app.\n"
    assert (await app.ok("registry")).stdout == none
    done = await app.ok("registry", "set", "bot", "s3cret", "-p", "web")
    assert done.requests == [
        f'POST /v2/apps/{app.name}/config/ {{"registry":{{"web":{{"username":"bot","password":"s3cret"}}}}}}',
        f"GET /v2/apps/{app.name}/config/",
    ]
    header, row = done.lines[2:]
    assert (header.split(), row.split()) == (["PTYPE", "USERNAME", "PASSWORD"], ["web", "bot", "s3cret"])
    assert (await app.ok("registry", "-p", "worker")).stdout == none
    unset = await app.ok("registry", "unset", "-p", "web")
    assert unset.stdout == "Applying registry information... done\n\n"
    assert (await app.ok("registry", "list")).stdout == none
    error = await app.refused("registry", "unset", "-p", "web")
    assert error.startswith("Unable to process your request: username does not exist under registry")
    assert await app.refused("registry", "set", "u", "p") == 'required flag(s) "ptype" not set'


async def test_healthchecks(app: App) -> None:
    name = app.name
    assert (await app.ok("healthchecks")).stdout == "No health checks configured.\n"
    probe = ("livenessProbe", "httpGet", "-p", "web", "--path=/live", "--headers", "A:b,X-C:d e", "--", "80")
    done = await app.owner.run("healthchecks", "set", "-a", name, *probe)
    assert done.status == 0, done.stderr
    assert done.requests[0] == (
        f'POST /v2/apps/{name}/config/ {{"healthcheck":{{"web":{{"livenessProbe":{{"initialDelaySeconds":50,'
        '"timeoutSeconds":50,"periodSeconds":10,"successThreshold":1,"failureThreshold":3,"httpGet":{"path":"/live",'
        '"port":80,"httpHeaders":[{"name":"A","value":"b"},{"name":"X-C","value":"d e"}]}}}}}'
    )
    assert done.lines[0] == "Applying livenessProbe healthcheck... done"
    numbers = "delay=50s timeout=50s period=10s #success=1 #failure=3"
    liveness = f"livenessProbe web http-get headers=[A=b X-C=d e] path=/live port=80 {numbers}"
    assert done.lines[-2:] == ["Healthchecks:", liveness]
    tcp = ("startupProbe", "tcpSocket", "-p", "web", "--period-seconds=7", "--failure-threshold", "30", "8000")
    startup = "startupProbe web tcp-socket port=8000 delay=50s timeout=50s period=7s #success=1 #failure=30"
    assert (await app.ok("healthchecks", "set", *tcp)).lines[-1] == startup
    command = ("healthchecks", "set", "readinessProbe", "exec", "-p", "worker", "-a", name, "--", "/bin/ok", "-v")
    readiness = f"readinessProbe worker exec [/bin/ok -v] {numbers}"
    assert (await app.owner.run(*command)).lines[-1] == readiness
    listed = await app.ok("healthchecks", "list")
    assert listed.lines[-3:] == [liveness, startup, readiness]
    assert [line.split()[0] for line in listed.lines[:6]] == [
        "App:",
        "UUID:",
        "Owner:",
        "Created:",
        "Updated:",
        "Healthchecks:",
    ]
    unset = await app.ok("healthchecks", "unset", "livenessProbe", "startupProbe", "-p", "web")
    body = {"healthcheck": {"web": {"livenessProbe": None, "startupProbe": None}}}
    assert json.loads(unset.exchanges[0].body) == body
    assert unset.stdout == "Removing healthchecks... done\n\nNo health checks configured.\n"
    assert (await app.ok("healthchecks", "-v", "4")).lines[-1] == readiness


async def test_healthchecks_that_are_refused(still: App) -> None:
    local = {
        ("livenessProbe", "udp", "80", "-p", "web"): (
            'invalid probe type udp, Must be one of: "httpGet", "exec", "tcpSocket"'
        ),
        ("livenessProbe", "tcpSocket", "x", "-p", "web"): (
            'could not parse port: strconv.Atoi: parsing "x": invalid syntax'
        ),
        ("livenessProbe", "httpGet", "80", "-p", "web", "--headers", "A"): (
            "could not parse headers: could not find separator in header (A)"
        ),
    }
    for words, error in local.items():
        done = await still.drycc("healthchecks", "set", *words)
        assert (done.status, done.error, done.exchanges) == (1, error, ())
    assert (await still.drycc("healthchecks", "set", "livenessProbe", "httpGet", "-p", "web")).status == 2
    error = await still.refused("healthchecks", "unset", "bad", "-p", "web")
    assert error == "probe type bad is invalid. Must be one of [startupProbe livenessProbe readinessProbe]"
    error = await still.refused("healthchecks", "set", "badProbe", "tcpSocket", "80", "-p", "web")
    rule = "Healthcheck pattern: ^(livenessProbe|readinessProbe|startupProbe)$"
    assert error == f'Unknown Error (400): {{"healthcheck":["{rule}"]}}'
    error = await still.refused("healthchecks", "unset", "livenessProbe", "-p", "web")
    assert error.startswith("Unable to process your request: ")
    # Without -p the process type is the empty string, which nothing can be called.
    error = await still.refused("healthchecks", "set", "livenessProbe", "tcpSocket", "80")
    assert error.startswith('Unknown Error (400): {"healthcheck":["')
    assert (await still.ok("healthchecks")).stdout == "No health checks configured.\n"


async def test_catalogues_are_for_everybody_who_is_logged_in(still: App) -> None:
    (still.owner.home / ".drycc" / "client.json").write_text(json.dumps({"controller": still.suite.url}))
    for words in (("limits", "specs"), ("limits", "plans"), ("resources", "services")):
        assert await fail(still.owner, *words) == "Unauthorized: Missing or Invalid Token"
