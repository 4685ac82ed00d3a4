"""The containers of a build's pod, in the order in which they run: who runs what, and who sees what.

The table of the image builder's README is the contract. Whatever runs code of the app or of its buildpacks sees no
credentials, but for the one container in which a Dockerfile is built and pushed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from builder.runner.kubernetes.config import KubernetesRunnerConfig
from builder.runner.port import Plan

Part = Literal["request", "token", "config", "registry"]
"""Parts of the build's Secret."""
Directory = Literal["work", "workspace", "layers", "facts", "platform"]
"""Directories that the containers of a pod share."""

IN_MEMORY: Final = frozenset({"platform"})
"""Directories that hold secrets, and so never a disk."""
_PATHS: Final[Mapping[Directory, str]] = {
    "work": "/scratch",
    "workspace": "/workspace",
    "layers": "/layers",
    "facts": "/facts",
    "platform": "/platform",
}
_USER: Final = 1001
_ANALYZED, _GROUP, _REPORT = "-analyzed=/facts/analyzed.toml", "-group=/layers/group.toml", "-report=/facts/report.toml"
# To make a user namespace; in it, images are unpacked as they are and mounts are made, with no power outside.
_NAMESPACE_CAPABILITIES: Final = ("SETUID", "SETGID")


@dataclass(frozen=True)
class Step:
    """One container. `parts` are mounted below /build, read-only; `reads` and `writes` are shared directories."""

    name: str
    image: str
    command: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    writes: tuple[Directory, ...] = ()
    reads: tuple[Directory, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()

    @property
    def directories(self) -> Mapping[Directory, str]:
        """What it uses of those that are shared, and where it finds them."""
        return {name: _PATHS[name] for name in (*self.writes, *self.reads)}


def steps_of(plan: Plan, config: KubernetesRunnerConfig, *, image: str, cache: str, skips_cache: bool) -> list[Step]:
    """The containers that make `image`; `cache` is where layers are kept from one build to the next."""
    if plan.stack == "container":
        return [_dockerfiles(config)]
    return _phases(plan, config, image, cache, {"CNB_SKIP_LAYERS": "true"} if skips_cache else {})


def pod_security(plan: Plan) -> dict[str, Any]:
    """Who the containers of the pod are: all the same, for what one writes the next one changes."""
    if plan.stack == "container":  # RuntimeDefault forbids to make a user namespace
        return {"runAsUser": 0, "seccompProfile": {"type": "Unconfined"}}
    user, group = (plan.builder.user, plan.builder.group) if plan.builder else (_USER, _USER)
    who = {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": group, "fsGroup": group}
    return {**who, "seccompProfile": {"type": "RuntimeDefault"}}


def _dockerfiles(config: KubernetesRunnerConfig) -> Step:
    return Step(
        "build",
        config.imagebuilder_image,
        _own("container"),
        ("request", "token", "config", "registry"),
        ("work",),
        capabilities=_NAMESPACE_CAPABILITIES,
    )


def _phases(plan: Plan, config: KubernetesRunnerConfig, image: str, cache: str, env: Mapping[str, str]) -> list[Step]:
    """Credentials are in the phases that talk to the registry, the app's code in the others.

    A builder image that the app chose has its own programs in these others alone: they may look at the facts (what the
    app will run on) and change nothing of them.
    """
    chosen = plan.builder
    run_image = chosen.run_image if chosen else config.run_image
    owner = (f"-uid={chosen.user}", f"-gid={chosen.group}") if chosen else ()
    facts = (_ANALYZED,) if chosen else ()
    insecure = tuple(f"-insecure-registry={host}" for host in config.insecure_registries)
    cached = f"-cache-image={cache}"

    def phase(name: str, program: str, *arguments: str) -> Step:
        command = (f"/cnb/lifecycle/{program}", *arguments)
        return Step(name, config.builder_image, command, env={"CNB_PLATFORM_API": "0.12", **env})

    def talking(step: Step, *writes: Directory) -> Step:
        pushes = {**step.env, "DOCKER_CONFIG": "/build/registry"}
        return Step(step.name, step.image, step.command, ("registry",), ("facts", "layers", *writes), env=pushes)

    def building(step: Step) -> Step:
        image = chosen.image if chosen else step.image
        reads: tuple[Directory, ...] = ("platform", "facts") if chosen else ("platform",)
        return Step(step.name, image, step.command, (), ("workspace", "layers"), reads, step.env)

    own = config.imagebuilder_image
    return [
        Step("source", own, _own("source"), ("request", "token"), ("workspace",)),
        Step("platform", own, _own("buildpack", "platform"), ("config",), ("platform",)),
        talking(phase("analyze", "analyzer", _ANALYZED, f"-run-image={run_image}", *insecure, image)),
        building(phase("detect", "detector", *facts, _GROUP)),
        talking(phase("restore", "restorer", _ANALYZED, _GROUP, cached, *insecure)),
        building(phase("build", "builder", *facts, _GROUP)),
        talking(phase("export", "exporter", _ANALYZED, _GROUP, _REPORT, cached, *owner, *insecure, image), "workspace"),
        Step("finish", own, _own("buildpack", "finish"), ("request",), (), ("facts",)),
    ]


def _own(*words: str) -> tuple[str, ...]:
    return ("python3", "-m", "imagebuilder", *words)
