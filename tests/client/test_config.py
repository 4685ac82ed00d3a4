"""`config` against the suite (cli.md 10.10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.world import App

KEY_RULE = r'{"values":["Config key can only supports: ^[A-z0-9_\\-\\.]+$"]}'
NOTHING = 'Unknown Error (409): {"detail":"ana changed nothing - release stopped"}'


async def test_set_and_info(app: App) -> None:
    name = app.name
    assert (await app.ok("config")).stdout == "\n"
    done = await app.ok("config", "set", "B=2", "A=with = and \N{SNOWMAN} <&>", "#C=comment")
    assert done.stdout == "Creating config... done\n\n"
    assert done.requests == [
        f"GET /v2/apps/{name}/settings/",
        f'POST /v2/apps/{name}/config/ {{"values":['
        '{"group":"global","name":"B","value":"2"},'
        '{"group":"global","name":"A","value":"with = and \N{SNOWMAN} \\u003c\\u0026\\u003e"}]}',
    ]
    shown = await app.ok("config", "info")
    assert shown.stdout == "---\n# Group: global\nB=2\nA=with = and \N{SNOWMAN} <&>\n\n"
    await app.ok("config", "set", "PORT=8000", "-p", "web")
    await app.ok("config", "set", "C=3", "--group", "jobs", "--confirm", "yes")
    assert (await app.ok("config", "-p", "web")).stdout == (
        "---\n# Ptype web config\n## env\nPORT=8000\n\n## ref\n- global\n\n"
    )
    assert (await app.ok("config", "-g", "jobs")).stdout == "---\n# Group: jobs\nC=3\n\n"
    old = await app.ok("config", "-v", "2")
    assert old.requests == [f"GET /v2/apps/{name}/config/?version=v2"]
    assert old.stdout == shown.stdout
    assert await app.refused("config", "-v", "99") == '"No Release matches the given query."'


async def test_unset(app: App) -> None:
    await app.ok("config", "set", "A=1", "B=2")
    done = await app.ok("config", "unset", "A")
    assert done.stdout == "Removing config... done\n\n"
    assert done.requests[1] == (
        f'POST /v2/apps/{app.name}/config/ {{"values":[{{"group":"global","name":"A","value":null}}]}}'
    )
    assert "A=" not in (await app.ok("config")).stdout
    await app.ok("config", "set", "B=")
    assert "B=" not in (await app.ok("config")).stdout
    assert await app.refused("config", "unset", "A") == NOTHING
    assert await app.refused("config", "unset", "NEVER", "-p", "web") == NOTHING


async def test_changes_that_change_nothing(app: App) -> None:
    await app.ok("config", "set", "A=1")
    assert await app.refused("config", "set", "A=1") == NOTHING
    commented = await app.drycc("config", "set", "#A=2")
    assert (commented.status, commented.error) == (1, NOTHING)
    assert commented.requests[1] == f"POST /v2/apps/{app.name}/config/ {{}}"


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (("set", "PORT=dog"), '{"values":["PORT can only be a numeric value"]}'),
        (("set", "PORT=0"), '{"values":["PORT needs to be between 1 and 65535"]}'),
        (("set", "PORT=70000", "-p", "web"), '{"values":["PORT needs to be between 1 and 65535"]}'),
        (("set", "A=1", "-g", "bad group"), KEY_RULE),
        (("unset", "X$"), KEY_RULE),
        (("unset", "../../foo"), KEY_RULE),
        (("unset", "FOO/"), KEY_RULE),
        (("unset", "*A"), KEY_RULE),
        (("set", "A=1", "-p", "we"), '{"values":["The length of ptype must be between 3 and 63"]}'),
    ],
)
async def test_changes_that_are_refused(still: App, words: tuple[str, ...], body: str) -> None:
    assert await still.refused("config", *words) == f"Unknown Error (400): {body}"
    assert (await still.ok("config")).stdout == "\n"


async def test_words_that_the_client_refuses(still: App) -> None:
    for word in ("A", "=1", "A B=1", "A*=1"):
        done = await still.drycc("config", "set", word)
        assert done.error == f"'{word}' does not match the pattern 'key=var', ex: MODE=test"
    assert (await still.drycc("config", "set", "")).status == 2


async def test_pull(app: App) -> None:
    await app.ok("config", "set", "b=2", "A=1", "C=3")
    await app.ok("config", "set", "D=4", "-p", "web")
    assert (await app.ok("config", "pull")).stdout == "A=1\nb=2\nC=3\n"
    assert (await app.ok("config", "pull", "-p", "web")).stdout == "D=4\n"
    owner = app.owner
    written = await owner.run("config", "pull", at_terminal=True)
    assert (written.status, written.stdout) == (0, "")
    file = owner.directory / ".env"
    assert file.read_text() == "A=1\nb=2\nC=3\n"
    again = await owner.run("config", "pull", at_terminal=True)
    assert (again.status, again.error) == (1, ".env already exists, pass -o to overwrite")
    assert (await owner.run("config", "pull", "-o", "-g", "none", at_terminal=True)).status == 0
    assert file.read_text() == ""


async def test_push(app: App, tmp_path: Path) -> None:
    (app.owner.directory / "vars").write_text("# comment\n\nA=1\nB=two words\n")
    done = await app.ok("config", "push", "--path", "vars", "-g", "jobs")
    assert done.stdout == "Creating config... done\n\n"
    settings = f"GET /v2/apps/{app.name}/settings/"
    assert done.requests == [
        settings,
        settings,
        f'POST /v2/apps/{app.name}/config/ {{"values":['
        '{"group":"jobs","name":"A","value":"1"},{"group":"jobs","name":"B","value":"two words"}]}',
    ]
    assert (await app.ok("config")).stdout == "---\n# Group: jobs\nA=1\nB=two words\n\n"
    assert await app.refused("config", "push") == "open .env: no such file or directory"
    piped = await app.owner.run("config", "push", piped="C=3\n")
    assert (piped.status, piped.error) == (1, "open /dev/tty: no such device or address")


async def test_groups(app: App) -> None:
    name = app.name
    await app.ok("config", "set", "A=1", "-g", "one")
    done = await app.ok("config", "attach", "web", "two", "one")
    assert done.stdout == "Attach config... done\n\n"
    assert done.requests == [f'POST /v2/apps/{name}/config/ {{"values_refs":{{"web":["two","one"]}}}}']
    shown = (await app.ok("config", "-p", "web")).stdout
    assert shown == "---\n# Ptype web config\n## env\n\n## ref\n- two\n- one\n\n"
    await app.ok("config", "attach", "worker", "one")
    detached = await app.ok("config", "detach", "web", "two")
    assert detached.stdout == "Detach config... done\n\n"
    assert detached.requests == [f'DELETE /v2/apps/{name}/config/ {{"values_refs":{{"web":["two"]}}}}']
    assert "- two" not in (await app.ok("config", "-p", "web")).stdout
    assert "- one" in (await app.ok("config", "-p", "worker")).stdout  # the reference forgot those that were not named
    assert await app.refused("config", "detach", "web", "two") == NOTHING
    for words, body in (
        (("we", "one"), '{"values_refs":["The length of ptype must be between 3 and 63"]}'),
        (("web", "bad group"), KEY_RULE.replace("values", "values_refs")),
    ):
        assert await app.refused("config", "attach", *words) == f"Unknown Error (400): {body}"
