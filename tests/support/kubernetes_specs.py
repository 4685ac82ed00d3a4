"""Apps and one-offs to render for Kubernetes: each shows one side of the renderers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from controller.domain.plans import Catalog, LimitPlan, LimitSpec
from controller.domain.spec import AppSpec, Autoscale, JobSpec, Probe, ProcessSpec
from controller.domain.spec_network import NetworkSpec, ServicePort, ServiceSpec
from controller.domain.spec_storage import Mount, VolumeSpec
from controller.engine.kubernetes.config import Account, KubernetesConfig, RegistryCredentials

APP: Final = "tidepool"
IMAGE: Final = "quay.io/ann/tidepool:2.4.0"
_MACHINE: Final = LimitSpec("std1", {}, {}, {}, frozenset({"std1"}))

CATALOG: Final = Catalog(
    [_MACHINE],
    [
        LimitPlan(
            "small",
            _MACHINE,
            1,
            1,
            {},
            priority=1,
            limits={"cpu": "1", "memory": "1Gi", "ephemeral-storage": "4Gi"},
            requests={"cpu": "0.25", "memory": "0.5Gi", "ephemeral-storage": "2Gi"},
            annotations={"kubernetes.io/egress-bandwidth": "100M"},
        ),
        LimitPlan(
            "gpu",
            _MACHINE,
            4,
            8,
            {"gpu": 1},
            priority=2,
            limits={"cpu": "4000m", "memory": "8192Mi", "nvidia.com/gpu": "1"},
            requests={"cpu": "1.5", "memory": "1536Mi", "nvidia.com/gpu": "1"},
            node_selector={"pool": "gpu", "disk": "slow"},
            pod_security_context={"fsGroup": 1001, "runAsUser": 1001},
            container_security_context={"runAsNonRoot": True},
            runtime_class_name="nvidia",
        ),
    ],
)
CONFIG: Final = KubernetesConfig(catalog=CATALOG)
"""An operator who chose nothing but the plans."""

CAREFUL: Final = KubernetesConfig(
    catalog=CATALOG,
    storage_class="longhorn",
    dns_policy="ClusterFirst",
    image_pull_policy="Always",
    revision_history_limit=3,
    deploy_batches=2,
    registry=RegistryCredentials("registry.example.org", "puller", "p-secret"),
    pod_security_level="restricted",
    network_policy=True,
    gateway_namespaces=("traefik",),
    namespace_labels={"team": "marine"},
)
"""An operator who chose everything."""

GUARDED: Final = replace(
    CONFIG, worker_account=Account("drycc", "worker"), api_account=Account("drycc", "api"), role_prefix="wf"
)
"""An operator whose platform may do no more than it must."""

MINIMAL: Final = AppSpec(
    APP, (ProcessSpec("web", 1, 2, IMAGE, "container", env={"PORT": "5000"}, port=5000, must_listen=True),)
)

WEB: Final = ProcessSpec(
    ptype="web",
    replicas=4,
    release=7,
    image=IMAGE,
    stack="container",
    command=("gunicorn",),
    args=("tidepool.wsgi:app", "--bind", ":$(PORT)"),
    env={
        "DATABASE_URL": "postgres://ann:s3cr3t@db/tidepool",
        "DRYCC_APP": APP,
        "DRYCC_DEPLOY_BATCHES": "3",
        "IMAGE_PULL_POLICY": "Never",
        "KUBERNETES_DEPLOYMENTS_REVISION_HISTORY_LIMIT": "5",
        "PORT": "8000",
        "WORKFLOW_RELEASE": "v7",
        "foo-bar": "1",
        "FOO_BAR": "2",
        "odd[name]": "3",
    },
    port=8000,
    readiness=Probe("http", 8000, "/ready", timeout=timedelta(seconds=5), initial_delay=timedelta(seconds=10)),
    liveness=Probe("http", 8000, "/live", initial_delay=timedelta(seconds=50)),
    healthcheck={
        "readinessProbe": {
            "httpGet": {
                "path": "/ready",
                "port": 8000,
                "scheme": "HTTP",
                "httpHeaders": [{"name": "X-Probe", "value": "yes"}],
            },
            "initialDelaySeconds": 10,
            "timeoutSeconds": 5,
        },
        "livenessProbe": {"httpGet": {"path": "/live", "port": 8000}, "initialDelaySeconds": 50},
        "startupProbe": {"exec": {"command": ["/app/started"]}, "failureThreshold": 30},
    },
    grace_period=timedelta(seconds=45),
    must_listen=True,
    start_deadline=timedelta(seconds=90),
    plan="gpu",
    tags={"environ": "prod", "disk": "ssd"},
    mounts=(Mount("uploads", "/data/uploads"),),
    post_start={"exec": {"command": ["/bin/sh", "-c", "touch /tmp/up"]}},
    pre_stop={"exec": {"command": ["/bin/sh", "-c", "sleep 8"]}},
    registry={"username": "bot", "password": "b-secret"},
)
WORKER: Final = ProcessSpec(
    "worker", 2, 6, IMAGE, "heroku-24", shell="celery worker --pid $$ $(nproc)", env={"PORT": "5000"}, port=5000
)
RICH: Final = AppSpec(
    APP,
    (WEB, WORKER),
    network=NetworkSpec(services=(ServiceSpec(APP, "web", (ServicePort(80, "TCP", 8000),)),)),
    volumes=(VolumeSpec("uploads", "csi", 5),),
    quota={"hard": {"pods": "10", "requests.cpu": "4000m"}},
)

SCALED: Final = AppSpec(
    APP,
    (
        ProcessSpec("web", 4, 3, IMAGE, "container", env={"PORT": "5000"}, port=5000, must_listen=True),
        ProcessSpec("worker", 0, 3, IMAGE, "container", env={"PORT": "5000"}, port=5000),
    ),
    autoscale=(Autoscale("web", 3, 8, 75), Autoscale("worker", 1, 2, 50)),
)

OSS_SECRET: Final = "o-secret"
VOLUMES: Final = AppSpec(
    APP,
    (ProcessSpec("web", 1, 2, IMAGE, "container", mounts=(Mount("archive", "/archive"), Mount("media", "/media"))),),
    volumes=(
        VolumeSpec("archive", "nfs", None, {"nfs": {"server": "nfs.example.net", "path": "/exports/archive"}}),
        VolumeSpec(
            "media",
            "oss",
            None,
            {
                "oss": {
                    "server": "https://oss.example.net",
                    "bucket": "tidepool-media",
                    "access_key": "key-id",
                    "secret_key": OSS_SECRET,
                }
            },
        ),
        VolumeSpec("scratch", "csi", None),
        VolumeSpec("uploads", "csi", 2048),
    ),
)

JOB: Final = JobSpec(
    APP,
    "tidepool-run-k3x9q",
    ProcessSpec(
        "web",
        1,
        7,
        IMAGE,
        "container",
        command=("python",),
        args=("manage.py", "migrate", "--comment", "two words"),
        env={"DATABASE_URL": "postgres://ann:s3cr3t@db/tidepool", "PORT": "8000"},
        port=8000,
        mounts=(Mount("uploads", "/data"),),
        healthcheck=WEB.healthcheck,
        pre_stop=WEB.pre_stop,
        must_listen=True,
    ),
    timeout=timedelta(minutes=15),
    ttl=timedelta(hours=1),
)
