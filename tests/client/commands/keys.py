"""`keys` and `git` (cli.md 10.5 and 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client.commands.registry import TREE
from client.model.call import Call
from client.model.cobra import Flag, anything, at_most, exactly
from client.model.failures import ClientError, ClientPanic
from client.model.git import remote_url

_PUBLIC_KEY: Final = re.compile(r"(ssh-rsa|ssh-dss|ssh-ed25519|ecdsa-\S+) +[A-Za-z0-9+/=]+(?: +(?P<comment>.*))?\s*")


@dataclass(frozen=True)
class Key:
    """An SSH key of the caller."""

    id: str
    owner: str
    public: str


@TREE.command("keys list", anything, for_app=False)
async def keys_list(call: Call) -> None:
    """The caller's keys."""
    page = await call.api.list("/v2/keys/", Key, call.profile.limit)
    if not page.items:
        call.console.print("No any key found.")
        return
    call.console.table(("ID", "OWNER", "KEY"), [(each.id, each.owner, _shortened(each.public)) for each in page.items])


def _shortened(public: str) -> str:
    if len(public) < 16:
        raise ClientPanic("slice bounds out of range [:16]")
    return f"{public[:16]}...{public[-10:]}"


@TREE.command("keys add", at_most(2), for_app=False)
async def keys_add(call: Call) -> None:
    """Register a key file; without one, choose among those in `~/.ssh`."""
    api = call.api
    file = Path(call.arguments[-1]) if call.arguments else _chosen(call)
    path = call.session.directory / file
    if not path.is_file():
        raise ClientError(f"open {file}: no such file or directory")
    content = path.read_text()
    own_name = _name(file, content)
    name = call.arguments[0] if len(call.arguments) == 2 else own_name
    call.console.print(f"Uploading {file.name} to drycc... ", end="")
    await api.read("POST", "/v2/keys/", Key, {"id": name, "public": content})
    call.console.print("done")


def _name(file: Path, content: str) -> str:
    """The comment of a public key, or the name of its file."""
    found = _PUBLIC_KEY.fullmatch(content)
    if found is None:
        raise ClientError(f"{file} is not a valid ssh key")
    return (found["comment"] or "").strip() or file.name.split(".")[0]


def _chosen(call: Call) -> Path:
    directory = Path(call.session.home, ".ssh")
    if not directory.is_dir():
        raise ClientError(f"open {directory}: no such file or directory")
    files = sorted(directory.glob("*.pub"))
    call.console.print("Found the following SSH public keys:")
    for number, file in enumerate(files, start=1):
        call.console.print(f"{number}) {file.name} {_name(file, file.read_text())}")
    call.console.print("0) Enter path to pubfile (or use keys:add <key_path>)")
    answer = call.console.ask("Which would you like to use with Drycc? ")
    if not re.fullmatch(r"[+-]?\d+", answer):
        raise ClientError(f"{answer} is not a valid integer")
    if int(answer) == 0:
        return Path(call.console.ask("Enter the path to the pubkey file: "))
    if not 0 < int(answer) <= len(files):
        raise ClientError(f"{answer} is not a valid option")
    return files[int(answer) - 1]


@TREE.command("keys remove", exactly(1), for_app=False)
async def keys_remove(call: Call) -> None:
    """Forget a key."""
    (name,) = call.arguments
    call.console.print(f"Removing {name} SSH Key... ", end="")
    await call.api.do("DELETE", f"/v2/keys/{name}")
    call.console.print("done")


@TREE.command("git remote", anything, Flag("remote", "r", "drycc"), Flag("force", "f", False))
async def git_remote(call: Call) -> None:
    """Add the remote that the app is pushed to."""
    app, name = await call.app(), call.text("remote")
    url = remote_url(call.profile.controller, app)
    existing = dict(await call.git.push_urls()).get(name)
    if existing == url:
        call.console.print(f"Remote {name} already exists and is correctly configured for app {app}.")
        return
    if existing is not None:
        if not call.is_set("force"):
            raise ClientError(
                f"Remote {name} already exists, please run 'drycc git remote -f' to overwrite\n"
                f"Existing remote URL: {existing}\n"
                f"When forced, will overwrite with: {url}"
            )
        call.console.print(f"Deleting git remote {name}.")
        await call.git.run("remote", "remove", name)
    await add_remote(call, name, app)


async def add_remote(call: Call, name: str, app: str) -> None:
    """Add a remote that is not there yet."""
    await call.git.run("remote", "add", name, remote_url(call.profile.controller, app))
    call.console.print(f"Git remote {name} successfully created for app {app}.")


@TREE.command("git remove", anything)
async def git_remove(call: Call) -> None:
    """Remove every remote of the app."""
    await remove_remotes(call, await call.app())


async def remove_remotes(call: Call, app: str) -> None:
    """Remove every remote of that app."""
    url = remote_url(call.profile.controller, app)
    names = [name for name, pushed in await call.git.push_urls() if pushed == url]
    if not names:
        raise ClientError("Could not find remote matching app in 'git remote -v'")
    for name in names:
        await call.git.run("remote", "remove", name)
    call.console.print(f"Git remotes for app {app} removed.")
