"""The image of an app and the image that keeps its cached layers: put together out of layers, and read again."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phases.archive import Blob, LayerWriter, unpack
from phases.env import with_layer
from phases.files import is_folder, read_toml, toml
from phases.group import Buildpack, Layer, layers_of
from phases.registry import CONFIG, LAYER, MANIFEST, Image, Name, Registry

METADATA = "io.buildpacks.lifecycle.metadata"
CACHE_METADATA = "io.buildpacks.lifecycle.cache.metadata"
BUILD_METADATA = "io.buildpacks.build.metadata"
_CREATED = "1980-01-01T00:00:01Z"
_PROCESS, _LAUNCHER = Path("/cnb/process"), Path("/cnb/lifecycle/launcher")
_TYPE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
_OWN_LAUNCHER = Path(__file__).resolve().parents[1] / "launcher"


@dataclass(frozen=True)
class Process:
    """A process type and the program that is it; where it starts, if not in the app's directory."""

    ptype: str
    command: tuple[str, ...]
    is_default: bool = False
    directory: str = ""

    @property
    def script(self) -> str:
        """The program that is `/cnb/process/<type>`."""
        there = f"cd {shlex.quote(self.directory)} || exit\n" if self.directory else ""
        return f"#!/bin/sh\n{there}exec {shlex.join(self.command)}\n"


@dataclass
class Stored:
    """Layers of an image by diff id: (digest, bytes), and where they are."""

    name: Name | None = None
    layers: dict[str, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, image: Image | None) -> Stored:
        """Those of an image."""
        if image is None:
            return cls()
        blobs = [(str(layer["digest"]), int(layer["size"])) for layer in image.manifest["layers"]]
        return cls(image.name, dict(zip(image.config["rootfs"]["diff_ids"], blobs, strict=True)))


def metadata_of(image: Image | None, label: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What the image remembers of layers: (id of the buildpack, name of the layer) -> facts."""
    try:
        content = json.loads(image.labels.get(label, "{}")) if image else {}
    except ValueError:
        return {}
    buildpacks = content.get("buildpacks", [])
    return {(item["key"], name): facts for item in buildpacks for name, facts in item.get("layers", {}).items()}


def processes_of(group: Sequence[Buildpack], layers: Path) -> dict[str, Process]:
    """Process type -> program; a later buildpack's word counts."""
    found: dict[str, Process] = {}
    for buildpack in group:
        for entry in read_toml(layers / buildpack.escaped / "launch.toml").get("processes", []):
            process = _process(entry)
            found[process.ptype] = process
    return found


def unsupported(group: Iterable[Buildpack], layers: Path) -> Iterator[str]:
    """What layers of the app ask for and nothing here does, in words."""
    for buildpack in group:
        for layer in layers_of(buildpack, layers):
            for name in ("exec.d", "profile.d"):
                if layer.launch and is_folder(layer.path / name):
                    yield f"{name} of the layer {buildpack.id}:{layer.name} is not run when the app starts"


def _process(entry: Mapping[str, Any]) -> Process:
    """A process of `launch.toml`, before and since buildpack API 0.9 ("Processes")."""
    ptype, command = str(entry["type"]), entry["command"]
    if _TYPE.fullmatch(ptype) is None:
        raise ValueError(f"{ptype[:80]!r} is no process type")
    arguments = tuple(map(str, entry.get("args", ())))
    if isinstance(command, list):
        words = (*map(str, command), *arguments)
    elif entry.get("direct", False):
        words = (str(command), *arguments)
    else:  # a line for the shell, to which arguments are added
        words = ("bash", "-c", " ".join((str(command), *map(shlex.quote, arguments))))
    return Process(ptype, words, entry.get("default") is True, str(entry.get("working-dir") or ""))


class Exporter:
    """Makes the layers once, and pushes them into the app's image and into its cache."""

    def __init__(self, registry: Registry, *, layers: Path, owner: tuple[int, int]) -> None:
        self._registry = registry
        self._layers = layers
        self._owner = owner
        self._folder = Path(tempfile.mkdtemp(prefix="layers-"))
        self._blobs: dict[Path, Blob] = {}
        self.reused = 0
        self.added = 0

    def push_app(
        self,
        names: Sequence[Name],
        *,
        base: Image,
        previous: Image | None,
        group: Sequence[Buildpack],
        app: Path,
        default: str,
    ) -> str:
        """Push the image; its digest. Raises RegistryError, OSError or ValueError."""
        name, stored, known = names[0], Stored.of(previous), metadata_of(previous, METADATA)
        manifest_layers, diff_ids = self._base(name, base)
        remembered: list[dict[str, Any]] = []
        env = _environment(base)
        for buildpack in group:
            facts: dict[str, Any] = {}
            for layer in layers_of(buildpack, self._layers):
                if not layer.launch:
                    continue
                diff_id, entry = self._layer(name, layer, stored, known.get((buildpack.id, layer.name)))
                manifest_layers.append(entry)
                diff_ids.append(diff_id)
                facts[layer.name] = {**layer.facts, "sha": diff_id}
                env = with_layer(env, layer.path, launch=True)
            remembered.append({"key": buildpack.id, "version": buildpack.version, "layers": facts})
        processes = processes_of(group, self._layers)
        for blob in (self._tree(app), self._own(processes)):
            manifest_layers.append(self._put(name, blob, stored))
            diff_ids.append(blob.diff_id)
        labels = {
            METADATA: {
                "app": [{"sha": diff_ids[-2]}],
                "buildpacks": remembered,
                "config": {"sha": diff_ids[-1]},
                "runImage": {"topLayer": base.config["rootfs"]["diff_ids"][-1], "reference": f"{base.name}"},
            },
            BUILD_METADATA: {
                "buildpacks": [{"id": item.id, "version": item.version} for item in group],
                "processes": [{"type": item.ptype, "command": list(item.command)} for item in processes.values()],
            },
        }
        config = _app_config(
            base,
            diff_ids=diff_ids,
            labels=labels,
            env=env,
            entry_point=_entry_point(processes, default),
            app=app,
            layers=self._layers,
        )
        return self._finish(names, config, manifest_layers)

    def push_cache(self, name: Name, *, group: Sequence[Buildpack], app_image: Name) -> None:
        """Push the layers that the next build wants back. Raises RegistryError, OSError or ValueError."""
        entries: list[dict[str, Any]] = []
        diff_ids: list[str] = []
        remembered: list[dict[str, Any]] = []
        for buildpack in group:
            facts: dict[str, Any] = {}
            for layer in layers_of(buildpack, self._layers):
                if not layer.cache or not is_folder(layer.path):
                    continue
                blob = self._tree(layer.path)
                entries.append(self._put(name, blob, Stored(app_image)))
                diff_ids.append(blob.diff_id)
                facts[layer.name] = {**layer.facts, "sha": blob.diff_id}
            remembered.append({"key": buildpack.id, "version": buildpack.version, "layers": facts})
        config = {
            "architecture": "amd64",
            "os": "linux",
            "created": _CREATED,
            "config": {"Labels": {CACHE_METADATA: json.dumps({"buildpacks": remembered}, sort_keys=True)}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        self._finish([name], config, entries)

    def _base(self, name: Name, base: Image) -> tuple[list[dict[str, Any]], list[str]]:
        entries: list[dict[str, Any]] = []
        for layer in base.manifest["layers"]:
            digest = layer["digest"]
            if not self._registry.has(name, digest) and not self._registry.mount(name, digest, base.name):
                file = self._folder / "base"
                self._registry.download(base.name, digest, file)
                self._registry.upload(name, digest, file)
                file.unlink()
            kind = str(layer["mediaType"])
            entries.append({"mediaType": LAYER if "docker" in kind else kind, "digest": digest, "size": layer["size"]})
        return entries, list(base.config["rootfs"]["diff_ids"])

    def _layer(
        self, name: Name, layer: Layer, stored: Stored, known: Mapping[str, Any] | None
    ) -> tuple[str, dict[str, Any]]:
        """A layer of a buildpack; one whose files were not restored is taken from the image before."""
        if is_folder(layer.path):
            blob = self._tree(layer.path)
            return blob.diff_id, self._put(name, blob, stored)
        diff_id = str((known or {}).get("sha", ""))
        if diff_id not in stored.layers or stored.name is None:
            raise ValueError(
                f"the layer {layer.buildpack.id}:{layer.name} has no files, and no image before this has it"
            )
        digest, size = stored.layers[diff_id]
        self._registry.mount(name, digest, stored.name)
        self.reused += 1
        return diff_id, _entry(digest, size)

    def _tree(self, path: Path) -> Blob:
        if path not in self._blobs:
            with LayerWriter(self._folder / str(len(self._blobs))) as writer:
                writer.tree(path, owner=self._owner)
            self._blobs[path] = writer.blob()
        return self._blobs[path]

    def _own(self, processes: Mapping[str, Process]) -> Blob:
        """What starts the processes."""
        with LayerWriter(self._folder / "own") as writer:
            writer.file(_LAUNCHER, _OWN_LAUNCHER.read_bytes(), mode=0o755)
            for process in sorted(processes.values(), key=lambda item: item.ptype):
                writer.file(_PROCESS / process.ptype, process.script.encode(), mode=0o755)
        return writer.blob()

    def _put(self, name: Name, blob: Blob, stored: Stored) -> dict[str, Any]:
        """Make sure that the repository has the layer."""
        digest, size = stored.layers.get(blob.diff_id, (blob.digest, blob.size))
        if self._registry.has(name, digest) or (stored.name and self._registry.mount(name, digest, stored.name)):
            self.reused += 1
            return _entry(digest, size)
        self._registry.upload(name, blob.digest, blob.file)
        self.added += 1
        return _entry(blob.digest, blob.size)

    def _finish(self, names: Sequence[Name], config: Mapping[str, Any], layers: list[dict[str, Any]]) -> str:
        content = json.dumps(config, separators=(",", ":"), sort_keys=True).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if not self._registry.has(names[0], digest):
            self._registry.upload(names[0], digest, content)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest, "size": len(content)},
            "layers": layers,
        }
        digests = {self._registry.put_manifest(name, manifest) for name in names}
        return digests.pop()


def restore(
    registry: Registry, cache: Image | None, previous: Image | None, group: Iterable[Buildpack], layers: Path
) -> list[str]:
    """Lay out what earlier builds left; names of the layers whose files are back.

    A layer of which only the image before knows comes back as its `.toml`. Raises RegistryError or OSError, and
    whatever odd metadata lead to; what is laid out by then is whole.
    """
    cached, launched = metadata_of(cache, CACHE_METADATA), metadata_of(previous, METADATA)
    stored, back = Stored.of(cache), []
    for buildpack in group:
        folder = layers / buildpack.escaped
        if folder.is_symlink():
            raise OSError(f"{folder} is a link")
        for id_, name in {**launched, **cached}:
            if id_ != buildpack.id or name != Path(name).name or name in ("launch", "build", "store", "..", "."):
                continue
            facts = cached.get((id_, name)) or launched[id_, name]
            if (id_, name) not in cached and facts.get("cache"):
                continue  # its files were to come back, and are gone
            folder.mkdir(exist_ok=True)
            if (id_, name) in cached and cache is not None and facts["sha"] in stored.layers:
                _lay_out(registry, cache, stored.layers[facts["sha"]][0], folder / name)
                back.append(f"{id_}:{name}")
            (folder / f"{name}.toml").unlink(missing_ok=True)
            (folder / f"{name}.toml").write_text(toml({"metadata": dict(facts.get("data") or {})}))
    return back


def _lay_out(registry: Registry, cache: Image, digest: str, path: Path) -> None:
    try:
        with tempfile.NamedTemporaryFile(prefix="cached-") as file:
            registry.download(cache.name, digest, Path(file.name))
            unpack(Path(file.name), path)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _entry(digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": LAYER, "digest": digest, "size": size}


def _environment(base: Image) -> dict[str, str]:
    listed = base.config.get("config", {}).get("Env") or []
    return dict(item.partition("=")[::2] for item in listed)


def _entry_point(processes: Mapping[str, Process], default: str) -> list[str]:
    chosen = [process.ptype for process in processes.values() if process.is_default]
    names = [default] if default in processes else chosen[-1:] or (list(processes) if len(processes) == 1 else [])
    return [str(_PROCESS / names[0])] if names else [str(_LAUNCHER)]


def _app_config(
    base: Image,
    *,
    diff_ids: list[str],
    labels: Mapping[str, object],
    env: dict[str, str],
    entry_point: list[str],
    app: Path,
    layers: Path,
) -> dict[str, Any]:
    config = dict(base.config.get("config", {}))
    path = ":".join((str(_PROCESS), str(_LAUNCHER.parent), env.get("PATH", "/usr/local/bin:/usr/bin:/bin")))
    env = {**env, "PATH": path, "CNB_APP_DIR": str(app), "CNB_LAYERS_DIR": str(layers), "CNB_PLATFORM_API": "0.12"}
    texts = {name: json.dumps(value, sort_keys=True) for name, value in labels.items()}
    config |= {
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Entrypoint": entry_point,
        "Cmd": None,
        "WorkingDir": str(app),
        "Labels": {**(config.get("Labels") or {}), **texts},
    }
    whole = {key: base.config[key] for key in ("architecture", "os", "variant") if key in base.config}
    return {**whole, "created": _CREATED, "config": config, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
