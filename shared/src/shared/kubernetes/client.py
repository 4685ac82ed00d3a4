"""The one client of the API server: objects in, objects out."""

from __future__ import annotations

import json as json_module
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal

from aiohttp import ClientWebSocketResponse

from shared.kubernetes.calls import DEADLINE_SECONDS, JSON, Caller, Calls, Request
from shared.kubernetes.errors import ClusterNotFoundError
from shared.kubernetes.kinds import K, Kinds, Manifest, Served, called
from shared.kubernetes.transport import Access
from shared.kubernetes.watch import WatchEvent, events

Propagation = Literal["Background", "Foreground", "Orphan"]

PAGE_SIZE: Final = 500
_SILENCE_SECONDS: Final = 100.0
"""A watch that hears nothing for so long is taken for dead: bookmarks come every minute."""
_APPLY: Final = "application/apply-patch+yaml"
_MERGE_PATCH: Final = "application/merge-patch+json"
_JSON_PATCH: Final = "application/json-patch+json"


@dataclass(frozen=True)
class Listing:
    """Objects of a list, and the version of the whole from which a watch goes on."""

    items: tuple[Manifest, ...]
    resource_version: str


class Client(Generic[K]):
    """Talks to one API server about some kinds of objects; errors are `ClusterError`s.

    `manager` is the field manager under which objects are written. `deadline` is the longest that a call may take with
    all its repetitions, in seconds; streams are not calls.
    """

    def __init__(self, access: Access, kinds: Kinds[K], *, manager: str, deadline: float = DEADLINE_SECONDS) -> None:
        self._kinds = kinds
        self._manager = manager
        self._caller = Caller(access, deadline=deadline)
        self.served = Served(kinds)

    @property
    def calls(self) -> Calls:
        """What was sent so far."""
        return self._caller.counts

    async def open(self) -> None:
        """Read the configuration and find out what the cluster has.

        Raises:
            InvalidInputError: there is no usable configuration.
            ClusterError: the API server does not answer, or not to us.
        """
        await self._caller.open()
        await self.discover()

    async def close(self) -> None:
        """Close all connections."""
        await self._caller.close()

    async def discover(self) -> frozenset[K]:
        """Find out anew which optional kinds the cluster has; gives those that are new."""
        return self.served.learn({version: await self._plurals(version) for version in self.served.optional_versions()})

    async def get(self, kind: K, name: str, namespace: str | None = None) -> Manifest:
        """One object.

        Raises:
            ClusterNotFoundError: there is none, or no such kind.
        """
        return await self._caller.json(self._request("GET", "read", kind, namespace, name))

    async def list(
        self, kind: K, namespace: str | None = None, *, labels: str = "", fields: str = "", page: int = PAGE_SIZE
    ) -> Listing:
        """All objects that the selectors choose; errors as for `pages`."""
        pages = [part async for part in self.pages(kind, namespace, labels=labels, fields=fields, page=page)]
        return Listing(tuple(item for part in pages for item in part.items), pages[-1].resource_version)

    async def pages(
        self, kind: K, namespace: str | None = None, *, labels: str = "", fields: str = "", page: int = PAGE_SIZE
    ) -> AsyncGenerator[Listing, None]:
        """The same page by page, each with the version of the whole.

        Raises:
            ClusterGoneError: it took so long that the API server forgot where it was; start again.
        """
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(page)}
        while True:
            answer = await self._caller.json(self._request("GET", "list", kind, namespace, query=query))
            # Items of a list do not say what they are.
            what = {"apiVersion": self._version(kind), "kind": kind.kind}
            about = answer.get("metadata") or {}
            items = tuple(what | item for item in answer.get("items") or ())
            yield Listing(items, str(about.get("resourceVersion", "")))
            if not about.get("continue"):
                return
            query = {**query, "continue": str(about["continue"])}

    async def apply(
        self, manifest: Manifest, *, manager: str = "", force: bool = True, dry_run: bool = False
    ) -> Manifest:
        """Server-side apply: afterwards the fields of `manifest` are ours, and those that we left out are not.

        With `dry_run` the API server checks all that it would check, and changes nothing.

        Raises:
            ClusterConflictError: without `force`, another manager owns a field; or the object was replaced.
            ClusterDeniedError, ClusterInvalidError: a rule stands against it.
        """
        kind, namespace, name = self._kinds.address(manifest)
        query = {
            "fieldManager": manager or self._manager,
            "force": "true" if force else "false",
            "dryRun": "All" if dry_run else "",
        }
        body = {**manifest, "apiVersion": self._version(kind)}
        return await self._caller.json(
            self._request("PATCH", "apply", kind, namespace, name, query=query, body=body, content_type=_APPLY)
        )

    async def create(self, manifest: Manifest) -> Manifest:
        """Make an object that must not be there yet.

        Raises:
            ClusterConflictError: it is there. When an answer was lost, that may be our own doing.
        """
        kind, namespace, name = self._kinds.address(manifest)
        version = self._version(kind)
        action = f"create {called(kind, namespace, name)}"
        query = {"fieldManager": self._manager}
        body = _encoded({**manifest, "apiVersion": version})
        path = kind.path(version, namespace)
        return await self._caller.json(
            Request(action, "POST", path, query, body, may_repeat=False, is_secret=kind.is_secret)
        )

    async def patch(
        self,
        kind: K,
        name: str,
        namespace: str | None = None,
        *,
        merge: Mapping[str, Any] | None = None,
        operations: Sequence[Mapping[str, Any]] | None = None,
        subresource: str = "",
        manager: str = "",
    ) -> Manifest:
        """Merge `merge` into an object (RFC 7396), or do the `operations` on it (RFC 6902)."""
        return await self._caller.json(
            self._request(
                "PATCH",
                "change",
                kind,
                namespace,
                name,
                query={"fieldManager": manager or self._manager},
                body=merge if operations is None else operations,
                content_type=_MERGE_PATCH if operations is None else _JSON_PATCH,
                subresource=subresource,
            )
        )

    async def delete(
        self,
        kind: K,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        propagation: Propagation = "Background",
        grace_seconds: int | None = None,
    ) -> bool:
        """Delete an object, only the one with that `uid` when one is given. False: it was not there.

        Raises:
            ClusterConflictError: another object has that name by now.
        """
        options: dict[str, Any] = {"propagationPolicy": propagation}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            await self._caller.json(self._request("DELETE", "delete", kind, namespace, name, body=options))
        except ClusterNotFoundError:
            return False
        return True

    async def watch(
        self,
        kind: K,
        namespace: str | None = None,
        *,
        labels: str = "",
        resource_version: str,
        timeout_seconds: int,
        on_open: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Changes after that version, with bookmarks, until the API server ends the watch after `timeout_seconds`.

        `on_open` is called when the API server has begun to answer; the first event may be long in coming.

        Raises:
            ClusterGoneError: the version is too old; list anew.
            ClusterUnavailableError: the connection broke.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "labelSelector": labels,
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        request = self._request("GET", "watch", kind, namespace, query=query)
        async with self._caller.stream(request, silence=_SILENCE_SECONDS, is_watch=True) as chunks:
            on_open()
            async for event in events(request.action, chunks):
                yield event

    def pod_logs(
        self, namespace: str, pod: str, silence: float | None = None, /, **query: str
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The output of a container as it comes; `query` is that of the API server (`container`, `follow`, ...).

        With `silence` it breaks when nothing was heard for so many seconds.

        Raises:
            ClusterError: there is none, for the reason given; from the iterator: the connection broke.
        """
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        request = Request(f"read the output of {namespace}/{pod}", "GET", path, query, accept="*/*")
        return self._caller.stream(request, silence=silence)

    async def websocket(
        self,
        action: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]],
        protocols: tuple[str, ...],
        heartbeat: float | None = 30,
    ) -> ClientWebSocketResponse:
        """Open a WebSocket to the API server, as exec and port forwarding need one; `action` is for errors."""
        return await self._caller.websocket(action, path, query=query, protocols=protocols, heartbeat=heartbeat)

    async def _plurals(self, version: str) -> tuple[str, ...]:
        try:
            answer = await self._caller.json(Request(f"discover {version}", "GET", f"/apis/{version}"))
        except ClusterNotFoundError:
            return ()
        return tuple(resource["name"] for resource in answer.get("resources") or ())

    def _version(self, kind: K) -> str:
        version = self.served.version(kind)
        if version is None:
            raise ClusterNotFoundError(f"use {kind.kind}", self.served.why_not(kind), reason="NoSuchKind")
        return version

    def _request(
        self,
        method: str,
        verb: str,
        kind: K,
        namespace: str | None,
        name: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = JSON,
        subresource: str = "",
    ) -> Request:
        path = kind.path(self._version(kind), namespace, name, subresource)
        given = {key: value for key, value in (query or {}).items() if value}
        content = None if body is None else _encoded(body)
        action = f"{verb} {called(kind, namespace, name)}"
        return Request(action, method, path, given, content, content_type, is_secret=kind.is_secret)


def _encoded(body: object) -> bytes:
    return json_module.dumps(body, separators=(",", ":")).encode()
