"""The SDK below the commands: requests with a token, the check of the API version, lists (cli.md 4 to 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Generic, TypeVar

from client.model import go_json
from client.model.failures import ClientError, ClientPanic, DecodeError, error_of
from client.model.go_json import Reader, encode, through_interface, zero
from client.model.http import Request, Response, Transport, url_of

VERSION: Final = "v1.10.2"
API_VERSION: Final = "2.3"
USER_AGENT: Final = f"Drycc Client {VERSION}"
MISMATCH: Final = "API Version Mismatch between server and drycc"

T = TypeVar("T")
Body = Mapping[str, object] | list[object] | str | bytes | None
"""JSON to be, bytes as they are, or nothing at all."""


class OnMismatch(Enum):
    """What a command does when the server speaks another version of the API (cli.md 5)."""

    WORK = "warns and works"
    DISCARD = "warns but discards the answer"
    FAIL = "fails"


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list. A count that is not positive hides the items where the program looks at it."""

    items: list[T]
    count: float

    @property
    def is_empty(self) -> bool:
        """Whether the program says that there is nothing."""
        return self.count <= 0


@dataclass
class Warnings:
    """Warnings of one process; each is given once."""

    lines: list[str] = field(default_factory=list)

    def about_version(self, server: str) -> None:
        """The three lines about a server of another version."""
        if not self.lines:
            self.lines += [
                "!    WARNING: Client and server API versions do not match. Please consider upgrading.",
                f"!    Client version: {API_VERSION}",
                f"!    Server version: {server}",
            ]


@dataclass
class Api:
    """Calls of one controller. All raise ClientError as section 7 words it, or what reading an answer raises."""

    controller: str
    token: str
    transport: Transport
    reader: Reader
    warnings: Warnings

    async def call(
        self,
        method: str,
        path: str,
        body: Body = None,
        *,
        headers: Mapping[str, str] | None = None,
        mismatch: OnMismatch = OnMismatch.WORK,
        follow: bool = True,
    ) -> tuple[Response, bool]:
        """An answer that is no error, and whether its version fits."""
        content = body if isinstance(body, bytes) else b"" if body is None else encode(body)
        sent = {"Content-Type": "application/json", **self._authorization(), **dict(headers or {})}
        response = await self.transport.send(
            Request(method, url_of(self.controller, path), sent, content), follow=follow
        )
        if response.status >= 400:
            raise error_of(response.status, response.body)
        return response, self.check_version(response, mismatch)

    async def do(self, method: str, path: str, body: Body = None, *, mismatch: OnMismatch = OnMismatch.WORK) -> None:
        """A call whose answer is not read."""
        await self.call(method, path, body, mismatch=mismatch)

    async def read(
        self, method: str, path: str, kind: type[T], body: Body = None, *, mismatch: OnMismatch = OnMismatch.WORK
    ) -> T:
        """A call whose answer is read; at zero when another version makes the command discard it."""
        response, fits = await self.call(method, path, body, mismatch=mismatch)
        if not fits and mismatch is OnMismatch.DISCARD:
            made: T = zero(kind)
            return made
        return self.reader.read(self.parse(response), kind)

    async def list(self, path: str, kind: type[T], limit: int, *, mismatch: OnMismatch = OnMismatch.WORK) -> Page[T]:
        """One page of a list, `limit` elements long."""
        joint = "&" if "?" in path else "?"
        response, _ = await self.call("GET", f"{path}{joint}limit={limit}", mismatch=mismatch)
        envelope = self.parse(response)
        if not isinstance(envelope, dict):
            kinds = {list: "array", str: "string", bool: "bool"}
            shown = kinds.get(type(envelope), "number")
            raise DecodeError(f"json: cannot unmarshal {shown} into Go value of type map[string]interface {{}}")
        results, count = envelope.get("results"), envelope.get("count")
        if not isinstance(results, list):
            raise ClientPanic("interface conversion: results is not []interface {}")
        if isinstance(count, bool) or not isinstance(count, int | float):
            raise ClientPanic("interface conversion: count is not float64")
        items = [self.reader.read(through_interface(item), kind) for item in results]
        return Page(items, float(count))

    @staticmethod
    def parse(response: Response) -> object:
        """The JSON of an answer."""
        return go_json.parse(response.body)

    def check_version(self, response: Response, mismatch: OnMismatch) -> bool:
        """Whether the server's version fits; what happens otherwise depends on the command.

        Raises:
            ClientError: it does not, and the command cannot live with that.
        """
        server = response.headers.get("drycc_api_version", "")
        if fits(server):
            return True
        if mismatch is OnMismatch.FAIL:
            raise ClientError(MISMATCH)
        self.warnings.about_version(server)
        return False

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"token {self.token}"} if self.token else {}


def fits(server: str) -> bool:
    """Whether a server of that version will do: the second part is compared as text."""
    ours, theirs = API_VERSION.split("."), server.split(".")
    return len(theirs) >= 2 and theirs[0] == ours[0] and theirs[1] >= ours[1]
