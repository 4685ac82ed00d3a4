"""What the memory engine remembers of an app."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from controller.domain.spec import AppSpec, Failure, InstanceState, JobSpec, JobState, ProcessSpec, PtypeState
from controller.engine.memory_io import LineLog

_RUN: Final = "run"


@dataclass
class Group:
    """One process type: what is wanted and which instances there are."""

    spec: ProcessSpec
    instances: list[InstanceState] = field(default_factory=list)
    failure: Failure | None = None

    @property
    def outdated(self) -> bool:
        """New instances would be needed to get where the spec wants to be."""
        return self._updated() < self.spec.replicas

    def settle(self, app: str, now: datetime) -> None:
        """Have exactly the instances that the spec wants; those that fit it already stay."""
        kept = [instance for instance in self.instances if instance.fingerprint == self.spec.fingerprint]
        kept = kept[: self.spec.replicas]
        while len(kept) < self.spec.replicas:
            kept.append(_instance(app, self.spec, now))
        self.instances = kept

    def state(self) -> PtypeState:
        """How far it is."""
        wanted, updated = self.spec.replicas, self._updated()
        return PtypeState(
            ptype=self.spec.ptype,
            fingerprint=self.spec.fingerprint,
            ready=len(self.instances),
            updated=updated,
            desired=wanted,
            settled=updated == wanted == len(self.instances) and self.failure is None,
            failure=self.failure,
        )

    def _updated(self) -> int:
        return sum(instance.fingerprint == self.spec.fingerprint for instance in self.instances)


@dataclass
class KnownApp:
    """An app with its process types, one-offs and log."""

    spec: AppSpec
    groups: dict[str, Group] = field(default_factory=dict)
    jobs: dict[str, tuple[JobSpec, JobState]] = field(default_factory=dict)
    log: LineLog = field(default_factory=LineLog)

    def instances(self) -> tuple[InstanceState, ...]:
        """Everything that runs or ran: instances and one-offs."""
        running = [instance for group in self.groups.values() for instance in group.instances]
        return (*running, *(_job_instance(job, state) for job, state in self.jobs.values()))


def _instance(app: str, spec: ProcessSpec, now: datetime) -> InstanceState:
    return InstanceState(
        name=f"{app}-{spec.ptype}-{secrets.token_hex(5)}",
        ptype=spec.ptype,
        release=spec.release,
        state="up",
        started_at=now,
        ready=True,
        restarts=0,
        exit_code=None,
        fingerprint=spec.fingerprint,
    )


def _job_instance(job: JobSpec, state: JobState) -> InstanceState:
    return InstanceState(
        name=job.name,
        ptype=_RUN,
        release=job.process.release,
        state=state.state,
        started_at=state.started_at,
        ready=False,
        restarts=0,
        exit_code=state.exit_code,
        fingerprint=job.process.fingerprint,
    )
