"""Claims that are there already."""

from __future__ import annotations

import pytest

from controller.domain.spec_storage import VolumeSpec
from controller.engine.kubernetes.claims import refuse_growth
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.volumes import render_volume
from controller.engine.port import NotSupportedError
from shared.kubernetes.kinds import Manifest


def claim(gib: int, **status: str) -> Manifest:
    """A claim of that size."""
    (made,) = render_volume("tidepool", VolumeSpec("data", "csi", gib), KubernetesConfig())
    return {**made, "status": status}


def test_a_claim_without_storage_is_not_expanded() -> None:
    with pytest.raises(NotSupportedError, match="volume data has no storage before a process uses it"):
        refuse_growth(claim(1, phase="Pending"), claim(2))
    refuse_growth(claim(2, phase="Pending"), claim(2))
    refuse_growth(claim(1, phase="Bound"), claim(2))
    refuse_growth(None, claim(2))
