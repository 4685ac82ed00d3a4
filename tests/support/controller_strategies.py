"""Hypothesis strategies for what people send to the controller: names, configs and changes of them, builds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st

from controller.domain.configs import ConfigPatch, apply_patch, parse_patch
from controller.domain.plans import Catalog, LimitPlan, LimitSpec
from controller.domain.releases import ConfigData

Body = Mapping[str, Any]

laws: Final = settings(derandomize=True, max_examples=150, deadline=None)
"""How tests of laws run: the same examples each time, so that a change of the code alone turns them red."""

PTYPES: Final = ("web", "worker", "cron-job", "run")
GROUPS: Final = ("global", "shared", "g.1")
VARIABLES: Final = ("A", "b.c", "DEBUG", "X_Y-Z")
SPEC: Final = LimitSpec("std1", {}, {}, {}, frozenset({"std1"}))
PLANS: Final = ("small", "large")
CATALOG: Final = Catalog([SPEC], [LimitPlan(name, SPEC, 1, size, {}) for size, name in enumerate(PLANS, start=1)])

ptypes: Final = st.sampled_from(PTYPES)
groups: Final = st.sampled_from(GROUPS)
texts: Final = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)
json_values: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70000) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | ptypes, inner, max_size=3),
    max_leaves=8,
)
"""Anything that a parser of JSON may give."""

scopes: Final = st.one_of(st.builds(lambda g: {"group": g}, groups), st.builds(lambda p: {"ptype": p}, ptypes))


def variables(values: st.SearchStrategy[str | None]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Items of `values` of a config's change, each with one of `values`."""
    item = st.builds(lambda name, scope, value: {"name": name, "value": value, **scope}, names, scopes, values)
    return st.lists(item, max_size=6)


names: Final = st.sampled_from(VARIABLES)
credentials: Final = st.dictionaries(st.sampled_from(("username", "password", "hostname")), texts, max_size=3)
labels: Final = st.dictionaries(st.sampled_from(("disk", "example.org/rack")), st.sampled_from("abc"), min_size=1)
probes: Final = st.dictionaries(
    st.sampled_from(("livenessProbe", "readinessProbe", "startupProbe")),
    st.builds(lambda port: {"tcpSocket": {"port": port}}, st.integers(1, 65535)),
    max_size=2,
)
handlers: Final = st.builds(lambda words: {"exec": {"command": words}}, st.lists(texts, min_size=1, max_size=2))
ENTRIES: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "lifecycle_post_start": handlers,
    "lifecycle_pre_stop": handlers,
    "tags": labels,
    "limits": st.sampled_from(PLANS),
    "healthcheck": probes,
    "termination_grace_period": st.integers(0, 300).map(str),
    "registry": credentials,
}
"""Field of a config -> what may be set for a process type."""


def settings_of(fields: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Body]:
    """Changes that only set: entries of the fields, variables, groups that are attached."""
    optional: dict[str, st.SearchStrategy[Any]] = {
        name: st.dictionaries(ptypes, entry, max_size=3) for name, entry in fields.items()
    }
    attached = st.dictionaries(ptypes, st.lists(groups, min_size=1, max_size=3, unique=True), max_size=2)
    return st.fixed_dictionaries({}, optional={**optional, "values": variables(texts), "values_refs": attached})


changes: Final = settings_of(ENTRIES)
"""Bodies of requests that set something and remove nothing."""


def patch_of(body: Body) -> ConfigPatch:
    """The patch in that body."""
    return parse_patch(body, CATALOG)


def changed(base: ConfigData, body: Body) -> ConfigData:
    """The config after that change."""
    return apply_patch(base, patch_of(body))


configs: Final = st.lists(changes, max_size=2).map(
    lambda bodies: changed(changed(ConfigData(), bodies[0] if bodies else {}), bodies[-1] if bodies else {})
)
"""Configs as one or two changes leave them."""

commands: Final = texts.filter(lambda text: text.strip() != "")
procfiles: Final = st.dictionaries(ptypes, commands, max_size=4)


def pipelines() -> st.SearchStrategy[dict[str, Any]]:
    """The pipelines of a dryccfile, one for each of some process types."""

    def files(chosen: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
        return {f"{ptype.replace('-', '.')}.yaml": {"ptype": ptype, **rest} for ptype, rest in chosen}

    rest = st.fixed_dictionaries(
        {"kind": st.just("pipeline"), "deploy": st.just({"args": ["./serve"]})},
        optional={"env": st.dictionaries(names, texts, max_size=3), "config": st.lists(groups, max_size=3)},
    )
    return st.lists(st.tuples(ptypes, rest), min_size=1, max_size=3, unique_by=lambda pair: pair[0]).map(files)


dryccfiles: Final = st.fixed_dictionaries(
    {"pipeline": pipelines()},
    optional={"config": st.dictionaries(groups, st.dictionaries(names, texts, max_size=3), max_size=2)},
)
