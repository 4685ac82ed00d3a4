"""The objects that the watches have told of, by kind, app and name. Knows nothing of connections."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from controller.engine.kubernetes.kinds import EVENT, NAMESPACE, NODE, Kind
from controller.engine.kubernetes.names import APP
from controller.engine.kubernetes.trim import Entry

MOST_EVENTS: Final = 200
"""Kubernetes events that are kept of one app; older ones go first."""
CLUSTER: Final = ""
"""Stands for the app of what belongs to none; its changes are nobody's."""
_MOST_GRAVES: Final = 2000


class Store:
    """`on_change` hears the name of each app of which something is different."""

    def __init__(self, on_change: Callable[[str], None], *, most_events: int = MOST_EVENTS) -> None:
        self._on_change = on_change
        self._most_events = most_events
        self._entries: dict[Kind, dict[str, dict[str, Entry]]] = {}
        # Versions at which objects went: an answer to a write of ours may arrive after the watch told of the end.
        self._graves: OrderedDict[tuple[Kind, str, str], int] = OrderedDict()
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def get(self, kind: Kind, app: str, name: str) -> Entry | None:
        """One object."""
        return self._entries.get(kind, {}).get(app, {}).get(name)

    def of(self, kind: Kind, app: str) -> Mapping[str, Entry]:
        """All objects of that kind of an app, by name."""
        return self._entries.get(kind, {}).get(app, {})

    def apps(self) -> frozenset[str]:
        """Every app that has a namespace."""
        return frozenset(self._entries.get(NAMESPACE, ()))

    def count(self) -> int:
        """How many objects are kept."""
        return sum(len(names) for apps in self._entries.values() for names in apps.values())

    def take(self, kind: Kind, entry: Entry) -> None:
        """An object is new or different, as the watch tells."""
        self._put(kind, app_of(kind, entry.object), entry)

    def take_written(self, kind: Kind, entry: Entry) -> None:
        """The same as the answer to a write of ours tells; the watch may know of later things already."""
        app = app_of(kind, entry.object)
        if self._graves.get((kind, app, entry.object["metadata"]["name"]), -1) < entry.version:
            self._put(kind, app, entry)

    def remove(self, kind: Kind, app: str, name: str, *, version: int) -> None:
        """An object is gone as of that version."""
        grave = (kind, app, name)
        self._graves[grave] = version
        self._graves.move_to_end(grave)
        if len(self._graves) > _MOST_GRAVES:
            self._graves.popitem(last=False)
        known = self.get(kind, app, name)
        if known is not None and known.version <= version:
            self._drop(kind, app, name)

    def remove_deleted(self, kind: Kind, app: str, name: str, *, uid: str) -> None:
        """We have deleted that object. One that has to wait for others stays until the watch tells that it is gone."""
        known = self.get(kind, app, name)
        if known is not None and known.uid == uid and not known.is_terminating:
            self._drop(kind, app, name)

    def replace(self, kind: Kind, scope: str | None, entries: Iterable[Entry], *, version: int) -> None:
        """A list of all objects, of the app `scope` or of all apps, as they were at that version."""
        listed = {(app_of(kind, entry.object), entry.object["metadata"]["name"]): entry for entry in entries}
        apps = self._entries.get(kind, {})
        for app in [scope] if scope is not None else list(apps):
            for name, known in list(apps.get(app, {}).items()):
                if (app, name) not in listed and known.version <= version:
                    self._drop(kind, app, name)
        for (app, _), entry in listed.items():
            self._put(kind, app, entry)

    async def wait(self, app: str, condition: Callable[[], bool], *, seconds: float) -> bool:
        """Wait until something of the app has changed so that `condition` holds; False when it does not in time."""
        wake = asyncio.Event()
        self._waiting.setdefault(app, set()).add(wake)
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await wake.wait()
                    wake.clear()
        except TimeoutError:
            return condition()
        finally:
            self._waiting[app].discard(wake)
            if not self._waiting[app]:
                del self._waiting[app]
        return True

    def _put(self, kind: Kind, app: str, entry: Entry) -> None:
        if kind is EVENT and app not in self._entries.get(NAMESPACE, ()):
            return  # of somebody else's namespace
        names = self._entries.setdefault(kind, {}).setdefault(app, {})
        name = entry.object["metadata"]["name"]
        known = names.get(name)
        if known is not None and 0 < entry.version <= known.version:
            return
        if kind is EVENT:
            names.pop(name, None)  # to the end, as the newest
        names[name] = entry
        if kind is EVENT and len(names) > self._most_events:
            del names[next(iter(names))]
        if known is None or known.object != entry.object:
            self._changed(app)

    def _drop(self, kind: Kind, app: str, name: str) -> None:
        names = self._entries[kind][app]
        del names[name]
        if not names:
            del self._entries[kind][app]
        if kind is NAMESPACE:
            self._entries.get(EVENT, {}).pop(app, None)
        self._changed(app)

    def _changed(self, app: str) -> None:
        for wake in self._waiting.get(app, ()):
            wake.set()
        if app != CLUSTER:
            self._on_change(app)


def app_of(kind: Kind, live: Mapping[str, Any]) -> str:
    """The app that an object belongs to: its namespace has the same name."""
    metadata = live["metadata"]
    if kind.namespaced:
        return str(metadata.get("namespace", ""))
    if kind is NAMESPACE:
        return str(metadata["name"])
    if kind is NODE:
        return CLUSTER
    return str((metadata.get("labels") or {}).get(APP, ""))
