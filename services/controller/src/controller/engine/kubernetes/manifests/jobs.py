"""One-offs and commands of the release phase (kubernetes.md 1.6)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from controller.domain.names import RUN
from controller.domain.spec import JobSpec
from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest, app_object, whole_seconds
from controller.engine.kubernetes.manifests.pods import PodParts

_STARTING: Final = timedelta(minutes=10)
"""What a pod may take to be placed and started before the time of its command begins."""


def render_job(job: JobSpec, config: KubernetesConfig) -> tuple[Manifest, ...]:
    """The secrets of a one-off and then its Job.

    Environment, plan and credentials are those of the process that it carries (weakness 15); its pods are labelled
    `run`, so that no service sends requests to them. It is the pod that ends in time, as that leaves it there with its
    output; the Job's own deadline, which deletes the pod, is for pods that no machine takes.
    """
    parts = PodParts(job.app, job.process, config, is_one_off=True)
    seconds = whole_seconds(job.timeout, least=1)
    last = job.timeout + max(job.process.grace_period, _STARTING)
    made = app_object(
        "batch/v1",
        "Job",
        job.app,
        names.job(job.name),
        ptype=RUN,
        annotations={names.FINGERPRINT: job.process.fingerprint},
        spec={
            "backoffLimit": 0,
            "activeDeadlineSeconds": whole_seconds(last, least=1),
            "ttlSecondsAfterFinished": whole_seconds(job.ttl),
            "template": parts.template(restart_policy="Never", activeDeadlineSeconds=seconds),
        },
    )
    return (*parts.secrets, made)
