from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from controller.engine.kubernetes.manifests import Manifest, render, render_foundation, render_job
from support.golden import check_golden
from support.kubernetes_specs import CAREFUL, CONFIG, GUARDED, JOB, MINIMAL, RICH, SCALED, VOLUMES

GOLDEN: Final = Path(__file__).parent / "golden"
RENDERED: Final[Mapping[str, tuple[Manifest, ...]]] = {
    "minimal": render(MINIMAL, CONFIG),
    "rich": render(RICH, CAREFUL),
    "autoscale": render(SCALED, CONFIG),
    "volumes": render(VOLUMES, CONFIG),
    "job": render_job(JOB, CONFIG),
    "rights": render_foundation("tidepool", None, GUARDED),
}


@pytest.mark.parametrize("name", RENDERED)
def test_golden(name: str) -> None:
    check_golden(GOLDEN / f"{name}.yaml", RENDERED[name])


@pytest.mark.parametrize("name", RENDERED)
def test_every_object_can_be_told_to_be_ours(name: str) -> None:
    for manifest in RENDERED[name]:
        labels = manifest["metadata"]["labels"]
        assert labels["app"] == "tidepool"
        assert labels["heritage"] == "drycc"
        assert labels["app.kubernetes.io/managed-by"] == "workflow"


def test_the_same_spec_gives_the_same_bytes() -> None:
    assert json.dumps(render(RICH, CAREFUL)) == json.dumps(render(RICH, CAREFUL))


def test_what_is_referred_to_comes_first() -> None:
    kinds = [manifest["kind"] for manifest in (*RENDERED["rich"], *RENDERED["autoscale"])]
    expected = ["Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccount", "Secret"]
    assert list(dict.fromkeys(kinds)) == [
        *expected,
        "PersistentVolumeClaim",
        "Service",
        "Deployment",
        "HorizontalPodAutoscaler",
    ]


def test_changing_a_manifest_changes_nothing_else() -> None:
    before = json.dumps(render(RICH, CAREFUL))
    for manifest in render(RICH, CAREFUL):
        _spoil(manifest)
    assert json.dumps(render(RICH, CAREFUL)) == before


def _spoil(value: Any) -> None:
    for item in list(value.values()) if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            _spoil(item)
    value.clear()
