"""Volumes: claims, and the static volumes of nfs and oss (kubernetes.md 1.10)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from controller.domain.spec_storage import VolumeSpec
from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest, app_object
from controller.engine.kubernetes.manifests.quantities import canonical

_STATIC_GIB: Final = 65535
"""What a volume is said to hold whose server decides."""

_SMALLEST_GIB: Final = 1


def render_volume(app: str, volume: VolumeSpec, config: KubernetesConfig) -> tuple[Manifest, ...]:
    """The objects of a volume: a claim alone for csi; else a volume of our own, and for oss its credentials."""
    if volume.type == "csi":
        return (_dynamic_claim(app, volume, config),)
    source = _SOURCES[volume.type](app, volume, config)
    credentials = () if volume.type != "oss" else (_credentials(app, volume),)
    name = persistent_volume_name(app, volume)
    static = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": names.labels(app)},
        "spec": {
            "capacity": {"storage": canonical(f"{max(_STATIC_GIB, volume.size_gib or 0)}Gi")},
            "accessModes": ["ReadWriteMany"],
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": names.namespace(app),
                "name": names.volume_claim(volume.name),
            },
            "persistentVolumeReclaimPolicy": "Retain",
            "volumeMode": "Filesystem",
            **source,
        },
    }
    return (*credentials, static, _claim(app, volume, "ReadWriteMany", storageClassName="", volumeName=name))


def persistent_volume_name(app: str, volume: VolumeSpec) -> str:
    """Its name says where it leads to, without any secret: another server is another volume."""
    shown = {key: text for key, text in _parameters(volume).items() if key in ("server", "path", "bucket")}
    return names.persistent_volume(app, volume.name, names.content_hash([app, volume.name, volume.type, shown]))


def _dynamic_claim(app: str, volume: VolumeSpec, config: KubernetesConfig) -> Manifest:
    chosen = {"storageClassName": config.storage_class} if config.storage_class else {}
    return _claim(app, volume, config.volume_access_mode, **chosen)


def _claim(app: str, volume: VolumeSpec, access_mode: str, **more: object) -> Manifest:
    size = canonical(f"{volume.size_gib or _SMALLEST_GIB}Gi")
    return app_object(
        "v1",
        "PersistentVolumeClaim",
        app,
        names.volume_claim(volume.name),
        spec={
            "accessModes": [access_mode],
            "volumeMode": "Filesystem",
            "resources": {"requests": {"storage": size}},
            **more,
        },
    )


def _nfs(app: str, volume: VolumeSpec, config: KubernetesConfig) -> Manifest:  # noqa: ARG001 - one form for all
    parameters = _parameters(volume)
    return {
        "nfs": {"server": str(parameters["server"]), "path": str(parameters["path"])},
        "mountOptions": ["nfsvers=4.2"],
    }


def _oss(app: str, volume: VolumeSpec, config: KubernetesConfig) -> Manifest:
    """The keys are in a Secret: whoever sees volumes must not see them (weakness 56)."""
    parameters = _parameters(volume)
    secret = {"name": names.volume_secret(volume.name), "namespace": names.namespace(app)}
    return {
        "csi": {
            "driver": config.oss_driver,
            "volumeHandle": persistent_volume_name(app, volume),
            "volumeAttributes": {"bucketName": str(parameters["bucket"])},
            "nodePublishSecretRef": secret,
        },
        "mountOptions": ["allow-delete", "force-path-style", f"endpoint-url {parameters['server']}"],
    }


def _credentials(app: str, volume: VolumeSpec) -> Manifest:
    parameters = _parameters(volume)
    keys = {"key_id": parameters["access_key"], "access_key": parameters["secret_key"]}
    return app_object(
        "v1",
        "Secret",
        app,
        names.volume_secret(volume.name),
        more_labels={names.CLASS: "volume"},
        type="Opaque",
        data={key: base64.b64encode(str(text).encode()).decode() for key, text in keys.items()},
    )


def _parameters(volume: VolumeSpec) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", volume.parameters[volume.type])


_SOURCES: Final[Mapping[str, Callable[[str, VolumeSpec, KubernetesConfig], Manifest]]] = {"nfs": _nfs, "oss": _oss}
