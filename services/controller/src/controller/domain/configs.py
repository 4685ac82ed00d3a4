"""A change of a config: from the request's JSON to a checked patch, and from a base and a patch to the next config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from controller.domain.builds import declared_values
from controller.domain.config_fields import CHECKERS, Entry, FieldProblem, merge_entries, parse_field
from controller.domain.config_values import ValueChange, merge_refs, merge_values, parse_values
from controller.domain.errors import InvalidFieldsError, MissingKeyError
from controller.domain.fields import NULL
from controller.domain.json_text import parse_json
from controller.domain.names import KEY_MESSAGE, key_problem, ptype_problem
from controller.domain.plans import Catalog
from controller.domain.releases import Build, BuildRequest, ConfigData
from controller.domain.shown import shown
from shared.errors import InvalidInputError


@dataclass(frozen=True)
class ConfigPatch:
    """What a request changes. An empty list in `values_refs` detaches all groups of that type."""

    values: tuple[ValueChange, ...] = ()
    values_refs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, Entry]] = field(default_factory=dict, repr=False)


def parse_patch(body: Mapping[str, object], catalog: Catalog) -> ConfigPatch:
    """The patch in a request; unknown keys are ignored. `catalog` has the limit plans that there are.

    Raises:
        InvalidFieldsError: all that is wrong, by field.
    """
    errors: dict[str, list[str]] = {}
    values: tuple[ValueChange, ...] = ()
    refs: dict[str, tuple[str, ...]] = {}
    fields: dict[str, Mapping[str, Entry]] = {}
    for name in ("values", "values_refs", *CHECKERS):
        if name not in body:
            continue
        try:
            raw = _decoded(name, body[name])
            if name == "values":
                values = _values(raw)
            elif name == "values_refs":
                refs = parse_refs(raw)
            else:
                fields[name] = parse_field(name, raw, catalog)
        except FieldProblem as problem:
            errors[name] = [str(problem)]
    if errors:
        raise InvalidFieldsError(errors)
    return ConfigPatch(values, refs, fields)


def parse_refs(raw: object) -> dict[str, tuple[str, ...]]:
    """Process type -> groups; null counts as the empty list.

    Raises:
        FieldProblem: what is wrong.
    """
    if not isinstance(raw, Mapping):
        raise FieldProblem(f"Expected a dictionary, but got {type(raw).__name__}.")
    refs = {}
    for ptype, groups in raw.items():
        if (problem := ptype_problem(ptype)) is not None:
            raise FieldProblem(problem)
        listed = [] if groups is None else groups
        if not isinstance(listed, list) or not all(isinstance(group, str) for group in listed):
            raise FieldProblem(f"could not validate {shown(groups)}: it is not a list of group names")
        if any(map(key_problem, listed)):
            raise FieldProblem(KEY_MESSAGE)
        refs[ptype] = tuple(dict.fromkeys(listed))
    return refs


def parse_detach(body: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """The groups that a DELETE of a config wants detached.

    Raises:
        InvalidInputError: it names none.
        InvalidFieldsError: it is malformed.
    """
    raw = body.get("values_refs")
    if raw is None or raw == {}:
        raise InvalidInputError("ptype or groups is required")
    try:
        return parse_refs(raw)
    except FieldProblem as problem:
        raise InvalidFieldsError.of("values_refs", str(problem)) from None


def apply_patch(base: ConfigData, patch: ConfigPatch) -> ConfigData:
    """The next config.

    Raises:
        MissingKeyError: the patch removes what is not there (422).
    """
    return replace(
        base,
        values=merge_values(base.values, patch.values),
        values_refs=_merged_refs(base.values_refs, patch.values_refs),
        **{name: merge_entries(name, getattr(base, name), changes) for name, changes in patch.fields.items()},
    )


def with_default_limits(config: ConfigData, ptypes: Sequence[str], catalog: Catalog) -> ConfigData:
    """The config as it takes effect: a process type without a plan has the default one."""
    missing = {ptype: catalog.default.id for ptype in ptypes if ptype not in config.limits}
    return replace(config, limits={**config.limits, **missing}) if missing else config


def initial_config(catalog: Catalog) -> ConfigData:
    """The config of a new app."""
    return ConfigData(limits={"web": catalog.default.id, "run": catalog.default.id})


def config_from_build(base: ConfigData, build: Build | BuildRequest) -> ConfigData:
    """`base` with what the build's dryccfile configures; `base` itself when it configures nothing (4.10)."""
    dryccfile = cast("Mapping[str, Any]", build.dryccfile)
    pipelines = list(dryccfile.get("pipeline", {}).values())
    owners = {pipe["ptype"] for pipe in pipelines if "env" in pipe or "config" in pipe}
    if not owners and "config" not in dryccfile:
        return base
    changes = declared_values(dryccfile)
    # What is declared is set: an empty text over an old one would unset it (4.5).
    named = {change.key for change in changes}
    values = [value for value in base.values if value.ptype not in owners and value.key not in named]
    refs = {ptype: groups for ptype, groups in base.values_refs.items() if ptype not in owners}
    attached = {pipe["ptype"]: tuple(pipe["config"]) for pipe in pipelines if pipe.get("config")}
    return replace(base, values=merge_values(values, changes), values_refs=merge_refs(refs, attached))


def _values(raw: object) -> tuple[ValueChange, ...]:
    changes, problem = parse_values(raw)
    if problem is not None:
        raise FieldProblem(problem)
    return changes


def _decoded(name: str, raw: object) -> object:
    if raw is None:
        raise FieldProblem(NULL)
    if not isinstance(raw, str) or name == "values_refs":
        return raw
    # Clients before 2.0 sent each field as a text that holds JSON.
    try:
        return parse_json(raw)
    except ValueError:
        raise FieldProblem("Value must be valid JSON.") from None


def _merged_refs(
    base: Mapping[str, Sequence[str]], changes: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    refs = merge_refs(base, {ptype: groups for ptype, groups in changes.items() if groups})
    for ptype, groups in changes.items():
        if groups:
            continue
        if ptype not in refs:
            raise MissingKeyError(ptype, "values_refs")
        del refs[ptype]
    return refs
