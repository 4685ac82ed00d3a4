"""The two pages that people see at the controller: the question before a login, and how it ended. No script at all."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from html import escape
from typing import Final

from starlette.responses import HTMLResponse

from controller.domain.accounts import LoginAttempt

_STYLE: Final = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:3rem auto;padding:0 1rem}"
    "dt{font-weight:600}dd{margin:0 0 .5rem}button{font:inherit;padding:.5rem 1rem;margin-right:1rem}"
    "code{font-size:1.25rem}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def question(attempt: LoginAttempt, *, key: str, form_token: str, passport: str) -> HTMLResponse:
    """Asks whether the person in front of the browser started this login. `passport` is where a yes leads to."""
    started = attempt.created.astimezone(UTC)
    facts = {
        "Started": f"{started:%Y-%m-%d %H:%M:%S} UTC ({_ago(started)})",
        "From the address": attempt.address or "unknown",
        "With": attempt.client or "an unknown client",
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    body = (
        "<p>A program asks to be logged in as you and will get a token that can do whatever you can do.</p>"
        f"<dl>{rows}<dt>Its key ends with</dt><dd><code>{escape(attempt.hint)}</code></dd></dl>"
        "<p>Go on only if you have just started this yourself, and the address that your terminal shows ends with "
        "the same characters.</p>"
        '<form method="post" action="/v2/login/drycc/">'
        f'<input type="hidden" name="key" value="{escape(key)}">'
        f'<input type="hidden" name="form_token" value="{escape(form_token)}">'
        '<button type="submit" name="answer" value="yes">Yes, log me in</button>'
        '<button type="submit" name="answer" value="no">No, refuse it</button>'
        "</form>"
    )
    # Browsers apply form-action to the redirects that follow as well.
    return _page("Log in to the command line?", body, status=200, form_action=f"'self' {passport}")


def message(title: str, text: str, *, status: int) -> HTMLResponse:
    """Says how it ended."""
    return _page(title, f"<p>{escape(text)}</p>", status=status, form_action="'none'")


def _page(title: str, body: str, *, status: int, form_action: str) -> HTMLResponse:
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {form_action}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return HTMLResponse(html, status_code=status, headers=headers)


def _ago(moment: datetime) -> str:
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    return f"{seconds} seconds ago" if seconds < 120 else f"{seconds // 60} minutes ago"
