"""One-offs and commands of the release phase (kubernetes.md 1.6)."""

from __future__ import annotations

from controller.domain.names import RUN
from controller.domain.spec import JobSpec
from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest, app_object, whole_seconds
from controller.engine.kubernetes.manifests.pods import PodParts


def render_job(job: JobSpec, config: KubernetesConfig) -> tuple[Manifest, ...]:
    """The secrets of a one-off and then its Job.

    Environment, plan and credentials are those of the process that it carries (weakness 15); its pods are labelled
    `run`, so that no service sends requests to them.
    """
    parts = PodParts(job.app, job.process, config, is_one_off=True)
    made = app_object(
        "batch/v1",
        "Job",
        job.app,
        names.job(job.name),
        ptype=RUN,
        annotations={names.FINGERPRINT: job.process.fingerprint},
        spec={
            "backoffLimit": 0,
            "activeDeadlineSeconds": whole_seconds(job.timeout, least=1),
            "ttlSecondsAfterFinished": whole_seconds(job.ttl),
            "template": parts.template(restart_policy="Never"),
        },
    )
    return (*parts.secrets, made)
