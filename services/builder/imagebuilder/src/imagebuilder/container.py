"""The `container` stack: every Dockerfile of the app built with buildah and pushed, without privileges on the node."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from imagebuilder import buildah, failures
from imagebuilder.output import Finished, heading, run
from imagebuilder.request import Dockerfile, Inputs, Request
from imagebuilder.result import BuildFailed, success
from imagebuilder.source import fetch

WORK: Final = Path("/scratch")
_ARG = re.compile(r"^[ \t]*ARG[ \t]+(?P<words>.+)$", re.IGNORECASE | re.MULTILINE)
_CONTINUED = re.compile(r"\\[ \t]*\r?\n")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Of these a Dockerfile may make use without an ARG of its own (Dockerfile reference, predefined ARGs).
_PREDEFINED: Final = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"})
_MAX_DOCUMENT: Final = 1024**2
_PROBE_SECONDS: Final = 60
# Who lets us push may be a builder that is started anew, which takes longer than the tries that buildah makes.
PUSH_PAUSES: Final = (4, 8, 16, 32)


def build(inputs: Inputs, work: Path = WORK) -> bytes:
    """Fetch, build, push; returns the result as the builder reads it.

    Raises:
        BuildFailed: with what the person who pushed needs to put it right.
    """
    request = inputs.request()
    # Before hours of work, not after: digests have one length, so the length of the result is known.
    success({entry.ptype: f"{buildah.repository(entry.image)}@sha256:{'0' * 64}" for entry in request.dockerfiles})
    source = work / "source"
    heading("Fetching the source...")
    fetch(request.source_url, inputs.token(), source, max_bytes=request.source_max_bytes)
    dockerfiles = {entry.ptype: read_document(source, entry.path) for entry in request.dockerfiles}
    builder = _Builder(request, inputs, work)
    builder.prepare()
    for entry in request.dockerfiles:
        heading(f"Building {entry.path} for {entry.ptype}...")
        builder.build(entry, build_arguments(dockerfiles[entry.ptype], entry.args))
    return success({entry.ptype: builder.push(entry) for entry in request.dockerfiles})


class _Builder:
    """buildah with the storage and the settings of one build."""

    def __init__(self, request: Request, inputs: Inputs, work: Path) -> None:
        self._request = request
        self._secrets = inputs.config()
        self._credentials = inputs.registry_credentials()
        self._work = work
        self._source = work / "source"
        self._environment = buildah.environment(work, os.environ)
        self._cached = request.cache_image is not None

    def prepare(self) -> None:
        """Make directories and configuration, and find out how layers can be kept here."""
        for name in buildah.DIRECTORIES:
            (self._work / name).mkdir(parents=True, exist_ok=True)
        (self._work / "registries.conf").write_text(buildah.registries_conf(self._request))
        storage = self._work / "storage.conf"
        storage.write_text(buildah.storage_conf(self._work, buildah.OVERLAY))
        if not self._works():
            storage.write_text(buildah.storage_conf(self._work, buildah.VFS))
            heading(
                "This node has no overlay for user namespaces: every layer is copied, which takes more time and disk"
            )

    def build(self, entry: Dockerfile, arguments: Mapping[str, str]) -> None:
        """Build one image into the local storage; when only the cache fails, once more without it.

        Raises:
            BuildFailed: with the instruction that failed.
        """
        finished = self._build(entry, arguments)
        if self._cached and failures.cache_failed(finished):
            heading("The cache of earlier builds cannot be used: building without it")
            self._cached = False
            finished = self._build(entry, arguments)
        if finished.status != 0:
            raise failures.explain_build(entry.path, finished)

    def push(self, entry: Dockerfile) -> str:
        """Push one image; returns its name with the digest that the registry has it under.

        Raises:
            BuildFailed: it is not in the registry.
        """
        heading(f"Pushing {entry.image}...")
        digest_file = self._work / f"digest-{entry.ptype}"
        command = buildah.push_command(entry.image, digest_file=digest_file, credentials=self._credentials)
        finished = self._run(command)
        for pause in PUSH_PAUSES:
            if not failures.may_heal(finished):
                break
            heading(f"The registry does not answer: pushing again in {pause} s...")
            time.sleep(pause)
            finished = self._run(command)
        if finished.status != 0:
            raise failures.explain_push(entry.image, finished)
        digest = digest_file.read_text().strip()
        if not _DIGEST.fullmatch(digest):
            raise BuildFailed("internal", f"pushing {entry.image} gave no digest")
        return f"{buildah.repository(entry.image)}@{digest}"

    def _build(self, entry: Dockerfile, arguments: Mapping[str, str]) -> Finished:
        return self._run(
            buildah.build_command(
                entry,
                self._request,
                source=self._source,
                secrets=self._secrets,
                arguments=arguments,
                credentials=self._credentials,
                cached=self._cached,
            )
        )

    def _works(self) -> bool:
        """Whether buildah can open its storage with the driver that storage.conf names."""
        command = ["buildah", "info"]
        try:
            done = subprocess.run(
                command, env=self._environment, capture_output=True, timeout=_PROBE_SECONDS, check=False, cwd=self._work
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BuildFailed("internal", f"buildah does not run: {error}") from error
        return done.returncode == 0

    def _run(self, command: list[str]) -> Finished:
        return run(command, environment=self._environment, cwd=str(self._source), step=failures.STEP)


def read_document(source: Path, path: str) -> str:
    """A file of the source as text.

    Raises:
        BuildFailed: it is not there, not a regular file inside the source, or larger than 1 MiB.
    """
    file = (source / path).resolve()
    if not file.is_relative_to(source.resolve()) or not file.is_file() or file.stat().st_size > _MAX_DOCUMENT:
        raise BuildFailed(
            "build-failed",
            f"{path} is not a file of at most 1 MiB in the repository",
            f"Add {path}, commit and push again.",
        )
    return file.read_text(errors="replace")


def build_arguments(dockerfile: str, offered: Mapping[str, str]) -> dict[str, str]:
    """What is passed as `--build-arg`: only what the Dockerfile declares."""
    lines = _CONTINUED.sub(" ", dockerfile)
    declared = {word.partition("=")[0] for match in _ARG.finditer(lines) for word in match["words"].split()}
    return {name: value for name, value in offered.items() if name in declared or name.upper() in _PREDEFINED}
