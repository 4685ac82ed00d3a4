"""A small client of the platform's own REST API 2.3, for the commands that deploy from this machine.

It talks to the edge by address and names the host in a header, so it works where `*.localhost` does not resolve.
"""

from __future__ import annotations

import hashlib
from types import TracebackType

import httpx

from standalone.errors import CommandFailedError
from standalone.home import Config, connect_host

_UNNAMED = {"detail", "non_field_errors"}


class Client:
    """One signed-in user's view of the platform; a context manager. Every failure is a CommandFailedError."""

    def __init__(self, config: Config, *, transport: httpx.BaseTransport | None = None) -> None:
        self._config = config
        host = f"drycc.{config.domain}" + ("" if config.http_port == 80 else f":{config.http_port}")
        address = connect_host(config.bind)
        self._http = httpx.Client(
            base_url=f"http://{address}:{config.http_port}",
            headers={"Host": host, "Connection": "close"},
            timeout=60.0,
            trust_env=False,
            transport=transport,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def login(self, username: str, password: str, *, alias: str = "workflow-command") -> None:
        """Sign in as the released client does with a username and a password; the token is kept for later calls."""
        key = self._call("POST", "/v2/auth/login/", json={"username": username, "password": password})["key"]
        token = self._call("GET", f"/v2/auth/token/{key}/", params={"alias": alias})["token"]
        self._http.headers["Authorization"] = f"token {token}"

    def login_as_admin(self) -> None:
        """Sign in with the administrator's login of this data directory."""
        self.login(self._config.admin_username, self._config.admin_password)

    def ensure_key(self, name: str, public: str) -> None:
        """Register a public key unless it is there already; where another key has that name, under a longer one."""
        blob = public.split()[1]
        keys = self._call("GET", "/v2/keys/", params={"limit": "1000"})["results"]
        if any(blob in str(key["public"]) for key in keys):
            return
        if any(key["id"] == name for key in keys):
            name = f"{name}-{hashlib.sha256(blob.encode()).hexdigest()[:8]}"
        self._call("POST", "/v2/keys/", json={"id": name, "public": public})

    def ensure_app(self, app: str) -> bool:
        """Create an app unless it is there; whether it was created now."""
        if any(item["id"] == app for item in self.apps()):
            return False
        self._call("POST", "/v2/apps/", json={"id": app})
        return True

    def set_config(self, app: str, values: dict[str, str]) -> None:
        """Set variables for all process types; makes a release."""
        items = [{"name": name, "value": value, "group": "global"} for name, value in values.items()]
        self._call("POST", f"/v2/apps/{app}/config/", json={"values": items})

    def latest_release(self, app: str) -> dict[str, object]:
        """The newest release of the app."""
        releases = self._call("GET", f"/v2/apps/{app}/releases/", params={"limit": "1"})["results"]
        return dict(releases[0])

    def apps(self) -> list[dict[str, object]]:
        """All apps that the user may see."""
        return list(self._call("GET", "/v2/apps/", params={"limit": "1000"})["results"])

    def pods(self, app: str) -> list[dict[str, object]]:
        """The running processes of an app."""
        return list(self._call("GET", f"/v2/apps/{app}/pods/")["results"])

    def destroy(self, app: str) -> None:
        """Delete the app and all that belongs to it."""
        self._call("DELETE", f"/v2/apps/{app}/")

    def _call(self, method: str, path: str, **options: object) -> dict[str, list[dict[str, object]]]:
        try:
            response = self._http.request(method, path, **options)  # type: ignore[arg-type] # passed on as they came
        except httpx.HTTPError as exc:
            raise CommandFailedError(
                f"the platform does not answer ({exc}); is it running? see `workflow status`"
            ) from exc
        if response.is_error:
            raise CommandFailedError(f"{_reason(response)} ({method} {path} answered {response.status_code})")
        return dict(response.json()) if response.content else {}


def _reason(response: httpx.Response) -> str:
    """The sentences of an error body: a string, `{"detail": ...}`, or messages by the name of a field."""
    try:
        body = response.json()
    except ValueError:
        return response.text[:500].strip() or "no reason was given"
    if not isinstance(body, dict):
        return str(body) or "no reason was given"
    texts = {field: " ".join(map(str, value)) if isinstance(value, list) else value for field, value in body.items()}
    return " ".join(str(text) if field in _UNNAMED else f"{field}: {text}" for field, text in texts.items())
