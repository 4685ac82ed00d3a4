"""Storage of each kind; the S3 server is built when the first test asks for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from integration.builder_storage.places import BUCKET, Place, in_directory, on_s3
from support.s3_server import S3Server, running_s3


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running server that tests leave running."""
    directory = tmp_path_factory.mktemp("s3")
    with running_s3(directory, BUCKET) as server:
        yield server
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def own_s3(tmp_path: Path) -> Iterator[S3Server]:
    """A running server that the test may do with what it likes."""
    with running_s3(tmp_path / "s3", BUCKET) as server:
        yield server


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Storage of each kind, empty."""
    if request.param == "directory":
        return in_directory(tmp_path / "storage")
    server: S3Server = request.getfixturevalue("s3_server")
    bucket = f"b-{uuid4()}"
    server.make_bucket(bucket)
    return on_s3(server, bucket=bucket)
