"""Limit plans, the sizes that a process can have, and the machines (specs) that they are cut from: the catalogue.

`domain.plans_file` reads it; where the operator gives none, the shipped one counts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from controller.domain.errors import ObjectNotFoundError
from shared.errors import InvalidInputError

_GIB: Final = 1024**3
_WORDS: Final = re.compile(r"\w+")
_LEADING_NUMBER: Final = re.compile(r"\s*(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class LimitSpec:
    """A kind of machine. `cpu`, `memory` and `features` are for people to read; `features` always tells of a GPU."""

    id: str
    cpu: Mapping[str, object]
    memory: Mapping[str, object]
    features: Mapping[str, object]
    keywords: frozenset[str]
    disabled: bool = False
    priority: int = 100


@dataclass(frozen=True)
class LimitPlan:
    """A size. `cpu` counts cores, `memory` GiB, `features` GPUs and such.

    The rest is for engines that have it: resource `limits` and `requests`, and the pod's `annotations`, node selector,
    security contexts and runtime class, all in the words of Kubernetes.
    """

    id: str
    spec: LimitSpec
    cpu: int
    memory: int
    features: Mapping[str, object]
    disabled: bool = False
    priority: int = 100
    limits: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    pod_security_context: Mapping[str, object] = field(default_factory=dict)
    container_security_context: Mapping[str, object] = field(default_factory=dict)
    runtime_class_name: str = ""

    @property
    def memory_bytes(self) -> int:
        """The most memory that one instance may use."""
        return self.memory * _GIB


class NoPlanError(ValueError):
    """A catalogue without a plan that anybody may have."""


class Catalog:
    """What the platform offers: specs by falling, plans by rising priority. The first plan that is not disabled is the
    one that a process type has by default."""

    def __init__(self, specs: Collection[LimitSpec], plans: Collection[LimitPlan]) -> None:
        """The catalogue of these.

        Raises:
            NoPlanError: no plan is enabled.
        """
        self._specs = tuple(sorted(specs, key=lambda spec: (-spec.priority, spec.id)))
        self._plans = {plan.id: plan for plan in sorted(plans, key=lambda plan: (plan.priority, plan.id))}
        default = next((plan for plan in self._plans.values() if not plan.disabled), None)
        if default is None:
            raise NoPlanError("no plan is enabled")
        self.default: Final = default

    def get(self, plan_id: str) -> LimitPlan:
        """The plan of that id, enabled or not.

        Raises:
            ObjectNotFoundError: there is none.
        """
        plan = self._plans.get(plan_id)
        if plan is None:
            raise ObjectNotFoundError("LimitPlan")
        return plan

    def plan_of(self, plan_id: str | None) -> LimitPlan:
        """What a process type with that plan gets: the default for None and for one that is gone from the catalogue."""
        return self._plans.get(plan_id or "", self.default)

    def offers(self, plan_id: object) -> bool:
        """Whether process types may be given that plan."""
        plan = self._plans.get(plan_id) if isinstance(plan_id, str) else None
        return plan is not None and not plan.disabled

    def specs(self, *, keywords: str = "") -> tuple[LimitSpec, ...]:
        """The enabled specs that have every word of `keywords`, whatever stands between the words."""
        wanted = set(_WORDS.findall(keywords.lower()))
        return tuple(spec for spec in self._specs if not spec.disabled and wanted <= spec.keywords)

    def plans(self, *, spec: str = "", cpu: str = "", memory: str = "") -> tuple[LimitPlan, ...]:
        """The enabled plans of that spec, with so many cores and so much memory; empty means any, `4GB` means 4.

        Raises:
            InvalidInputError: `cpu` or `memory` does not begin with a number.
        """
        cores, size = _number("cpu", cpu), _number("memory", memory)
        return tuple(
            plan
            for plan in self._plans.values()
            if not plan.disabled
            and (not spec or plan.spec.id == spec)
            and cores in (None, plan.cpu)
            and size in (None, plan.memory)
        )


def _number(name: str, text: str) -> int | None:
    if not text:
        return None
    found = _LEADING_NUMBER.match(text)
    if found is None:
        raise InvalidInputError(f"{name} must begin with a number, e.g. {name}=4")
    return int(found[1])
