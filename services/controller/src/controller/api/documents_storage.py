"""The JSON of limit plans, volumes, their files, and resources (controller-api.md 3.6, 3.21-3.23)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from controller.api.documents import Created, Timestamp


class CpuDocument(TypedDict):
    """The processor of a spec."""

    name: str
    cores: int
    clock: str
    boost: str
    threads: int


class MemoryDocument(TypedDict):
    """Memory for people to read, e.g. 64GB of DDR4."""

    size: str
    type: str


class GpuDocument(TypedDict):
    """A graphics processor; clients read it unasked, so it is always there."""

    name: str
    tmus: int
    rops: int
    cores: int
    memory: MemoryDocument


class SpecFeatures(TypedDict):
    """What a spec has besides."""

    gpu: GpuDocument
    network: str


class SpecDocument(TypedDict):
    """A kind of machine."""

    id: str
    cpu: CpuDocument
    memory: MemoryDocument
    features: SpecFeatures
    disabled: bool


class PlanFeatures(TypedDict):
    """How many of the spec's features a plan has."""

    gpu: int
    network: int


class PlanDocument(TypedDict):
    """A size: `cpu` cores and `memory` GiB of a spec."""

    id: str
    spec: SpecDocument
    cpu: int
    memory: int
    features: PlanFeatures
    disabled: bool


class VolumeDocument(Created):
    """A volume; `path` is process type to where it is mounted."""

    app: str
    owner: str
    name: str
    size: str
    type: str
    path: dict[str, str]
    parameters: dict[str, object]


class _VolumeFacts(TypedDict, total=False):
    size: str
    type: Literal["csi", "nfs", "oss"]
    parameters: dict[str, object]


class VolumeRequest(_VolumeFacts):
    """A new volume; `parameters` holds those of its type, under the name of the type."""

    name: str


class ExpandRequest(TypedDict):
    """The new size of a volume, e.g. 10G."""

    size: str


class MountRequest(TypedDict):
    """Process type to where the volume is mounted; null unmounts it."""

    path: dict[str, str | None]


class FileDocument(TypedDict):
    """A file or a directory in a volume; `path` begins at its root."""

    name: str
    path: str
    size: Annotated[str, Field(pattern=r"^\d+$")]
    type: Literal["file", "dir"]
    timestamp: Timestamp


class ServiceClassDocument(TypedDict):
    """A class of resources that the service broker offers."""

    id: str
    name: str
    updateable: bool


class ServicePlanDocument(TypedDict):
    """A size of a class of resources."""

    id: str
    name: str
    description: str


class ResourceDocument(Created):
    """A resource. `data` is what connects to it, once it is bound; all values are texts."""

    app: str
    owner: str
    name: str
    plan: str
    data: dict[str, str]
    options: dict[str, str]
    status: str | None
    binding: str | None


class ResourceDetails(ResourceDocument):
    """A resource as the broker sees it now."""

    message: str | None


class _ResourceFacts(TypedDict, total=False):
    options: dict[str, object]


class ResourceRequest(_ResourceFacts):
    """A new resource; `plan` is `<class>:<plan>`."""

    name: str
    plan: str


class ResourceChange(_ResourceFacts):
    """Another plan of the same class, and options to merge."""

    plan: str


class BindingRequest(TypedDict):
    """What to do with the binding of a resource."""

    bind_action: Literal["bind", "unbind"]
