"""What apps are made of, as JSON: builds, configs, releases, settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from controller.api.documents import Created, Timestamp
from controller.domain.builds import IMAGE_PATTERN, LONGEST_IMAGE
from controller.domain.schemas import MOST_NUMBER

Handler = Annotated[dict[str, object], Field(description="A lifecycle handler as Kubernetes has it.")]
Ptype = Annotated[str, Field(pattern="^[a-z0-9]+(-[a-z0-9]+)*$", min_length=3, max_length=63)]
Word = Annotated[str, Field(pattern="^[A-z0-9_.-]+$")]
"""The name of a variable, of a group of them, or of an entry of `registry`."""
FileName = Annotated[str, Field(pattern="^[a-z0-9]+([.][a-z0-9]+)*$")]
Command = Annotated[str, Field(pattern=r"\S")]
Digits = Annotated[str, Field(pattern="^[0-9]+$")]
Image = Annotated[str, Field(pattern=f"^{IMAGE_PATTERN}$", max_length=LONGEST_IMAGE)]
Port = Annotated[int, Field(ge=1, le=65535)]
Some = Annotated[int, Field(ge=0, le=MOST_NUMBER)]
AtLeastOne = Annotated[int, Field(ge=1, le=MOST_NUMBER)]


class PipelineBuild(TypedDict, total=False):
    """How the image of a process type is built."""

    docker: str
    arg: dict[Word, str]


class PipelineRun(TypedDict, total=False):
    """A command of the release phase; `timeout` in seconds."""

    command: list[str]
    args: list[str]
    image: Image | Literal[""]
    timeout: AtLeastOne


class PipelineDeploy(TypedDict, total=False):
    """How a process type is started."""

    command: list[str]
    args: list[str]
    image: Image | Literal[""]


class Pipeline(TypedDict):
    """One process type of a dryccfile."""

    kind: Literal["pipeline"]
    ptype: Ptype
    deploy: PipelineDeploy
    build: NotRequired[PipelineBuild]
    run: NotRequired[PipelineRun]
    env: NotRequired[dict[Word, str]]
    config: NotRequired[list[Word]]


class Dryccfile(TypedDict, total=False):
    """Groups of variables under `config`, and files with one process type each under `pipeline`. Empty means none."""

    config: dict[FileName, dict[Word, str]]
    pipeline: dict[FileName, Pipeline]


class BuildRequest(TypedDict):
    """An image, and the processes that it has."""

    image: Image
    stack: Annotated[str, Field(max_length=32, examples=["container"])]
    sha: NotRequired[Annotated[str, Field(max_length=40)]]
    procfile: NotRequired[Annotated[dict[Ptype, Command], Field(examples=[{"web": "./serve", "worker": "./work"}])]]
    dryccfile: NotRequired[Dryccfile]
    dockerfile: NotRequired[str]


class BuildDocument(Created):
    """A build."""

    owner: str
    app: str
    image: str
    stack: str
    sha: str
    procfile: dict[str, str]
    dryccfile: dict[str, object]
    dockerfile: str


class NoBuildDocument(TypedDict):
    """What stands for the build of a release that has none."""

    app: None
    image: Literal[""]
    stack: Literal[""]
    sha: Literal[""]
    procfile: None
    dryccfile: None
    dockerfile: Literal[""]


class GroupVariable(TypedDict):
    """A variable of a group."""

    name: str
    group: str
    value: str


class TypeVariable(TypedDict):
    """A variable of one process type."""

    name: str
    ptype: str
    value: str


class GroupVariableChange(TypedDict):
    """A variable of a group to set, or with null to unset."""

    name: Word
    group: Word
    value: str | None


class TypeVariableChange(TypedDict):
    """A variable of one process type to set, or with null to unset."""

    name: Word
    ptype: Ptype
    value: str | None


class HttpHeader(TypedDict):
    """A header that a probe sends."""

    name: str
    value: str


class HttpGet(TypedDict):
    """A probe by HTTP."""

    port: Port
    path: NotRequired[str]
    host: NotRequired[str]
    scheme: NotRequired[str]
    httpHeaders: NotRequired[list[HttpHeader]]


class TcpSocket(TypedDict):
    """A probe by connecting."""

    port: Port


class ExecAction(TypedDict):
    """A probe by a command."""

    command: Annotated[list[str], Field(min_length=1)]


class Probe(TypedDict, total=False):
    """A probe as Kubernetes has it. Times are whole seconds."""

    exec: ExecAction
    httpGet: HttpGet
    tcpSocket: TcpSocket
    initialDelaySeconds: Some
    timeoutSeconds: AtLeastOne
    periodSeconds: AtLeastOne
    successThreshold: AtLeastOne
    failureThreshold: AtLeastOne


class Probes(TypedDict, total=False):
    """The probes of a process type."""

    livenessProbe: Probe
    readinessProbe: Probe
    startupProbe: Probe


class ProbesChange(TypedDict, total=False):
    """Probes to set, or with null to remove."""

    livenessProbe: Probe | None
    readinessProbe: Probe | None
    startupProbe: Probe | None


class ConfigRequest(TypedDict, total=False):
    """A change of the config; all but `values` is keyed by process type.

    Null for a process type, or for a key of its entry, removes that. `values_refs` are attached besides those that
    are there, an empty list detaches all. Texts that hold the JSON of a field are taken as well (old clients).
    """

    values: list[GroupVariableChange | TypeVariableChange]
    values_refs: dict[Ptype, list[Word] | None]
    limits: dict[Ptype, str | None]
    lifecycle_post_start: dict[Ptype, Handler | None]
    lifecycle_pre_stop: dict[Ptype, Handler | None]
    tags: dict[Ptype, dict[str, str | None] | None]
    registry: dict[Ptype, dict[Word, str | None] | None]
    healthcheck: dict[Ptype, ProbesChange | None]
    termination_grace_period: dict[Ptype, Digits | int | None]


class DetachRequest(TypedDict):
    """Groups of variables to detach, by process type."""

    values_refs: dict[Ptype, list[Word] | None]


class ConfigDocument(Created):
    """A config as it takes effect; all but `values` is keyed by process type. It holds secrets in the clear."""

    app: str
    owner: str
    values: list[GroupVariable | TypeVariable]
    values_refs: dict[str, list[str]]
    limits: dict[str, str]
    lifecycle_post_start: dict[str, Handler]
    lifecycle_pre_stop: dict[str, Handler]
    tags: dict[str, dict[str, str]]
    registry: dict[str, dict[str, str]]
    healthcheck: dict[str, Probes]
    termination_grace_period: dict[str, str]


class FailureDocument(TypedDict):
    """Why a deploy failed: a stable code, the process type, a sentence, the last lines of output, what to do."""

    code: str
    ptype: str
    message: str
    log: list[str]
    hint: str


class ConditionDocument(TypedDict):
    """The end of a rollout; `ptypes` are those that it was for."""

    state: Literal["succeed", "crashed", "superseded"]
    action: Literal["pipeline"]
    ptypes: list[str]
    created: Timestamp
    exception: NotRequired[str]
    failure: NotRequired[FailureDocument]
    rolled_back_to: NotRequired[int]


class ReleaseDocument(Created):
    """A release. `config` and `build` are ids; `conditions` are the ends of its rollouts, the newest first. `exception`
    says in one line why it failed, `failure` with all that is known."""

    app: str
    owner: str
    version: int
    state: Literal["created", "succeed", "crashed"]
    summary: str | None
    failed: bool
    exception: str | None
    failure: FailureDocument | None
    conditions: list[ConditionDocument]
    deployed_ptypes: list[str]
    config: str
    build: str | None


class DeployRequest(TypedDict, total=False):
    """Which process types to deploy (names with commas between them; default: all), and whether to replace instances
    that need not change."""

    ptypes: str | None
    force: bool


class RollbackRequest(TypedDict, total=False):
    """The release to go back to (default: the one before the current one), and for which process types."""

    version: int | str | None
    ptypes: str | None


class RollbackResult(TypedDict):
    """The new release."""

    version: int


class Autoscale(TypedDict):
    """How many instances there may be, and the CPU use in percent that decides it."""

    min: Some
    max: AtLeastOne
    cpu_percent: AtLeastOne


class SettingsRequest(TypedDict, total=False):
    """A change of the settings. Null for a process type under `autoscale`, or for a label, removes it."""

    routable: bool | None
    autodeploy: bool | None
    autorollback: bool | None
    autoscale: dict[Ptype, Autoscale | None] | None
    label: dict[str, Any] | None


class SettingsDocument(Created):
    """The settings of an app."""

    app: str
    owner: str
    autoscale: dict[str, Autoscale]
    label: dict[str, object]
    routable: bool
    autodeploy: bool
    autorollback: bool
