"""What the engine is told of a process type besides how it starts: plan, tags, volumes, handlers, autoscale."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from controller.domain.apps import App, AppSettings, Person
from controller.domain.builds import ReleaseJob, Start
from controller.domain.policy import Policy
from controller.domain.releases import Build, Config, ConfigData, ProcessTarget, Release, ReleaseBundle
from controller.domain.render import AppState, render, render_job
from controller.domain.spec import AppSpec, Autoscale
from controller.domain.spec_storage import Mount, VolumeSpec
from controller.domain.volumes import Volume

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
POLICY = Policy(app_domain="apps.test", default_tags={"pool": "apps", "disk": "hdd"})
BUILD = Build(uuid4(), "shop", "ana", NOW, NOW, "workspace/shop:1", "python", "abc", {"web": "./web", "worker": "./w"})


def bundle(data: ConfigData) -> ReleaseBundle:
    config = Config(uuid4(), "shop", "ana", NOW, NOW, data)
    return ReleaseBundle(Release(uuid4(), "shop", "ana", NOW, NOW, 2, config.uuid, BUILD.uuid), config, BUILD)


def volume(name: str, **path: str) -> Volume:
    return Volume(uuid4(), "shop", "ana", name, "csi", "5G", path, NOW, NOW)


def spec_of(data: ConfigData, *volumes: Volume, autoscale: dict[str, Any] | None = None) -> AppSpec:
    app = App(uuid4(), "shop", Person(1, "ana"), {}, 1, NOW, NOW)
    settings = AppSettings(uuid4(), "shop", "ana", NOW, NOW, autoscale=autoscale or {})
    targets = tuple(ProcessTarget(ptype, 1, 2, "", NOW) for ptype in ("web", "worker"))
    return render(AppState(app, settings, targets, {2: bundle(data)}, volumes=volumes), POLICY)


def test_a_process_has_what_its_type_is_given() -> None:
    data = ConfigData(
        limits={"web": "std1.large.c2m4"},
        tags={"web": {"disk": "ssd"}},
        lifecycle_post_start={"web": {"exec": {"command": ["warm"]}}, "worker": {}},
        lifecycle_pre_stop={"worker": {"exec": {"command": ["drain"]}}},
        registry={"web": {"username": "ana", "password": "secret-of-the-registry"}, "worker": {}},
    )
    web, worker = spec_of(data, volume("logs", web="/logs"), volume("data", web="/data", gone="/x")).processes
    assert (web.plan, web.memory_bytes) == ("std1.large.c2m4", 4 * 1024**3)
    assert web.tags == {"pool": "apps", "disk": "ssd"}
    assert web.mounts == (Mount("data", "/data"), Mount("logs", "/logs"))
    assert (web.post_start, web.pre_stop) == ({"exec": {"command": ["warm"]}}, None)
    assert web.registry == {"username": "ana", "password": "secret-of-the-registry"}
    assert "secret-of-the-registry" not in repr(web)
    assert (worker.plan, worker.tags) == ("std1.large.c1m1", {"pool": "apps", "disk": "hdd"})
    assert (worker.mounts, worker.post_start, worker.registry) == ((), None, None)
    assert worker.pre_stop == {"exec": {"command": ["drain"]}}


def test_each_of_them_needs_new_instances() -> None:
    bare = spec_of(ConfigData()).processes[0]
    fingerprints = {
        spec_of(*given).processes[0].fingerprint
        for given in (
            (ConfigData(),),
            (ConfigData(limits={"web": "std1.large.c1m2"}),),
            (ConfigData(tags={"web": {"disk": "ssd"}}),),
            (ConfigData(), volume("data", web="/data")),
            (ConfigData(), volume("data", web="/other")),
            (ConfigData(lifecycle_pre_stop={"web": {"exec": {"command": ["x"]}}}),),
            (ConfigData(registry={"web": {"username": "x"}}),),
        )
    }
    assert len(fingerprints) == 7
    other = spec_of(ConfigData(), volume("data", worker="/data"))
    assert other.processes[0].fingerprint == bare.fingerprint
    assert other.processes[1].fingerprint != bare.fingerprint
    named = spec_of(ConfigData(limits={"web": "std1.large.c1m1"})).processes[0]
    assert named.fingerprint == bare.fingerprint


def test_volumes_are_told_by_name() -> None:
    spec = spec_of(ConfigData(), replace(volume("two"), size="0G"), volume("one", web="/data"))
    assert spec.volumes == (VolumeSpec("one", "csi", 5), VolumeSpec("two", "csi", None))


def test_autoscale_is_for_what_is_deployed() -> None:
    rules = {
        "web": {"min": 2, "max": 5, "cpu_percent": 60},
        "worker": {"min": 3, "max": 0, "cpu_percent": 150},
        "gone": {"min": 1, "max": 2, "cpu_percent": 50},
    }
    assert spec_of(ConfigData(), autoscale=rules).autoscale == (
        Autoscale("web", 2, 5, 60),
        Autoscale("worker", 1, 3, 150),
    )


def test_a_release_phase_has_the_volumes_of_its_type() -> None:
    job = ReleaseJob("worker", Start("workspace/shop:1", args=("migrate",)), None)
    volumes = [volume("data", worker="/data")]
    assert render_job("shop", bundle(ConfigData()), BUILD, job, POLICY, volumes=volumes).mounts == (
        Mount("data", "/data"),
    )
