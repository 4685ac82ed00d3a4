"""`version` (cli.md 10.19)."""

from __future__ import annotations

from client.commands.registry import TREE
from client.model.api import API_VERSION, VERSION, OnMismatch
from client.model.call import Call
from client.model.cobra import Flag, anything
from client.model.failures import ClientError
from client.model.http import Request


@TREE.command("version", anything, Flag("all", default=False), for_app=False)
async def version(call: Call) -> None:
    """The versions of the client and, with `--all`, of the API; errors of that are dropped."""
    if not call.is_set("all"):
        call.console.print(VERSION)
        return
    call.console.print(f"Workflow CLI Version:            {VERSION}")
    call.console.print(f"Workflow CLI API Version:        {API_VERSION}")
    try:
        api = call.api
        response = await api.transport.send(Request("GET", f"{api.controller.rstrip('/')}/healthz", {}))
    except ClientError:
        return
    if response.status >= 400:
        return
    api.check_version(response, OnMismatch.WORK)
    server = response.headers.get("drycc_api_version", "")
    call.console.print(f"Workflow Controller API Version: {server}")
