#!/usr/bin/env python3
"""Writes `.env` beside this file: a new random value for every secret of docker-compose.yml. Needs only Python.

The file is readable by its owner only and is never written over: databases remember the passwords that they began with.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from pathlib import Path

ENV_FILE = Path(__file__).parent / ".env"
PUBLIC_URL = "http://drycc.localhost:8000"


def main(path: Path) -> int:
    """Write `path`; the exit status tells whether it was new."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        _say(f"{path} is there already; to start anew, remove it and the volumes: docker compose down --volumes")
        return 1
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        for name, value in make_secrets().items():
            file.write(f"{name}='{value}'\n")
    _say(f"wrote {path}; the administrator is `admin`, the password is PASSPORT_ADMIN_PASSWORD in it")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def make_secrets() -> dict[str, str]:
    """A fresh set. Values hold no quotes and no `$`, which would mean something in the file."""
    controller, builder, operator = (secrets.token_urlsafe(32) for _ in range(3))
    databases = ("POSTGRES", "CONTROLLER_DATABASE", "PASSPORT_DATABASE", "BUILDER_DATABASE", "HOOKS_DATABASE")
    return {
        **{f"{name}_PASSWORD": secrets.token_urlsafe(24) for name in databases},
        "RABBITMQ_PASSWORD": secrets.token_urlsafe(24),
        "CONTROLLER_ENCRYPTION_KEYS": json.dumps([fernet_key()]),
        "CONTROLLER_CLIENT_SECRET": controller,
        "BUILDER_CLIENT_SECRET": builder,
        "OPERATOR_CLIENT_SECRET": operator,
        "PASSPORT_ENCRYPTION_KEYS": json.dumps([fernet_key()]),
        "PASSPORT_ADMIN_PASSWORD": secrets.token_urlsafe(16),
        "PASSPORT_CLIENTS": json.dumps(clients(controller=controller, builder=builder, operator=operator)),
        "HOOKS_SECRET": secrets.token_urlsafe(32),
    }


def fernet_key() -> str:
    """32 random bytes in URL-safe base64, as https://github.com/fernet/spec wants them."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def clients(*, controller: str, builder: str, operator: str) -> list[dict[str, object]]:
    """The OAuth clients of the suite, and one for an operator who asks builder and hooks from the command line."""
    return [
        {
            "client_id": "controller",
            "client_secret": controller,
            "name": "Workflow",
            "redirect_uris": [f"{PUBLIC_URL}/v2/complete/drycc/"],
            "grants": ["authorization_code", "password", "refresh_token", "client_credentials"],
            "scopes": ["openid", "profile", "email"],
            "audiences": ["controller"],
            "skip_consent": True,
        },
        {
            "client_id": "builder",
            "client_secret": builder,
            "name": "Workflow builder",
            "grants": ["client_credentials"],
            "scopes": ["controller:hook"],
            "audiences": ["controller"],
        },
        {
            "client_id": "operator",
            "client_secret": operator,
            "name": "Workflow operator",
            "grants": ["client_credentials"],
            "scopes": ["builder:read", "builder:write", "hooks:read", "hooks:write"],
            "audiences": ["builder", "hooks"],
        },
    ]


if __name__ == "__main__":
    sys.exit(main(ENV_FILE))
