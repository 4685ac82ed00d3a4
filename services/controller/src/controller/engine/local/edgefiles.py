"""The files by which the edge finds, for each request, where the instances of a process type are.

    <directory>/hosts/<host> -> ../places/<app>.<ptype>
    <directory>/places/<app>.<ptype>/<sheet>

A sheet is an empty file: all that it says is in its name, because a name appears and goes as a whole. Names are

    <number>.<readers>-<address>-<address>...    thirteen addresses, repeated as often as it takes
    <number>.<readers>=<app>.<ptype>             no instance is ready

Numbers count down, so that the newest sheet is the first in the order of names. Sheets of one publication share a
number. `readers` says which requests read a sheet: the edge gives each request three random letters (`READERS`), and
`_` stands for any. So a type with many instances has many sheets, and each request sees one of them.
"""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOSTS = "hosts"
PLACES = "places"

SLOTS = 13
"""Addresses in one sheet: 13 of up to 15 characters stay below 255, the longest name of a file. A prime number: the
edge takes the slots in turn for the requests of all apps together, so an app that makes, say, every second request
comes past every slot, not past every second."""

NUMBER_DIGITS = 8
READERS = ("89ab", "0123456789abcdef", "0123456789abcdef")
"""The letters that a request may have, in each of three places."""

# So many slots for each instance, where there is more than one: shares then differ by a third at most.
_SLOTS_EACH = 3
_FIRST = 10**NUMBER_DIGITS - 1
# The edge reads the names, chooses one and looks at that file; so long may pass in between.
_KEPT_SECONDS = 1.0


@dataclass(frozen=True)
class Place:
    """A process type of an app as the edge knows it."""

    app: str
    ptype: str

    @property
    def name(self) -> str:
        """Of its directory. Neither part holds a dot."""
        return f"{self.app}.{self.ptype}"


def sheet_names(number: int, place: Place, addresses: Sequence[str]) -> list[str]:
    """The sheets of one publication. `addresses` are `host:port`; each gets its share of slots, rounded to a slot."""
    start = f"{number:0{NUMBER_DIGITS}}."
    if not addresses:
        return [f"{start}{'_' * len(READERS)}={place.name}"]
    filling = itertools.cycle(addresses)
    return [f"{start}{readers}-{'-'.join(itertools.islice(filling, SLOTS))}" for readers in _readers(len(addresses))]


def _readers(instances: int) -> list[str]:
    """Who reads the sheets of a type with so many instances; as few sheets as will do."""
    known = 0 if instances == 1 else 1
    while known < len(READERS) and len(_combinations(known)) * SLOTS < instances * _SLOTS_EACH:
        known += 1
    return _combinations(known)


def _combinations(known: int) -> list[str]:
    rest = "_" * (len(READERS) - known)
    return ["".join(letters) + rest for letters in itertools.product(*READERS[:known])]


class EdgeFiles:
    """Keeps the files. Safe to use from several threads; every call that changes something may raise OSError.

    `clock` gives seconds that only grow.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._directory = directory
        self._hosts = directory / HOSTS
        self._places = directory / PLACES
        self._routes: dict[str, Place] = {}
        self._numbers: dict[Place, int] = {}
        self._replaced: dict[Place, deque[tuple[int, float]]] = {}
        self._written: dict[Place, tuple[str, ...]] = {}

    def reset(self) -> None:
        """Forget everything that an earlier run left."""
        with self._lock:
            shutil.rmtree(self._directory, ignore_errors=True)
            for directory in (self._hosts, self._places):
                directory.mkdir(parents=True, mode=0o700)
            self._routes.clear()
            self._numbers.clear()
            self._replaced.clear()
            self._written.clear()

    def route(self, app: str, hosts: Mapping[str, Place]) -> bool:
        """Lead each of these hosts to its place in this app, and no other host to the app. False: so it was before."""
        with self._lock:
            old = [host for host, place in self._routes.items() if place.app == app and host not in hosts]
            new = [host for host, place in hosts.items() if self._routes.get(host) != place]
            for host in old:
                (self._hosts / host).unlink(missing_ok=True)
                del self._routes[host]
            for host in new:
                self._link(host, hosts[host])
                self._routes[host] = hosts[host]
            return bool(old or new)

    def write(self, place: Place, addresses: Sequence[str]) -> None:
        """Requests that come from now on go to these addresses.

        A request that is just looking finds the old sheets or the new ones: the old ones stay for a while.
        """
        with self._lock:
            self._write(place, addresses)

    def remove(self, app: str) -> None:
        """Forget an app; no host may lead to it any more."""
        with self._lock:
            for directory in self._places.glob(f"{app}.*"):
                shutil.rmtree(directory)
            for place in [place for place in self._numbers if place.app == app]:
                del self._numbers[place]
                self._replaced.pop(place, None)
                self._written.pop(place, None)

    def _link(self, host: str, place: Place) -> None:
        if place not in self._numbers:
            self._write(place, ())
        fresh = self._hosts / ".new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path("..", PLACES, place.name))
        fresh.replace(self._hosts / host)

    def _write(self, place: Place, addresses: Sequence[str]) -> None:
        if self._written.get(place) == tuple(addresses):
            return
        directory = self._places / place.name
        directory.mkdir(mode=0o700, exist_ok=True)
        last = self._numbers.get(place, _FIRST)
        # Taken before anything is written, and what is there now is not trusted until all is: an attempt that fails
        # halfway is made up for by the next one.
        self._numbers[place] = last - 1
        self._written.pop(place, None)
        for name in sheet_names(last - 1, place, addresses):
            (directory / name).touch(mode=0o600, exist_ok=False)
        self._written[place] = tuple(addresses)
        self._replaced.setdefault(place, deque()).append((last, self._clock()))
        self._clear_away(place, directory)

    def _clear_away(self, place: Place, directory: Path) -> None:
        """Sheets that were replaced long enough ago, and all before them."""
        replaced, now = self._replaced[place], self._clock()
        newest = None
        while replaced and now - replaced[0][1] > _KEPT_SECONDS:
            newest, _ = replaced.popleft()
        if newest is None:
            return
        for sheet in directory.iterdir():
            if int(sheet.name[:NUMBER_DIGITS]) >= newest:
                sheet.unlink()
