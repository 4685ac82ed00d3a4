"""The files that the edge goes by: names, shares, what is there while it changes."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from controller.engine.local.edgeconfig import is_routable
from controller.engine.local.edgefiles import READERS, EdgeFiles, Place, sheet_names

WEB = Place("shop", "web")


def _addresses(count: int, *, first: int = 20000) -> list[str]:
    return [f"127.0.0.1:{port}" for port in range(first, first + count)]


def _read(names: list[str], letters: str) -> str:
    """The sheet that the edge takes for a request with these letters: the first by name among those that fit."""
    fitting = [n for n in names if all(have in ("_", want) for have, want in zip(n[9:12], letters, strict=True))]
    return min(fitting)


def _slots(sheet: str) -> list[str]:
    return sheet[13:].split("-")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 17, 18, 100, 277, 278, 3000, 13312])
def test_every_instance_has_its_share_whatever_letters_a_request_has(count: int) -> None:
    names = sheet_names(1, WEB, _addresses(count))
    everything = ["".join(letters) for letters in product(*READERS)]
    shares = Counter(address for letters in everything for address in _slots(_read(names, letters)))
    assert len(shares) == count
    per_slot = len(everything) // len(names)
    assert max(shares.values()) - min(shares.values()) <= per_slot
    if 1 < count < 4000:
        assert max(shares.values()) <= 4 / 3 * min(shares.values())


def test_few_instances_need_few_sheets() -> None:
    assert [len(sheet_names(1, WEB, _addresses(count))) for count in (0, 1, 2, 17, 18, 277, 278)] == [
        *(1, 1, 4, 4, 64, 64, 1024),
    ]


def test_the_longest_names_are_those_of_files() -> None:
    assert len(sheet_names(1, WEB, ["127.0.0.1:65535"])[0].encode()) <= 255
    assert len(sheet_names(1, Place("a" * 63, "b" * 63), [])[0].encode()) <= 255


def test_addresses_of_both_families_stand_side_by_side() -> None:
    (first, *_) = sheet_names(1, WEB, ["127.0.0.1:20000", "[::1]:20001"])
    assert _slots(first)[:3] == ["127.0.0.1:20000", "[::1]:20001", "127.0.0.1:20000"]


class Seconds:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def files(tmp_path: Path, clock: Seconds) -> EdgeFiles:
    files = EdgeFiles(tmp_path / "edge", clock=clock)
    files.reset()
    return files


def _names(tmp_path: Path, host: str = "shop.localhost") -> list[str]:
    return sorted(sheet.name for sheet in (tmp_path / "edge" / "hosts" / host).iterdir())


@pytest.mark.parametrize("counts", [(1, 1, 1), (1, 3, 1), (20, 2, 20), (0, 1, 0), (300, 1, 300)])
def test_the_newest_sheets_come_first_and_those_before_stay_for_a_while(
    files: EdgeFiles, tmp_path: Path, clock: Seconds, counts: tuple[int, ...]
) -> None:
    files.route("shop", {"shop.localhost": WEB})
    looked: list[str] = []
    for number, count in enumerate(counts):
        addresses = _addresses(count, first=20000 + 1000 * number)
        files.write(WEB, addresses)
        names = _names(tmp_path)
        # Whoever has read the directory before finds the sheet that it chose then.
        assert set(looked) <= set(names)
        looked += [_read(names, letters) for letters in ("800", "9ab", "bff")]
        for sheet in looked[-3:]:
            assert set(_slots(sheet)) <= set(addresses) if addresses else sheet.endswith("___=shop.web")
    clock.now += 2
    files.write(WEB, ["127.0.0.1:1"])
    last = sheet_names(1, WEB, _addresses(counts[-1]))
    assert len(_names(tmp_path)) == 1 + len(last)


def test_what_is_there_already_is_not_written_again(files: EdgeFiles, tmp_path: Path) -> None:
    files.route("shop", {"shop.localhost": WEB})
    files.write(WEB, _addresses(2))
    before = _names(tmp_path)
    files.write(WEB, _addresses(2))
    assert _names(tmp_path) == before
    assert not files.route("shop", {"shop.localhost": WEB})


def test_a_host_of_a_known_place_leads_there_at_once(files: EdgeFiles, tmp_path: Path) -> None:
    files.write(WEB, _addresses(1))
    assert files.route("shop", {"shop.localhost": WEB})
    assert files.route("shop", {"shop.localhost": WEB, "www.example.org": WEB})
    assert _names(tmp_path, "www.example.org") == _names(tmp_path)
    assert "127.0.0.1:20000" in _names(tmp_path)[0]


def test_a_host_can_be_given_to_another_place(files: EdgeFiles, tmp_path: Path) -> None:
    api = Place("shop", "api")
    files.write(WEB, _addresses(1))
    files.write(api, _addresses(1, first=30000))
    files.route("shop", {"shop.localhost": WEB})
    assert files.route("shop", {"shop.localhost": api})
    assert "127.0.0.1:30000" in _names(tmp_path)[0]


def test_nothing_is_left_of_an_app(files: EdgeFiles, tmp_path: Path) -> None:
    shopping = Place("shopping", "web")
    for place in (WEB, Place("shop", "worker"), shopping):
        files.write(place, _addresses(1))
        files.route(place.app, {f"{place.app}.localhost": place})
    files.route("shop", {})
    files.remove("shop")
    assert [path.name for path in sorted((tmp_path / "edge").glob("*/*"))] == ["shopping.localhost", "shopping.web"]
    files.route("shop", {"shop.localhost": WEB})
    assert _names(tmp_path)[0].endswith("=shop.web")


def test_a_write_that_failed_is_made_up_for(files: EdgeFiles, tmp_path: Path) -> None:
    files.route("shop", {"shop.localhost": WEB})
    files.write(WEB, _addresses(1))
    with pytest.raises(OSError, match="too long"):
        files.write(WEB, ["x" * 300])
    assert "127.0.0.1:20000" in _names(tmp_path)[0]
    files.write(WEB, _addresses(1))
    assert "127.0.0.1:20000" in _names(tmp_path)[0]
    files.write(WEB, _addresses(1, first=30000))
    assert "127.0.0.1:30000" in _names(tmp_path)[0]


def test_a_reset_forgets_everything(files: EdgeFiles, tmp_path: Path) -> None:
    files.write(WEB, _addresses(1))
    files.route("shop", {"shop.localhost": WEB})
    files.reset()
    assert not list((tmp_path / "edge").glob("*/*"))
    assert files.route("shop", {"shop.localhost": WEB})
    assert len(_names(tmp_path)) == 1


@pytest.mark.parametrize("host", ["shop.localhost", "a-b.example.org", "shop.my_machine", "xn--bcher-kva.example"])
def test_usual_hosts_are_routable(host: str) -> None:
    assert is_routable(host)


@pytest.mark.parametrize(
    "host", ["", ".", "..", "*.a.org", "a..b", "a.", ".a", "A.org", "a/b", "a b", "a\n", "b\u00fc"]
)
def test_other_hosts_are_not(host: str) -> None:
    assert not is_routable(host)
    assert not is_routable("a" * 254)
