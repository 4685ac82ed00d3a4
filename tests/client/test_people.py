"""`users`, `perms` and `keys` against the suite (cli.md 10.3 to 10.5)."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from client.model.session import Session
from client.suite import ADMIN, Suite
from client.world import App, fail, succeed

FORBIDDEN = "you do not have permission to perform this action"
NO_APP = '"No App matches the given query."'
NO_USER = '"No User matches the given query."'
TEMPORARY = "This modification is only temporary and will be reverted when the user login again."
PERMISSIONS = 'Unknown Error (400): "The permissions field is required and has a value range of: view,change,delete"'


async def test_users(suite: Suite, admin: Session, tmp_path: Path) -> None:
    cy = await suite.session("cy", tmp_path)
    listed = await succeed(admin, "users", "list")
    assert listed.lines[0].split() == ["USERNAME", "EMAIL", "ADMIN", "STAFF", "ACTIVE", "DATE-JOIN"]
    rows = {line.split()[0]: line.split()[1:] for line in listed.lines[1:]}
    assert rows["cy"][:4] == ["cy@example.org", "false", "false", "true"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rows["cy"][4])
    assert rows[ADMIN][-4:-1] == ["true", "true", "true"]
    disabled = await succeed(admin, "users", "disable", "cy")
    assert disabled.stdout == f"Disabling user cy... done\n{TEMPORARY}\n"
    (exchange,) = disabled.exchanges
    assert (exchange.line, exchange.headers["Content-Length"]) == ("PATCH /v2/users/cy/disable/", "0")
    assert await fail(cy, "apps", "list") == "Unauthorized: Missing or Invalid Token"
    enabled = await succeed(admin, "users", "enable", "cy")
    assert enabled.stdout == f"Enabling user cy... done\n{TEMPORARY}\n"
    await succeed(cy, "apps", "list")


async def test_users_that_cannot_be_switched(admin: Session, ana: Session) -> None:
    assert await fail(admin, "users", "disable", "nobody-at-all") == NO_USER
    assert await fail(admin, "users", "disable", ADMIN) == "Unknown Error (423): "
    for words in (("users", "list"), ("users", "enable", "ana"), ("users", "disable", "ana")):
        assert await fail(ana, *words) == FORBIDDEN


async def test_perms(app: App, bo: Session) -> None:
    name = app.name
    assert (await app.ok("perms", "list")).lines == ["USERNAME    PERMISSIONS"]
    assert (await app.ok("perms")).requests == [f"GET /v2/apps/{name}/perms/?limit=-1"]
    assert await fail(bo, "info", "-a", name) == NO_APP
    added = await app.ok("perms", "add", "bo", "view", "change")
    assert added.stdout == "Adding user bo as a collaborator for view,change... done\n"
    assert added.requests == [f'POST /v2/apps/{name}/perms/ {{"username":"bo","permissions":"view,change"}}']
    assert [line.split() for line in (await app.ok("perms")).lines[1:]] == [["bo", "change,view"]]
    await succeed(bo, "config", "set", "A=1", "-a", name)
    assert await fail(bo, "destroy", "-a", name, "--confirm", name) == FORBIDDEN
    assert await fail(bo, "perms", "-a", name) == FORBIDDEN
    updated = await app.ok("perms", "update", "bo", "view")
    assert updated.stdout == "Updating user bo as a collaborator for view... done\n"
    assert await fail(bo, "config", "set", "A=2", "-a", name) == FORBIDDEN
    await succeed(bo, "config", "-a", name)
    assert name in (await succeed(bo, "apps", "list")).stdout
    removed = await app.ok("perms", "remove", "bo")
    assert removed.stdout == "Removing user permission... done\n"
    assert await fail(bo, "config", "-a", name) == NO_APP


async def test_bad_perms(still: App) -> None:
    bad = ("add", "ana", "all"), ("update", "ana", "view", "everything"), ("add", "ana", "view, change")
    for words in bad:
        assert await still.refused("perms", *words) == PERMISSIONS
    nobody = ("add", "nobody-at-all", "view"), ("update", "nobody-at-all", "view"), ("remove", "nobody-at-all")
    for unknown in nobody:
        assert await still.refused("perms", *unknown) == NO_USER
    assert await still.refused("perms", "add", "bo") == "requires at least 2 arg(s), only received 1"


def public_key(seed: str) -> str:
    """Something that looks like an Ed25519 key; each seed gives another."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + seed.encode().ljust(32, b"\0")
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


def write_key(session: Session, file: str, comment: str, seed: str | None = None) -> str:
    """A key file in the user's directory; its content."""
    content = f"{public_key(seed or file)} {comment}\n"
    (session.directory / file).write_text(content)
    return content


@pytest.mark.parametrize("name", ["laptop", "ana@laptop.local", "ana at work", "a/b/c", "50% #1 + more"])
async def test_keys(ana: Session, name: str) -> None:
    content = write_key(ana, "id_ed25519.pub", name, seed=name)
    added = await succeed(ana, "keys", "add", "id_ed25519.pub")
    assert added.stdout == "Uploading id_ed25519.pub to drycc... done\n"
    assert added.exchanges[0].body.decode() == f'{{"id":"{name}","public":"{content[:-1]}\\n"}}'
    listed = await succeed(ana, "keys", "list")
    assert listed.lines[0].split() == ["ID", "OWNER", "KEY"]
    row = next(line for line in listed.lines if line.startswith(f"{name}  "))
    assert row.endswith(f"{content[:16]}...{content.rstrip()[-10:]}")
    removed = await succeed(ana, "keys", "remove", name)
    assert removed.stdout == f"Removing {name} SSH Key... done\n"
    assert not removed.requests[0].endswith("/")
    assert await fail(ana, "keys", "remove", name) == '"No Key matches the given query."'


async def test_keys_with_a_name_and_from_the_menu(ana: Session) -> None:
    assert await fail(ana, "keys", "add") == f"open {ana.home}/.ssh: no such file or directory"
    (ana.home / ".ssh").mkdir()
    (ana.home / ".ssh" / "one.pub").write_text(f"{public_key('menu-one')}\n")
    (ana.home / ".ssh" / "two.pub").write_text(f"{public_key('menu-two')} two words\n")
    chosen = await ana.run("keys", "add", typed=["1"])
    assert chosen.lines[:3] == ["Found the following SSH public keys:", "1) one.pub one", "2) two.pub two words"]
    assert (chosen.status, chosen.stdout.endswith("Uploading one.pub to drycc... done\n")) == (0, True)
    assert (await ana.run("keys", "add", typed=["0", str(ana.home / ".ssh" / "two.pub")])).status == 0
    for answer, error in (("x", "x is not a valid integer"), ("3", "3 is not a valid option")):
        assert (await ana.run("keys", "add", typed=[answer])).error == error
    write_key(ana, "third.pub", "comment", seed="menu-three")
    await succeed(ana, "keys", "add", "my third", "third.pub")
    for name in ("one", "two words", "my third"):
        await succeed(ana, "keys", "remove", name)
    assert (await succeed(ana, "keys", "list")).stdout == "No any key found.\n"


async def test_bad_keys(ana: Session, bo: Session) -> None:
    write_key(ana, "good.pub", "bad-keys")
    (ana.directory / "bad.pub").write_text("sk-ssh-ed25519@openssh.com AAAA x\n")
    assert await fail(ana, "keys", "add", "bad.pub") == "bad.pub is not a valid ssh key"
    (ana.directory / "short.pub").write_text("ssh-rsa AAA\n")
    assert await fail(ana, "keys", "add", "k", "short.pub") == "a key is required"
    assert await fail(ana, "keys", "add", "", "good.pub") == "An id is required"
    assert await fail(ana, "keys", "add", "k" * 129, "good.pub") == (
        'Unknown Error (400): {"id":["Ensure this field has no more than 128 characters."]}'
    )
    await succeed(ana, "keys", "add", "good.pub")
    write_key(bo, "same.pub", "of somebody else", seed="good.pub")
    for session, file in ((ana, "good.pub"), (bo, "same.pub")):
        assert await fail(session, "keys", "add", "other", file) == "Public Key is already in use"
    write_key(ana, "second.pub", "bad-keys")
    taken = 'Unknown Error (400): {"id":["SSH Key with this id already exists."]}'
    assert await fail(ana, "keys", "add", "second.pub") == taken
    await succeed(ana, "keys", "remove", "bad-keys")
