"""Where storage is and how it is spoken to."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

SCHEMES: Final = ("s3", "gs", "az", "file")
DEFAULT_REGION: Final = "us-east-1"


@dataclass(frozen=True)
class StorageConfig:
    """`url` is s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///directory.

    What is None is found as the provider's own tools find it: variables of the environment, the identity of the
    workload or of the machine. `endpoint`, `path_style`, `region` and the keys are of S3. `request_timeout` bounds one
    request (a part of 8 MiB), `patience` all tries of it together.
    """

    url: str
    endpoint: str | None = None
    path_style: bool = True
    region: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    authority: bytes | None = field(default=None, repr=False)
    request_timeout: timedelta = timedelta(seconds=60)
    patience: timedelta = timedelta(seconds=60)

    @property
    def directory(self) -> Path | None:
        """Where the archives are, when they are on a file system."""
        parts = urlsplit(self.url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    @property
    def place(self) -> str:
        """The storage as errors name it."""
        return self.url if self.endpoint is None else f"{self.url} at {self.endpoint}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text may hold."""
        return tuple(each for each in (self.secret_key, self.access_key) if each)


def region_of(config: StorageConfig) -> str | None:
    """The region that requests are signed for; None leaves it to the environment.

    builder.md 11: the first label of the endpoint's host, us-east-1 for an address. Amazon's own hosts have it second:
    s3.<region>.amazonaws.com.
    """
    if config.region is not None or config.endpoint is None:
        return config.region
    host = urlsplit(config.endpoint).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.split(".")
        if host.endswith(".amazonaws.com"):
            return labels[1] if len(labels) > 3 else DEFAULT_REGION
        return labels[0] or DEFAULT_REGION
    return DEFAULT_REGION
