"""Where storage is and how it is spoken to; obstore's stores are made of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from obstore.store import LocalStore, from_url

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES: Final = ("s3", "gs", "az", "file")
DEFAULT_REGION: Final = "us-east-1"
_CONNECT: Final = timedelta(seconds=5)
_FIRST_DELAY: Final = timedelta(milliseconds=200)
_LONGEST_DELAY: Final = timedelta(seconds=5)
# More than fit into the patience, which is what ends the tries.
_TRIES: Final = 100
_PROBE_SECONDS: Final = 5


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


def open_store(config: StorageConfig) -> ObjectStore:
    """For the work itself: a request that fails for want of an answer is repeated, with growing delays.

    Raises:
        OSError: a directory cannot be made.
        ValueError, obstore.exceptions.BaseError: the provider's settings do not fit together.
    """
    if config.directory is not None:
        config.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return LocalStore(config.directory, automatic_cleanup=True)
    return _remote(config, timeout=config.request_timeout, tries=_TRIES, patience=config.patience)


def open_probe(config: StorageConfig) -> ObjectStore | None:
    """For asking whether storage answers now: one more try, and soon an answer. None for a directory."""
    if config.directory is not None:
        return None
    seconds = timedelta(seconds=_PROBE_SECONDS)
    return _remote(config, timeout=min(seconds, config.request_timeout), tries=1, patience=seconds)


def _remote(config: StorageConfig, *, timeout: timedelta, tries: int, patience: timedelta) -> ObjectStore:
    client: dict[str, Any] = {"timeout": timeout, "connect_timeout": min(timeout, _CONNECT)}
    if config.endpoint is not None and config.endpoint.startswith("http://"):
        client["allow_http"] = True
    if config.authority is not None:
        client["root_certificate"] = config.authority
    retries: dict[str, Any] = {
        "max_retries": tries,
        "retry_timeout": patience,
        "backoff": {"init_backoff": _FIRST_DELAY, "max_backoff": _LONGEST_DELAY, "base": 2},
    }
    make: Any = from_url
    store: ObjectStore = make(config.url, config=_s3_options(config), client_options=client, retry_config=retries)
    return store


def _s3_options(config: StorageConfig) -> Mapping[str, object] | None:
    parts = urlsplit(config.url)
    if parts.scheme != "s3":
        return None
    options: dict[str, object] = {"virtual_hosted_style_request": not config.path_style}
    if config.endpoint is not None:
        options["endpoint"] = _endpoint(urlsplit(config.endpoint), bucket=parts.netloc, path_style=config.path_style)
    if (region := region_of(config)) is not None:
        options["region"] = region
    if config.access_key is not None and config.secret_key is not None:
        options |= {"access_key_id": config.access_key, "secret_access_key": config.secret_key}
    return options


def _endpoint(parts: SplitResult, *, bucket: str, path_style: bool) -> str:
    """With the bucket in its host name, where requests go to that host."""
    host = parts.netloc if path_style else f"{bucket}.{parts.netloc}"
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


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
