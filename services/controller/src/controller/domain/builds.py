"""What a build may be made of, which process types it has, and how each of them is started."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from controller.domain.config_values import ValueChange, change_problem
from controller.domain.fields import FieldChecker
from controller.domain.names import WEB, ptype_problem
from controller.domain.releases import Build, BuildRequest
from controller.domain.schemas import DRYCCFILE, JsonPath, schema_problem
from controller.domain.shown import wrong_type
from shared.errors import ConflictError, InvalidInputError

EMPTY_COMMAND = "Command can't be empty for process type"
LOOPBACK = "image must not use the loopback address"
PROCFILE_MISSING = (
    "Last deployment had a Procfile but is missing in this deploy. For a successful deployment provide a Procfile."
)
IMAGE_MESSAGE = "This is not the name of an image, e.g. registry.example.org/shop:1.4"

WORKSPACE_PREFIX = "workspace/"
"""Before the name of what a builder without containers has made: a directory of the machine."""

LOCAL_PREFIXES = (WORKSPACE_PREFIX, "localhost/workflow/", "workflow/")
"""Before the names of what builders of one machine have made; the last one is Podman's short name of the second."""

_LOOPBACK_IMAGE = re.compile(r"(localhost|127\.0\.0\.1)(:\d+)?/")

# As registries have it: [host[:port]/]path[:tag][@digest]. Engines hand it to programs: it must never be an option.
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
IMAGE_PATTERN = (
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@[a-z0-9]+:[0-9a-f]{{32,128}})?"
)
LONGEST_IMAGE = 1024
MOST_PTYPES = 100
_IMAGE = re.compile(IMAGE_PATTERN)

Pipeline = Mapping[str, Any]


@dataclass(frozen=True)
class Start:
    """How a process type is started: a Procfile line for a shell, or command and arguments of an image."""

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    shell: str | None = None


@dataclass(frozen=True)
class ReleaseJob:
    """One command of the release phase; it runs with the environment of its own process type."""

    ptype: str
    start: Start
    timeout_seconds: int | None


def check_build(
    body: Mapping[str, object], *, null_is_empty: bool = False, allow_loopback: bool = False
) -> BuildRequest:
    """The build that `body` asks for. `null_is_empty` and `allow_loopback` are for builders, which are trusted.

    Raises:
        InvalidFieldsError: fields are missing or malformed.
        InvalidInputError: the image is on this machine, or the build has no process type.
    """
    check = FieldChecker(body)
    request = BuildRequest(
        image=check.text("image", required=True),
        stack=check.text("stack", required=True, most=32),
        sha=check.text("sha", most=40, null=null_is_empty),
        procfile=cast("Mapping[str, str]", check.mapping("procfile", _procfile_problem, null=null_is_empty)),
        dryccfile=check.mapping("dryccfile", _dryccfile_problem, null=null_is_empty, hidden=True),
        dockerfile=check.text("dockerfile", null=null_is_empty),
    )
    if request.image and not _is_image(request.image):
        check.fail("image", IMAGE_MESSAGE)
    check.finish()
    if request.dryccfile and not request.dryccfile["pipeline"]:
        raise InvalidInputError("skip deploy, ptypes are not within the optional range: []")
    if _LOOPBACK_IMAGE.match(request.image) and not allow_loopback:
        raise InvalidInputError(LOOPBACK)
    return request


def check_owner(build: Build | BuildRequest, app: str) -> None:
    """Refuse what was built on this machine for another app: its owner alone may see or run that.

    Raises:
        InvalidInputError: the build, or a part of it, names such an image.
    """
    own = tuple(f"{prefix}{app}:" for prefix in LOCAL_PREFIXES)
    for image in (build.image, *_named_images(_pipelines(build))):
        if image.startswith(LOCAL_PREFIXES) and not image.startswith(own):
            raise InvalidInputError(f"{image} was built for another app")


def after_procfile(
    request: BuildRequest, previous: Build | None, *, reject_missing: bool, remove_missing: bool
) -> BuildRequest:
    """What a build is when the one before had a Procfile and this one has none (controller-api.md 4.9): the process
    types of the old Procfile go (`remove_missing`), or it counts for the new build as well.

    Raises:
        ConflictError: the operator wants such builds refused (`reject_missing`, which wins).
    """
    is_missing = not request.procfile and not request.dryccfile
    if previous is None or not previous.procfile or not is_missing:
        return request
    if reject_missing:
        raise ConflictError(PROCFILE_MISSING)
    return request if remove_missing else replace(request, procfile=dict(previous.procfile))


def ptypes_of(build: Build | BuildRequest | None) -> tuple[str, ...]:
    """The process types of a build, in the order in which it names them; none without a build."""
    if build is None:
        return ()
    if build.dryccfile:
        return tuple(str(pipeline["ptype"]) for pipeline in _pipelines(build))
    return tuple(build.procfile) or (WEB,)


def start_of(build: Build, ptype: str) -> Start:
    """How `ptype` of this build is started. A type that the build does not know runs the image as it is."""
    if build.dryccfile:
        pipeline = _pipeline(build, ptype)
        deploy = cast("Mapping[str, Any]", pipeline.get("deploy", {}))
        return Start(
            image=_image(build, ptype, deploy),
            command=tuple(deploy.get("command", ())),
            args=tuple(deploy.get("args", ())),
        )
    line = build.procfile.get(ptype)
    if line is None:
        return Start(image=build.image)
    if build.dockerfile or not build.sha:
        return Start(image=build.image, args=tuple(line.split()))
    return Start(image=build.image, shell=line)


def release_jobs(build: Build, ptypes: tuple[str, ...]) -> tuple[ReleaseJob, ...]:
    """The commands to run before `ptypes` roll, in the order of the pipelines."""
    jobs = []
    for pipeline in _pipelines(build):
        run = cast("Mapping[str, Any] | None", pipeline.get("run"))
        ptype = str(pipeline["ptype"])
        if run is None or ptype not in ptypes:
            continue
        start = Start(
            image=_image(build, ptype, run),
            command=tuple(run.get("command", ())),
            args=tuple(run.get("args", ())),
        )
        jobs.append(ReleaseJob(ptype, start, run.get("timeout")))
    return tuple(jobs)


def declared_values(dryccfile: Mapping[str, Any]) -> list[ValueChange]:
    """The variables in a dryccfile: those of its groups, then those of its process types."""
    changes = [
        ValueChange(name, text, group=group)
        for group, entries in dryccfile.get("config", {}).items()
        for name, text in entries.items()
    ]
    for pipeline in dryccfile["pipeline"].values():
        changes += [ValueChange(name, text, ptype=pipeline["ptype"]) for name, text in pipeline.get("env", {}).items()]
    return changes


def _pipelines(build: Build | BuildRequest) -> tuple[Pipeline, ...]:
    pipelines = cast("Mapping[str, Pipeline]", build.dryccfile.get("pipeline", {}))
    return tuple(pipelines.values())


def _named_images(pipelines: Iterable[Pipeline]) -> list[str]:
    sections = [section for pipeline in pipelines for section in (pipeline.get("deploy"), pipeline.get("run"))]
    return [str(section["image"]) for section in sections if section and section.get("image")]


def _is_image(name: str) -> bool:
    return len(name) <= LONGEST_IMAGE and _IMAGE.fullmatch(name) is not None


def _pipeline(build: Build, ptype: str) -> Pipeline:
    return next((pipeline for pipeline in _pipelines(build) if pipeline["ptype"] == ptype), {})


def _image(build: Build, ptype: str, section: Mapping[str, Any]) -> str:
    """`image` of the section if given, else that of the type; the name of a type with a `build` means its image."""
    built = {str(pipeline["ptype"]) for pipeline in _pipelines(build) if "build" in pipeline}
    named = str(section.get("image") or (ptype if ptype in built else build.image))
    if named not in built:
        return named
    return build.image if named == WEB else f"{build.image}-{named}"


def _count_problem(count: int) -> str | None:
    if count <= MOST_PTYPES:
        return None
    return f"{count} process types are more than the {MOST_PTYPES} that an app may have: split it into several apps"


def _procfile_problem(procfile: Mapping[str, object]) -> str | None:
    if (problem := _count_problem(len(procfile))) is not None:
        return problem
    for ptype, command in procfile.items():
        if (problem := ptype_problem(ptype)) is not None:
            return problem
        if command is None or command == "":
            return EMPTY_COMMAND
        if not isinstance(command, str):
            return wrong_type(repr(command), "string")
        if not command.strip():
            return EMPTY_COMMAND
    return None


def _dryccfile_problem(dryccfile: Mapping[str, object]) -> str | None:
    if not dryccfile:
        return None
    if (problem := schema_problem(dryccfile, DRYCCFILE, hides=_is_variable)) is not None:
        return problem
    pipelines = cast("Mapping[str, Pipeline]", dryccfile["pipeline"])
    ptypes = [str(pipeline["ptype"]) for pipeline in pipelines.values()]
    problem = _count_problem(len(ptypes)) or next(filter(None, map(ptype_problem, ptypes)), None)
    if problem is not None:
        return problem
    if len(set(ptypes)) < len(ptypes):
        return "Pipeline's ptype must be unique"
    if not all(map(_is_image, _named_images(pipelines.values()))):
        return IMAGE_MESSAGE
    return next(filter(None, map(change_problem, declared_values(dryccfile))), None)


def _is_variable(path: JsonPath) -> bool:
    """Whether a variable's value stands there: in a group, in the environment of a type or of its build."""
    return path[:1] == ["config"] or "env" in path or "arg" in path
