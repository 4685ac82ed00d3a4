"""Requests that no command makes, with the client's own headers: for what a server owes in general."""

from __future__ import annotations

from collections.abc import Mapping

from client.model import profile, websocket
from client.model.api import USER_AGENT
from client.model.http import Request, Response, Transport
from client.model.profile import Profile
from client.model.session import Session


def login_of(session: Session) -> Profile:
    """Where a session is logged in."""
    return profile.load(session.home / ".drycc" / "client.json")


async def ask(
    session: Session,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    token: bool = True,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One request as the client sends it, with the session's token or without; redirects are not followed."""
    login = login_of(session)
    sent = {"Content-Type": "application/json", **(headers or {})}
    if token:
        sent["Authorization"] = f"token {login.token}"
    request = Request(method, login.controller.rstrip("/") + path, sent, body)
    return await Transport(USER_AGENT).send(request, follow=False)


async def frames_of(session: Session, path: str, request: Mapping[str, object], *more: bytes) -> list[bytes]:
    """All that comes over a WebSocket, frame by frame."""
    login = login_of(session)
    socket = await websocket.dial(login.controller, path, login.token)
    await socket.send_json(request)
    for frame in more:
        await socket.send(frame)
    found = [payload async for payload in socket.frames()]
    await socket.close()
    return found
