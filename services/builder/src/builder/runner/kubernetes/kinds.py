"""The kinds of objects that a build is made of, and those that tell how it goes."""

from __future__ import annotations

from typing import Final

from shared.kubernetes.kinds import Kind, Kinds

JOB: Final = Kind("Job", "jobs", versions=("batch/v1",))
POD: Final = Kind("Pod", "pods")
SECRET: Final = Kind("Secret", "secrets")
EVENT: Final = Kind("Event", "events")
KINDS: Final = Kinds((JOB, POD, SECRET, EVENT))
FIELD_MANAGER: Final = "workflow-builder"

BUILD: Final = "workflow.dev/build"
APP: Final = "workflow.dev/app"
