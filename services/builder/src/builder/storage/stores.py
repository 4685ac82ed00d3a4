"""obstore's stores, made of our configuration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from obstore.store import LocalStore, from_url

from builder.storage.config import StorageConfig, region_of

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CONNECT: Final = timedelta(seconds=5)
_FIRST_DELAY: Final = timedelta(milliseconds=200)
_LONGEST_DELAY: Final = timedelta(seconds=5)
# More than fit into the patience, which is what ends the tries.
_TRIES: Final = 100
_PROBE_SECONDS: Final = 5


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
