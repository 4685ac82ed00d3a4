from __future__ import annotations

import pytest

from controller.engine.kubernetes.manifests.quantities import canonical


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("1", "1"),
        ("0.25", "250m"),
        ("250m", "250m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1000", "1k"),
        ("1500", "1500"),
        ("0.5Gi", "512Mi"),
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("512Ki", "512Ki"),
        ("0.5Ki", "512"),
        ("0.0001Ki", "102400u"),
        ("65535Gi", "65535Gi"),
        ("1024", "1024"),
        ("2e3", "2e3"),
        ("2000e-3", "2"),
        ("1E", "1E"),
        ("0", "0"),
        ("0Gi", "0"),
        (" 4Gi ", "4Gi"),
        ("+1", "1"),
        (".5", "500m"),
        ("1.", "1"),
        ("0.0000000001", "1n"),
        ("100M", "100M"),
        ("what?", "what?"),
    ],
)
def test_quantities_are_written_as_the_api_server_writes_them(written: str, kept: str) -> None:
    assert canonical(written) == kept
