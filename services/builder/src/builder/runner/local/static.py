"""Static sites: files served by Caddy, without anything to build."""

from __future__ import annotations

import asyncio
import shlex

from builder.domain.detect import STATIC_ROOTS
from builder.runner.local.context import BuildContext
from builder.runner.local.workspace import Launch
from builder.runner.port import BuildFailedError

_CONFIG = "static.caddyfile"
# The engine starts processes in the source directory, beside which the configuration and the program's link stand.
START = f"exec caddy run --adapter caddyfile --config {shlex.quote('../' + _CONFIG)}"
# Dot files are hidden: `.drycc/config` holds settings, and others are no part of a site either.
_CADDYFILE = """\
{
	admin off
	auto_https off
	persist_config off
}
http://:{$PORT} {
	bind 127.0.0.1
	root * %(root)s
	encode gzip
	file_server {
		hide .*
	}
}
"""


async def build_static(context: BuildContext) -> Launch:
    """Configure the server for the first directory that has an index.html: `public`, else the root.

    Raises:
        BuildFailedError: there is no Caddy on this machine.
    """
    await context.steps.heading("Static site detected")
    caddy = context.config.caddy
    if caddy is None:
        raise BuildFailedError("build-failed", "static sites are served by Caddy, which is not installed here")
    for root in STATIC_ROOTS:
        if await context.read(f"{root}/index.html" if root else "index.html") is not None:
            break
    partial = context.workspace.partial
    await asyncio.to_thread((partial / _CONFIG).write_text, _CADDYFILE % {"root": f"./{root}" if root else "."})
    await asyncio.to_thread((partial / "bin").mkdir)
    await asyncio.to_thread((partial / "bin" / "caddy").symlink_to, caddy)
    # Caddy keeps a few files of its own, by default in the home directory, which is the source.
    own_files = str(context.workspace.final / "caddy")
    return Launch(
        "static", (context.workspace.final / "bin",), {"XDG_DATA_HOME": own_files, "XDG_CONFIG_HOME": own_files}
    )
