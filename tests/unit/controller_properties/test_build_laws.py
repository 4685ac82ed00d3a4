"""Laws of builds: which are taken, which process types they have, what their dryccfile configures (4.9, 4.10)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from builder.domain.procfile import ProcfileError, parse_procfile
from controller.domain.builds import EMPTY_COMMAND, check_build, ptypes_of, start_of
from controller.domain.configs import config_from_build
from controller.domain.errors import InvalidFieldsError
from controller.domain.names import key_problem, ptype_problem
from controller.domain.releases import Build, BuildRequest, ConfigData
from shared.errors import InvalidInputError
from support.controller_strategies import (
    PTYPES,
    configs,
    dryccfiles,
    json_values,
    laws,
    procfiles,
    ptypes,
    texts,
)

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def checked(**facts: Any) -> BuildRequest:
    return check_build({"image": "registry.example.org/shop:1", "stack": "container", **facts})


def stored(request: BuildRequest) -> Build:
    return Build(UUID(int=1), "shop", "ana", NOW, NOW, **vars(request))


def refusal(**facts: Any) -> dict[str, list[str]] | None:
    """The fields that are refused, with why."""
    try:
        checked(**facts)
    except InvalidFieldsError as error:
        return error.errors
    return None


odd_procfiles = st.dictionaries(ptypes | texts, texts | st.just("") | st.none() | st.integers() | st.just(" "))


@laws
@given(odd_procfiles)
def test_a_procfile_is_taken_when_its_names_and_lines_are_good(procfile: dict[str, Any]) -> None:
    good_names = all(ptype_problem(name) is None for name in procfile)
    good_lines = all(isinstance(line, str) and line.strip() for line in procfile.values())
    refused = refusal(procfile=procfile)
    assert (refused is None) == (good_names and good_lines)
    if refused is not None:
        assert list(refused) == ["procfile"]
    if good_names and not good_lines and all(line is None or isinstance(line, str) for line in procfile.values()):
        assert refused == {"procfile": [EMPTY_COMMAND]}


@laws
@given(procfiles)
def test_process_types_are_those_of_the_procfile_in_its_order(procfile: dict[str, str]) -> None:
    build = stored(checked(procfile=procfile, sha="0123456789"))
    assert ptypes_of(build) == (tuple(procfile) or ("web",))
    for ptype in ptypes_of(build):
        start = start_of(build, ptype)
        assert (start.image, start.shell) == (build.image, procfile.get(ptype))


@laws
@given(st.text(max_size=60) | procfiles.map(lambda lines: "\n".join(f"{name}: {line}" for name, line in lines.items())))
def test_what_the_builder_reads_the_controller_takes(text: str) -> None:
    try:
        procfile = parse_procfile(text.encode("utf-8", "replace"))
    except ProcfileError:
        return
    assert refusal(procfile=procfile) is None
    assert ptypes_of(checked(procfile=procfile)) == tuple(procfile)


@laws
@given(st.dictionaries(st.sampled_from(["procfile", "dryccfile", "image", "stack", "sha", "dockerfile"]), json_values))
def test_any_build_is_taken_or_refused(body: dict[str, Any]) -> None:
    outcome = taken_or_refused(body)
    if isinstance(outcome, InvalidFieldsError):
        assert set(outcome.errors) <= {*body, "image", "stack"}
    elif isinstance(outcome, InvalidInputError):
        assert outcome.detail
    else:
        assert outcome.image
        assert outcome.stack
        assert all(ptype_problem(ptype) is None for ptype in ptypes_of(outcome))


def taken_or_refused(body: dict[str, Any]) -> BuildRequest | InvalidInputError:
    try:
        return check_build(body)
    except InvalidInputError as error:
        return error


# Names and values that a careless hand may put into an `env`.
odd_maps = st.dictionaries(texts | st.sampled_from(["A", "A B", "A\n", "X$", ""]), texts | st.integers(), max_size=2)


@laws
@given(odd_maps, odd_maps)
def test_what_a_dryccfile_configures_could_be_set_by_hand(env: dict[str, Any], group: dict[str, Any]) -> None:
    web = {"kind": "pipeline", "ptype": "web", "deploy": {}, "env": env}
    dryccfile = {"pipeline": {"web.yaml": web}, "config": {"shared": group}}
    names, values = [*env, *group], [*env.values(), *group.values()]
    sound = all(isinstance(value, str) for value in values) and all(key_problem(name) is None for name in names)
    assert (refusal(dryccfile=dryccfile) is None) == sound


@laws
@given(configs, dryccfiles)
def test_a_dryccfile_says_all_about_the_types_that_it_configures(base: ConfigData, dryccfile: dict[str, Any]) -> None:
    request = checked(dryccfile=dryccfile)
    after = config_from_build(base, request)
    pipelines = list(dryccfile["pipeline"].values())
    assert ptypes_of(request) == tuple(pipe["ptype"] for pipe in pipelines)
    told = {pipe["ptype"]: pipe for pipe in pipelines if "env" in pipe or "config" in pipe}
    for ptype in PTYPES:
        own = {value.name: value.value for value in after.values if value.ptype == ptype}
        if ptype in told:
            assert own == told[ptype].get("env", {})
            assert after.values_refs.get(ptype, ()) == tuple(dict.fromkeys(told[ptype].get("config", ())))
        else:
            assert own == {value.name: value.value for value in base.values if value.ptype == ptype}
            assert after.values_refs.get(ptype) == base.values_refs.get(ptype)


@laws
@given(configs, dryccfiles)
def test_groups_of_a_dryccfile_merge_over_those_that_are_there(base: ConfigData, dryccfile: dict[str, Any]) -> None:
    after = config_from_build(base, checked(dryccfile=dryccfile))
    before = {(value.group, value.name): value.value for value in base.values if value.group}
    told = {
        (group, name): text for group, entries in dryccfile.get("config", {}).items() for name, text in entries.items()
    }
    assert {(value.group, value.name): value.value for value in after.values if value.group} == {**before, **told}
    for field in ("limits", "tags", "registry", "healthcheck", "termination_grace_period"):
        assert getattr(after, field) == getattr(base, field)


@laws
@given(configs, dryccfiles)
def test_the_same_dryccfile_again_configures_nothing_new(base: ConfigData, dryccfile: dict[str, Any]) -> None:
    request = checked(dryccfile=dryccfile)
    once = config_from_build(base, request)
    assert config_from_build(once, request) == once
    silent = "config" not in dryccfile and not any(
        "env" in pipe or "config" in pipe for pipe in dryccfile["pipeline"].values()
    )
    assert (once is base) == silent
