"""The phases as programs: flags of the platform interface, exit codes, words for the pusher."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from phases.env import with_layer
from phases.errors import ANALYZE, BUILDPACK, EXPORT, RESTORE, PhaseError, tell
from phases.files import is_folder, read_bytes, read_toml, toml
from phases.group import detect, layers_of, named_group, read_group, run_build
from phases.images import Exporter, processes_of, restore, unsupported
from phases.registry import Image, Name, Registry, RegistryError

_PATHS = {
    "analyzed": "/layers/analyzed.toml",
    "app": "/workspace",
    "buildpacks": "/cnb/buildpacks",
    "group": "/layers/group.toml",
    "layers": "/layers",
    "order": "/cnb/order.toml",
    "plan": "/layers/plan.toml",
    "platform": "/platform",
    "report": "/layers/report.toml",
}
# What files and images of strangers lead to, which may say anything.
_ODD = (OSError, ValueError, KeyError, TypeError, AttributeError)
_TEXTS = ("cache-image", "previous-image", "run-image", "log-level")


def main(argv: list[str]) -> int:
    """Run the phase that `argv[0]` names; its exit code."""
    phases: dict[str, tuple[Callable[[argparse.Namespace], None], int]] = {
        "analyzer": (analyze, ANALYZE),
        "detector": (detect_group, 21),
        "restorer": (restore_layers, RESTORE),
        "builder": (build, BUILDPACK),
        "exporter": (export, EXPORT),
    }
    phase, status = phases[Path(argv[0]).name]
    try:
        phase(_parsed(argv))
    except PhaseError as error:
        tell(error)
        return error.status
    except RegistryError as error:
        tell(PhaseError(status, str(error), hint=_registry_hint(error)))
        return status
    except _ODD as error:
        tell(PhaseError(status, f"{Path(argv[0]).name}: {error}", code="disk-full" if _is_full(error) else "internal"))
        return status
    return 0


def analyze(options: argparse.Namespace) -> None:
    """Look at the images that the build starts from, and whether it may push, before anything else is done."""
    registry = Registry.from_environment(options.insecure_registry)
    image = Name.parse(options.images[0])
    registry.check_push(image)
    if options.run_image is None:
        raise PhaseError(ANALYZE, "no run image was named", code="internal")
    run_image = registry.find(Name.parse(options.run_image))
    if run_image is None:
        raise PhaseError(ANALYZE, f"the run image {options.run_image} does not exist", code="internal")
    previous = registry.find(Name.parse(options.previous_image)) if options.previous_image else None
    facts = {"reference": _pinned(run_image), "image": options.run_image, "target": _target(run_image)}
    table: dict[str, object] = {"run-image": facts}
    if previous is not None:
        table["image"] = {"reference": _pinned(previous)}
    options.analyzed.write_text(toml(table))


def detect_group(options: argparse.Namespace) -> None:
    """Choose buildpacks."""
    group = detect(options.order, options.buildpacks, options.app, options.platform)
    items = [{"id": buildpack.id, "version": buildpack.version, "api": "0.10"} for buildpack in group]
    options.group.write_text(toml({"group": items}))
    options.plan.write_text("")
    print(f"---> Buildpacks: {', '.join(buildpack.id for buildpack in group)}", flush=True)


def restore_layers(options: argparse.Namespace) -> None:
    """Lay out layers of earlier builds. A cache that cannot be used is no reason to fail."""
    if options.skip_layers or os.environ.get("CNB_SKIP_LAYERS", "").lower() in ("1", "true"):
        print("---> Starting without the cache, as asked", flush=True)
        return
    registry = Registry.from_environment(options.insecure_registry)
    group = named_group(options.group)
    try:
        cache = registry.find(Name.parse(options.cache_image)) if options.cache_image else None
        back = restore(registry, cache, _analyzed(registry, options.analyzed, "image"), group, options.layers)
    except (RegistryError, *_ODD) as error:
        print(f"---> Starting without the cache: {error}", flush=True)
        return
    if back:
        print(f"---> Restored from the cache: {', '.join(back)}", flush=True)


def build(options: argparse.Namespace) -> None:
    """Run the buildpacks, one after the other."""
    variables: dict[str, str] = {}
    for buildpack in read_group(options.group, options.buildpacks):
        places = {"app": options.app, "layers": options.layers, "platform": options.platform}
        code = run_build(buildpack, variables=variables, **places)
        if code:
            raise PhaseError(BUILDPACK, f"the buildpack {buildpack.id} failed (code {code}); its words are above")
        for layer in layers_of(buildpack, options.layers):
            if layer.build and is_folder(layer.path):
                before = {"PATH": os.environ.get("PATH", os.defpath)} | variables
                variables = with_layer(before, layer.path, launch=False)


def export(options: argparse.Namespace) -> None:
    """Push the image, then the cache, which may fail."""
    registry = Registry.from_environment(options.insecure_registry)
    group = named_group(options.group)
    for words in unsupported(group, options.layers):
        print(f"---> Warning: {words}", flush=True)
    if not processes_of(group, options.layers):
        hint = "add a Procfile with a line such as `web: ./server`"
        raise PhaseError(EXPORT, "nothing says how the app is started", code="no-procfile", hint=hint)
    run_image = _analyzed(registry, options.analyzed, "run-image")
    if run_image is None:
        raise PhaseError(EXPORT, "the run image is gone", code="internal")
    names = [Name.parse(text) for text in options.images]
    print("---> Pushing the image", flush=True)
    exporter = Exporter(registry, layers=options.layers, owner=(options.uid, options.gid))
    digest = exporter.push_app(
        names,
        base=run_image,
        previous=_analyzed(registry, options.analyzed, "image"),
        group=group,
        app=options.app,
        default=options.process_type,
    )
    print(f"     {names[0]} {digest} ({exporter.reused} layers reused, {exporter.added} new)", flush=True)
    options.report.write_text(toml({"image": {"tags": [str(name) for name in names], "digest": digest}}))
    if options.cache_image:
        try:
            exporter.push_cache(Name.parse(options.cache_image), group=group, app_image=names[0])
        except RegistryError as error:
            print(f"---> The cache could not be written; the next build starts without: {error}", flush=True)


def _parsed(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=Path(argv[0]).name, allow_abbrev=False)
    for name, default in _PATHS.items():
        parser.add_argument(f"-{name}", type=Path, default=Path(default))
    for name in _TEXTS:
        parser.add_argument(f"-{name}")
    parser.add_argument("-insecure-registry", action="append", default=[])
    parser.add_argument("-process-type", default="web")
    parser.add_argument("-skip-layers", action="store_true")
    for name, variable in (("uid", "CNB_USER_ID"), ("gid", "CNB_GROUP_ID")):
        parser.add_argument(f"-{name}", type=int, default=int(os.environ.get(variable, "1001")))
    parser.add_argument("images", nargs="*")
    return parser.parse_args(argv[1:])


def _analyzed(registry: Registry, file: Path, which: str) -> Image | None:
    if read_bytes(file) is None:
        return None
    reference = read_toml(file).get(which, {}).get("reference")
    return registry.find(Name.parse(reference)) if reference else None


def _pinned(image: Image) -> str:
    return str(Name(image.name.host, image.name.path, image.digest))


def _target(image: Image) -> dict[str, object]:
    """What the app will run on, as buildpacks are told it (platform interface 0.12, `analyzed.toml`)."""
    names = {"os": "os", "architecture": "arch", "variant": "variant"}
    target: dict[str, object] = {name: str(image.config[key]) for key, name in names.items() if image.config.get(key)}
    labels = {name: image.labels.get(f"io.buildpacks.base.distro.{name}") for name in ("name", "version")}
    if all(labels.values()):
        target["distro"] = labels
    return target


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (28, 122)


def _registry_hint(error: RegistryError) -> str:
    if error.status in (401, 403):
        return "the platform's credentials for its registry do not allow this: tell the operator"
    return "push again in a moment; if it stays so, tell the operator that the registry does not answer"
