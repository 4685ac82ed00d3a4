"""The catalogue of limit plans: the shipped one, and what an operator may write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller.domain.configs import initial_config, parse_patch, with_default_limits
from controller.domain.errors import InvalidFieldsError, ObjectNotFoundError
from controller.domain.plans import Catalog
from controller.domain.plans_file import CatalogError, parse_catalog, read_catalog, shipped_catalog
from controller.domain.releases import ConfigData
from controller.settings import Settings, read_limits
from shared.errors import InvalidInputError
from shared.settings import SettingsError, load_settings

SPEC: dict[str, Any] = {"id": "big", "cpu": {"name": "Fast"}, "memory": {}, "keywords": ["Fast"]}


def catalog(*plans: dict[str, Any], specs: list[dict[str, Any]] | None = None) -> Catalog:
    return parse_catalog({"specs": specs or [SPEC], "plans": [{"spec": "big", **plan} for plan in plans]})


class TestTheShippedOne:
    def test_it_is_the_references(self) -> None:
        plans = shipped_catalog().plans()
        sizes = [(cpu, cpu * factor) for cpu in (1, 2, 4, 8, 16, 32, 64) for factor in (1, 2, 4, 8)]
        assert [(plan.cpu, plan.memory) for plan in plans] == sizes
        assert [plan.id for plan in plans] == [f"std1.large.c{cpu}m{memory}" for cpu, memory in sizes]
        assert [plan.priority for plan in plans] == list(range(10100, 12900, 100))

    def test_sizes_reach_the_pods(self) -> None:
        plan = shipped_catalog().get("std1.large.c4m16")
        assert plan.memory_bytes == 16 * 1024**3
        assert plan.limits == {"cpu": "4", "memory": "16Gi", "ephemeral-storage": "4Gi"}
        assert plan.requests == {"cpu": "1", "memory": "8Gi", "ephemeral-storage": "2Gi"}
        small = shipped_catalog().default
        assert (small.id, small.requests["cpu"], small.requests["memory"]) == ("std1.large.c1m1", "250m", "512Mi")

    def test_filters(self) -> None:
        shipped = shipped_catalog()
        assert {plan.cpu for plan in shipped.plans(cpu="2")} == {2}
        assert [plan.id for plan in shipped.plans(memory="4GB")] == [
            "std1.large.c1m4",
            "std1.large.c2m4",
            "std1.large.c4m4",
        ]
        assert shipped.plans(spec="other") == ()
        assert [spec.id for spec in shipped.specs(keywords="CPU, generic")] == ["std1"]
        assert shipped.specs(keywords="generic,arm") == ()
        with pytest.raises(InvalidInputError, match="cpu must begin with a number"):
            shipped.plans(cpu="many")


class TestAnOperatorsOne:
    def test_the_first_enabled_plan_is_the_default(self) -> None:
        made = catalog(
            {"id": "old", "priority": 1, "disabled": True}, {"id": "b", "priority": 5}, {"id": "a", "priority": 5}
        )
        assert made.default.id == "a"
        assert [plan.id for plan in made.plans()] == ["a", "b"]
        assert made.get("old").disabled
        assert made.plan_of(None) is made.plan_of("gone") is made.default
        assert made.plan_of("old").id == "old"
        with pytest.raises(ObjectNotFoundError, match="No LimitPlan matches"):
            made.get("gone")

    def test_specs_are_sorted_and_disabled_ones_hidden(self) -> None:
        specs = [
            {**SPEC, "id": "low", "priority": 1},
            {**SPEC, "id": "off", "disabled": True},
            {**SPEC, "id": "big", "priority": 9},
        ]
        assert [spec.id for spec in catalog({"id": "a"}, specs=specs).specs()] == ["big", "low"]

    @pytest.mark.parametrize("features", [{}, {"gpu": None}, {"gpu": {}}, {"gpu": {"memory": {}}}])
    def test_a_gpu_is_never_missing(self, features: dict[str, Any]) -> None:
        made = catalog({"id": "a", "features": {"gpu": None}}, specs=[{**SPEC, "features": features}])
        gpu: Any = made.specs()[0].features["gpu"]
        assert gpu == {"name": "none", "tmus": 0, "rops": 0, "cores": 0, "memory": {"size": "0GB", "type": ""}}
        assert made.default.features == {"gpu": 0, "network": 0}

    def test_what_is_given_stays(self) -> None:
        given = {"gpu": {"name": "A100", "memory": {"size": "80GB"}}, "network": "25G"}
        spec = catalog({"id": "a"}, specs=[{**SPEC, "features": given}]).specs()[0]
        gpu: Any = spec.features["gpu"]
        assert (gpu["name"], gpu["memory"], spec.features["network"]) == ("A100", {"size": "80GB", "type": ""}, "25G")
        assert spec.cpu == {"name": "Fast", "cores": 0, "clock": "", "boost": "", "threads": 0}

    @pytest.mark.parametrize(
        ("document", "problem"),
        [
            ([], "[] is not of type 'object'"),
            ({"specs": []}, "'plans' is a required property"),
            ({"specs": [SPEC], "plans": []}, "no plan is enabled"),
            ({"specs": [SPEC], "plans": [{"id": "a", "spec": "x"}]}, "plans: the spec x of a is not among the specs"),
            ({"specs": [SPEC], "plans": [{"id": "a", "spec": "big", "cpu": "1"}]}, "plans[0].cpu: '1' is not of type"),
            ({"specs": [SPEC], "plans": [{"id": "a b", "spec": "big"}]}, "plans[0].id: 'a b' does not match"),
            ({"specs": [SPEC], "plans": [{"id": "a", "spec": "big", "cores": 1}]}, "'cores' was unexpected"),
            ({"specs": [SPEC, SPEC], "plans": [{"id": "a", "spec": "big"}]}, "specs: the id big is there twice"),
            ({"specs": [SPEC], "plans": [{"id": "a", "spec": "big"}] * 2}, "plans: the id a is there twice"),
        ],
    )
    def test_a_bad_one_is_told_in_one_line(self, document: object, problem: str) -> None:
        with pytest.raises(CatalogError) as caught:
            parse_catalog(document)
        assert problem in str(caught.value)
        assert "\n" not in str(caught.value)


class TestTheFile:
    def test_it_is_read(self, tmp_path: Path) -> None:
        file = tmp_path / "limits.json"
        file.write_text(json.dumps({"specs": [SPEC], "plans": [{"id": "only", "spec": "big"}]}))
        assert read_limits(file).default.id == "only"
        assert read_limits(None) is shipped_catalog()

    @pytest.mark.parametrize(("content", "problem"), [(None, "cannot be read"), ("{", "is no JSON"), ("[]", "not of")])
    def test_a_bad_one_stops_the_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, problem: str
    ) -> None:
        file = tmp_path / "limits.json"
        if content is not None:
            file.write_text(content)
        with pytest.raises(CatalogError):
            read_catalog(file)
        monkeypatch.setenv("CONTROLLER_LIMITS_FILE", str(file))
        with pytest.raises(SettingsError) as caught:
            load_settings(Settings)
        line = next(line for line in str(caught.value).splitlines() if "LIMITS_FILE" in line)
        assert problem in line
        assert str(file) in line


class TestConfigs:
    def test_only_what_is_offered_can_be_set(self) -> None:
        made = catalog({"id": "a"}, {"id": "off", "disabled": True})
        assert parse_patch({"limits": {"web": "a"}}, made).fields == {"limits": {"web": "a"}}
        for plan in ("off", "std1.large.c1m1", 5, ["a"]):
            with pytest.raises(InvalidFieldsError) as caught:
                parse_patch({"limits": {"web": plan}}, made)
            assert caught.value.errors == {"limits": [f"The limit plan {plan} does not exist"]}

    def test_the_default_is_the_catalogues(self) -> None:
        made = catalog({"id": "tiny"})
        assert initial_config(made).limits == {"web": "tiny", "run": "tiny"}
        assert with_default_limits(ConfigData(limits={"web": "x"}), ["web", "cron"], made).limits == {
            "web": "x",
            "cron": "tiny",
        }
