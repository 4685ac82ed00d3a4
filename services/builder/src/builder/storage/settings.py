"""Settings of storage, for the builder's Settings to inherit, and what they come to."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from builder.storage.config import SCHEMES, StorageConfig
from shared.settings import ServiceSettings, SettingsError, legacy


class StorageSettings(ServiceSettings):
    """Either `storage_url`, or a bucket of S3 under the names of the compatible system (builder.md 11 and 15)."""

    storage_url: str | None = Field(
        None,
        description="Where source archives are kept: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or "
        "file:///directory. S3 without the keys below, and the others always, take the credentials that the "
        "provider's own tools would: AWS_..., GOOGLE_..., AZURE_... or the workload's identity.",
    )
    storage_bucket: str | None = Field(
        None,
        description="Bucket of S3, instead of a URL.",
        json_schema_extra=legacy("DRYCC_STORAGE_BUCKET"),
    )
    storage_endpoint: str | None = Field(
        None,
        description="URL of an S3 server other than Amazon's.",
        json_schema_extra=legacy("DRYCC_STORAGE_ENDPOINT"),
    )
    storage_lookup: Literal["auto", "path", "dns"] = Field(
        "auto",
        description="Where S3 requests name the bucket: path, dns (host name), or auto: path unless it is Amazon's.",
        json_schema_extra=legacy("DRYCC_STORAGE_LOOKUP"),
    )
    storage_access_key: SecretStr | None = Field(
        None,
        description="Access key id of S3.",
        json_schema_extra=legacy("DRYCC_STORAGE_ACCESSKEY"),
    )
    storage_secret_key: SecretStr | None = Field(
        None,
        description="Secret access key of S3.",
        json_schema_extra=legacy("DRYCC_STORAGE_SECRETKEY"),
    )
    storage_region: str | None = Field(
        None,
        description="Region of S3; without it the first label of the endpoint's host, us-east-1 for an address.",
    )
    storage_ca: Path | None = Field(
        None,
        description="Certificates (PEM) of authorities that the storage's server is trusted by, besides known ones.",
    )
    storage_timeout: timedelta = Field(
        timedelta(seconds=60), description="Deadline of one request; a part of an archive is 8 MiB."
    )
    storage_patience: timedelta = Field(
        timedelta(seconds=60), description="How long a request is repeated while storage does not answer."
    )

    @field_validator("storage_url")
    @classmethod
    def _storage_place(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in SCHEMES:
            raise ValueError("must start with s3://, gs://, az:// or file:///")
        if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
            raise ValueError("must name an absolute path: file:///directory")
        if parts.scheme != "file" and not parts.netloc:
            raise ValueError(f"must name a bucket: {parts.scheme}://bucket/prefix")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must be a bucket and a prefix only; credentials have settings of their own")
        return value

    @field_validator("storage_endpoint")
    @classmethod
    def _storage_server(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be a URL: https://host or http://host:port")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must not hold credentials; they have settings of their own")
        return value.rstrip("/")


def storage_of(settings: StorageSettings) -> StorageConfig | None:
    """What the settings say of storage; None when they name none.

    Raises:
        SettingsError: they contradict each other, or the file with the authorities cannot be read.
    """
    prefix = str(settings.model_config.get("env_prefix") or "")
    url = _url(settings, prefix)
    if url is None:
        return None
    access, secret = _text(settings.storage_access_key), _text(settings.storage_secret_key)
    if (access is None) != (secret is None):
        missing = "SECRET" if secret is None else "ACCESS"
        raise SettingsError(f"{prefix}STORAGE_{missing}_KEY: is required beside the other one")
    return StorageConfig(
        url=url,
        endpoint=settings.storage_endpoint,
        path_style=_is_path_style(settings.storage_lookup, settings.storage_endpoint),
        region=settings.storage_region,
        access_key=access,
        secret_key=secret,
        authority=_authority(settings.storage_ca, prefix),
        request_timeout=settings.storage_timeout,
        patience=settings.storage_patience,
    )


def _url(settings: StorageSettings, prefix: str) -> str | None:
    if settings.storage_url is None:
        return f"s3://{settings.storage_bucket}" if settings.storage_bucket else None
    bucket = urlsplit(settings.storage_url).netloc
    if settings.storage_bucket not in (None, bucket):
        raise SettingsError(f"{prefix}STORAGE_BUCKET: is not the bucket of {prefix}STORAGE_URL; set one of them only")
    return settings.storage_url


def _is_path_style(lookup: str, endpoint: str | None) -> bool:
    if lookup != "auto":
        return lookup == "path"
    return endpoint is not None and not (urlsplit(endpoint).hostname or "").endswith(".amazonaws.com")


def _text(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None


def _authority(path: Path | None, prefix: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as exc:
        raise SettingsError(f"{prefix}STORAGE_CA: cannot read {path}: {exc.strerror}") from exc
