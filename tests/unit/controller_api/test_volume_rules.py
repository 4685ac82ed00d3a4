"""Volumes: what may be asked for, where they may be mounted, what of it reaches the engine."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.errors import InvalidFieldsError, InvalidValueError
from controller.domain.file_paths import base_name, clean_path
from controller.domain.spec_storage import Mount, VolumeSpec
from controller.domain.volumes import (
    SizeRange,
    Volume,
    check_volume,
    grown_size,
    job_mounts,
    mount_path,
    mounts_of,
    parse_mounts,
    refuse_mounted,
    remounted,
    volume_spec,
)
from shared.errors import InvalidInputError

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
SIZES = SizeRange(1, 16384)
SIZE = "Volume size limit format: <number><unit> or <number><unit>/<number><unit>, where unit = G, range: 16384G~1G"
NFS = {"server": "nfs.example.org", "path": "/exports"}
OSS = {"bucket": "b", "server": "https://s3.example.org", "access_key": "AK-open", "secret_key": "SK-secret"}


def volume(name: str = "data", **facts: Any) -> Volume:
    base: dict[str, Any] = {"type": "csi", "size": "5G", "path": {}}
    return Volume(uuid=uuid4(), app="shop", owner="ana", name=name, created=NOW, updated=NOW, **(base | facts))


def refused(body: dict[str, Any]) -> dict[str, list[str]]:
    with pytest.raises(InvalidFieldsError) as caught:
        check_volume(body, SIZES)
    return caught.value.errors


class TestRequests:
    def test_defaults(self) -> None:
        request = check_volume({"name": "data"}, SIZES)
        assert (request.name, request.type, request.size, request.parameters) == ("data", "csi", "0G", {})
        assert check_volume({"name": "data", "size": "10g"}, SIZES).size == "10G"

    @pytest.mark.parametrize(
        "size",
        ["5M", "0G", "99999G", "16385G", "5", "G", "05G", "5 G", "", "5GB", "-1G", "\u0665G", "9" * 5000 + "G", 5],
    )
    def test_sizes(self, size: object) -> None:
        assert refused({"name": "data", "size": size}) == {"size": [SIZE]}

    def test_the_range_is_the_operators(self) -> None:
        sizes = SizeRange(5, 10)
        assert [sizes.parse(text) for text in ("4G", "5g", "10G", "11G")] == [None, "5G", "10G", None]
        assert sizes.message.endswith("range: 10G~5G")

    def test_all_that_is_wrong_is_told_at_once(self) -> None:
        assert refused({"size": None, "type": None, "parameters": None}) == {
            "name": ["This field is required."],
            "size": ["This field may not be null."],
            "type": ["This field may not be null."],
            "parameters": ["This field may not be null."],
        }

    def test_keys_are_never_repeated(self) -> None:
        for parameters in (
            {"oss": {key: value for key, value in OSS.items() if key != "bucket"}},
            {"oss": OSS | {"secret_key": 987654}},
            {"oss": "SK-secret"},
            {"secret_key": "SK-secret", "oss": {}},
            "SK-secret",
        ):
            message = refused({"name": "data", "type": "oss", "parameters": parameters})["parameters"][0]
            assert "SK-secret" not in message
            assert "987654" not in message
            assert "AK-open" not in message
        assert "SK-secret" not in repr(check_volume({"name": "data", "type": "oss", "parameters": {"oss": OSS}}, SIZES))

    def test_parameters_have_an_end(self) -> None:
        parameters = {"nfs": {**NFS, "options": "x" * 65_536}}
        assert refused({"name": "data", "type": "nfs", "parameters": parameters}) == {
            "parameters": ["Ensure this field has no more than 65536 characters of JSON."]
        }

    def test_parameters_must_be_those_of_the_type(self) -> None:
        """`drycc volumes add` without `--type` sends what belongs to another one."""
        for kind in ("csi", "oss"):
            parameters = {"nfs": NFS, "oss": OSS} if kind == "oss" else {"nfs": NFS}
            assert refused({"name": "data", "type": kind, "parameters": parameters}) == {
                "parameters": [f"the type is {kind}, but these are parameters of nfs: give the type that is meant"]
            }
        assert refused({"name": "data", "type": "nfs", "parameters": {"oss": OSS}}) == {
            "parameters": [
                "could not validate {'oss': {'bucket': 'b', 'server': 'https://s3.example.org', 'access_key': '***', "
                "'secret_key': '***'}}: 'nfs' is a required property"
            ]
        }


class TestGrowing:
    def test_the_same_size_is_no_shrinking(self) -> None:
        assert grown_size(volume(size="5G"), {"size": "5g"}, SIZES) == "5G"
        assert grown_size(volume(size="0G"), {"size": "1G"}, SIZES) == "1G"

    @pytest.mark.parametrize(("size", "message"), [("bad", SIZE), (None, "This field may not be null.")])
    def test_sizes_are_checked(self, size: object, message: str) -> None:
        with pytest.raises(InvalidFieldsError) as caught:
            grown_size(volume(), {"size": size}, SIZES)
        assert caught.value.errors == {"size": [message]}


class TestMounting:
    @pytest.mark.parametrize("path", ["data", "/", "", "//a", "/a//b", "/a b", "/a.b", "/-a", "/a/../b", "/a\n", 5, {}])
    def test_bad_paths(self, path: object) -> None:
        with pytest.raises(InvalidValueError, match="Volume path format: /path"):
            parse_mounts({"path": {"web": path}})

    def test_long_paths(self) -> None:
        """No kernel mounts there (PATH_MAX of Linux)."""
        assert mount_path("/" + "a" * 4094) == "/" + "a" * 4094
        for path in ("/" + "a" * 4095, "/" + "é" * 2048):
            with pytest.raises(InvalidValueError, match="Volume path format: /path, less than 4096 bytes"):
                mount_path(path)

    def test_good_paths(self) -> None:
        assert parse_mounts({"path": {"web": "/data/", "worker": None, "run": "/a-b/c_d"}}) == {
            "web": "/data",
            "worker": None,
            "run": "/a-b/c_d",
        }

    def test_paths_are_checked_in_linear_time(self) -> None:
        began = time.process_time()
        with pytest.raises(InvalidValueError):
            mount_path("/" + "a" * 100_000 + "!")
        assert time.process_time() - began < 5

    def test_merging(self) -> None:
        mounted = volume(path={"web": "/data", "gone": "/x"})
        known = {"web", "worker"}
        assert remounted(mounted, {"worker": "/w"}, others=[mounted], structure=known) == {
            "web": "/data",
            "gone": "/x",
            "worker": "/w",
        }
        assert remounted(mounted, {"gone": None}, others=[mounted], structure=known) == {"web": "/data"}
        assert remounted(mounted, {"worker": None}, others=[mounted], structure=known) == mounted.path
        assert remounted(mounted, {"web": "/data", "run": "/r"}, others=(), structure=known)["run"] == "/r"

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"nope": "/data"}, "process type nope is not included in procfile"),
            ({"nope": None}, "process type nope is not included in procfile"),
            ({"web": "/data"}, "mount path not changed"),
            ({"worker": "/logs"}, "path /logs is used by another volume"),
        ],
    )
    def test_refusals(self, changes: dict[str, str | None], message: str) -> None:
        mounted, other = volume(path={"web": "/data"}), volume("logs", path={"worker": "/logs"})
        with pytest.raises(InvalidInputError, match=message):
            remounted(mounted, changes, others=[mounted, other], structure={"web", "worker"})

    def test_what_is_in_use_stays(self) -> None:
        refuse_mounted(volume(), structure={"web"})
        refuse_mounted(volume(path={"gone": "/x"}), structure={"web"})
        for path in ({"web": "/x"}, {"web": "/x", "gone": "/x"}, {"run": "/x"}):
            with pytest.raises(InvalidInputError, match="this volume is mounting"):
                refuse_mounted(volume(path=path), structure={"web"})


class TestJobs:
    def test_by_default_what_run_has(self) -> None:
        volumes = [
            volume("two", path={"run": "/two"}),
            volume("web", path={"web": "/web"}),
            volume("one", path={"run": "/1"}),
        ]
        assert job_mounts(volumes, {}) == (Mount("one", "/1"), Mount("two", "/two"))
        assert mounts_of(volumes, "web") == (Mount("web", "/web"),)

    def test_what_is_asked_for(self) -> None:
        assert job_mounts([volume("data")], {"data": "/x/"}) == (Mount("data", "/x"),)

    @pytest.mark.parametrize(
        ("requested", "message"),
        [
            ({"v1": "/data"}, "The length of ptype must be between 3 and 63"),
            ({"data": "data"}, "Volume path format: /path"),
            ({"none": "/data"}, "volume none is not one of this app, which has: data, logs"),
            ({"data": "/x", "logs": "/x/"}, "two volumes cannot be mounted at one path"),
        ],
    )
    def test_refusals(self, requested: dict[str, str], message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            job_mounts([volume("logs"), volume("data")], requested)

    def test_an_app_without_volumes(self) -> None:
        with pytest.raises(InvalidInputError, match="volume data is not one of this app, which has none"):
            job_mounts([], {"data": "/x"})


def test_what_the_engine_is_told() -> None:
    spec = volume_spec(volume(type="oss", size="0G", parameters={"oss": OSS}))
    assert spec == VolumeSpec("data", "oss", None, {"oss": OSS})
    assert "SK-secret" not in repr(spec)
    assert volume_spec(volume()).size_gib == 5


class TestFilePaths:
    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("", ""),
            ("/", ""),
            ("a", "a"),
            ("/a/b/", "a/b"),
            ("a//./b", "a/b"),
            ("a b%2F..c", "a b%2F..c"),
            ("...", "..."),
        ],
    )
    def test_clean(self, text: str, path: str) -> None:
        assert clean_path(text) == path

    @pytest.mark.parametrize("text", ["..", "a/../b", "/..", "a\0b", "x" * 256, "é" * 128, "a/" * 3000, "\udc80"])
    def test_refused(self, text: str) -> None:
        with pytest.raises(InvalidInputError):
            clean_path(text)

    @given(st.text(max_size=40))
    def test_a_path_never_leaves_the_volume(self, text: str) -> None:
        try:
            parts = clean_path(text).split("/")
        except InvalidInputError:
            return
        assert parts == [""] or not {"", ".", ".."} & set(parts)

    def test_names_of_uploads(self) -> None:
        texts = ("f.txt", "dd/sub/f.txt", "C:\\dd\\f.txt", "dd/", "..", "a/..", "")
        assert [base_name(text) for text in texts] == ["f.txt", "f.txt", "f.txt", "", "", "", ""]
