"""Environment variables of a config: checking what was sent, merging it, and what a process type gets to see.

Texts about wrong items never repeat values: they are secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from controller.domain.names import KEY_MESSAGE, key_problem, ptype_problem
from controller.domain.releases import ConfigData, ConfigValue
from controller.domain.shown import brief, wrong_type

GLOBAL_GROUP: Final = "global"
PORT: Final = "PORT"
DEFAULT_PORT: Final = 5000
DEPLOY_TIMEOUT: Final = "DRYCC_DEPLOY_TIMEOUT"
GRACE_PERIOD: Final = "KUBERNETES_POD_TERMINATION_GRACE_PERIOD_SECONDS"
_NUMERIC: Final = (DEPLOY_TIMEOUT, GRACE_PERIOD, "DRYCC_DEPLOY_BATCHES")
_SHAPES: Final = ({"name", "value", "ptype"}, {"name", "value", "group"})


@dataclass(frozen=True)
class ValueChange:
    """One variable of a request. `value` None or "" unsets one that is set."""

    name: str
    value: str | None = field(repr=False)
    group: str | None = None
    ptype: str | None = None

    @property
    def key(self) -> tuple[str, str | None, str | None]:
        """Which variable it is."""
        return (self.name, self.ptype, self.group)


def parse_values(raw: object) -> tuple[tuple[ValueChange, ...], str | None]:
    """The changes in `raw`, or none and what is wrong with it."""
    if not isinstance(raw, list):
        return (), wrong_type(_masked(raw), "array")
    changes = []
    for item in raw:
        if not _well_formed(item):
            items = ", ".join(_masked(other) for other in raw)
            problem = f"{brief(_masked(item))} is not valid under any of the given schemas"
            return (), f"could not validate {brief(f'[{items}]')}: {problem}"
        change = ValueChange(item["name"], item["value"], item.get("group"), item.get("ptype"))
        if (message := change_problem(change)) is not None:
            return (), message
        changes.append(change)
    return tuple(changes), None


def change_problem(change: ValueChange) -> str | None:
    """What is wrong with the name, the scope or a number that the platform reads; None when nothing is."""
    if key_problem(change.name) or (change.group is not None and key_problem(change.group)):
        return KEY_MESSAGE
    if change.ptype is not None and (problem := ptype_problem(change.ptype)) is not None:
        return problem
    return _number_problem(change) if change.value else None


def merge_values(base: Sequence[ConfigValue], changes: Iterable[ValueChange]) -> tuple[ConfigValue, ...]:
    """`base` with the changes, one after the other; a changed variable moves to the end (API contract 4.5)."""
    values = {value.key: value for value in base}
    for change in changes:
        known = values.pop(change.key, None)
        if change.value is None or (known is not None and change.value == ""):
            continue
        values[change.key] = ConfigValue(change.name, change.value, group=change.group, ptype=change.ptype)
    return tuple(values.values())


def merge_refs(base: Mapping[str, Sequence[str]], changes: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """`base` with groups attached, in the order in which they were named: it decides who wins."""
    refs = {ptype: tuple(groups) for ptype, groups in base.items()}
    for ptype, groups in changes.items():
        refs[ptype] = tuple(dict.fromkeys((*refs.get(ptype, ()), *groups)))
    return refs


def detach_refs(base: Mapping[str, Sequence[str]], groups: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """`base` without the named groups; process types that are not named keep theirs."""
    kept = {
        ptype: tuple(group for group in attached if group not in groups.get(ptype, ()))
        for ptype, attached in base.items()
    }
    return {ptype: attached for ptype, attached in kept.items() if attached}


def user_env(config: ConfigData, ptype: str) -> dict[str, str]:
    """The variables of a type: the global group, then its attached groups in order, then its own (4.6)."""
    env: dict[str, str] = {}
    for group in (GLOBAL_GROUP, *config.values_refs.get(ptype, ())):
        env.update({value.name: value.value for value in config.values if value.group == group})
    env.update({value.name: value.value for value in config.values if value.ptype == ptype})
    return env


def seconds_of(env: Mapping[str, str], name: str) -> int | None:
    """A positive number of seconds in the environment; None when it is absent or no such number."""
    text = env.get(name, "")
    return int(text) or None if text.isascii() and text.isdigit() and len(text) < 8 else None


def port_of(env: Mapping[str, str]) -> int:
    """$PORT as configured, 5000 when it is not."""
    text = env.get(PORT, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) < 65536 else DEFAULT_PORT


def _well_formed(item: object) -> bool:
    if not isinstance(item, dict) or set(item) not in _SHAPES:
        return False
    scope = item.get("group", item.get("ptype"))
    value = item["value"]
    return isinstance(item["name"], str) and isinstance(scope, str) and (value is None or isinstance(value, str))


def _number_problem(change: ValueChange) -> str | None:
    """What is wrong with a variable that the platform itself reads as a number."""
    value = change.value or ""
    numeric = value.isascii() and value.isdigit()
    if change.name in (PORT, *_NUMERIC) and not numeric:
        return f"{change.name} can only be a numeric value"
    if change.name == PORT and (len(value) > 9 or not 0 < int(value) < 65536):
        return "PORT needs to be between 1 and 65535"
    if change.name in _NUMERIC and len(value) > 7:
        return f"{change.name} needs to be less than 10000000"
    return None


def _masked(item: object) -> str:
    """The item as Python prints it, with every value hidden."""
    if not isinstance(item, dict):
        return f"<{type(item).__name__}>" if isinstance(item, list) else repr("***")
    shown = {key: item[key] if key in ("name", "group", "ptype") else "***" for key in item}
    return repr(shown)
