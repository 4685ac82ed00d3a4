"""Why a container does not start: its image, its settings, its command."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from controller.engine.kubernetes.facts import Container, Events, created_at
from controller.engine.kubernetes.findings import (
    COMMAND_HINT,
    CONFIG_HINT,
    IMAGE_AWAY_HINT,
    IMAGE_DENIED_HINT,
    IMAGE_MISSING_HINT,
    IMAGE_NAME_HINT,
    IMAGE_SLOW_HINT,
    OPERATOR_HINT,
    ROOT_HINT,
    VOLUME_HINT,
    Finding,
    own_words,
)
from shared.kubernetes.kinds import Manifest

IMAGE_REASONS: Final = (
    "ErrImagePull",
    "ImagePullBackOff",
    "RegistryUnavailable",
    "ImageInspectError",
    "ErrImageNeverPull",
    "InvalidImageName",
    "SignatureValidationFailed",
)
_PULL_TRIES: Final = 2
_TRIED_TWICE_AFTER: Final = timedelta(seconds=30)
"""The kubelet has tried twice by then, where no event tells."""
_PATIENT: Final = ("toomanyrequests", "too many requests", "timeout", "connection refused", "connection reset")
_DENIED: Final = (
    "unauthorized",
    "authorization failed",
    "authentication required",
    "access denied",
    "access to the resource is denied",
    "requires 'docker login'",
    "may require authorization",
    "no basic auth credentials",
    "forbidden",
    "insufficient_scope",
)
_MISSING: Final = ("not found", "manifest unknown", "name unknown", "does not exist", "no match for platform")
_RUNTIME_NOISE: Final = re.compile(r"^.*(?:unable to start container process|failed to create shim task): ", re.DOTALL)
_NO_PROGRAM: Final = re.compile(r"executable file not found|exec: .*no such file or directory|no command specified")
_NO_RIGHT: Final = re.compile(r"exec: .*(permission denied|is a directory)|exec format error")


def of_image(pod: Manifest, container: Container, events: Events, now: datetime) -> Finding:
    """The image is not there, says the kubelet."""
    reason = str(container.waiting.get("reason"))
    image, words = _image_of(pod, container), _pull_words(pod, container, events)
    if reason == "InvalidImageName":
        return Finding("image-invalid", f"{image!r} is not the name of an image: {words}", IMAGE_NAME_HINT, True)
    if reason == "ErrImageNeverPull":
        return Finding("image-not-found", f"the image {image} is not on the machine: {words}", IMAGE_MISSING_HINT, True)
    if reason == "SignatureValidationFailed":
        return Finding("image-denied", f"the signature of the image {image} was refused: {words}", OPERATOR_HINT, True)
    low = words.lower()
    is_fatal = _tried_twice(pod, container, events, now)
    if not any(word in low for word in _PATIENT):
        if any(word in low for word in _DENIED):
            return Finding(
                "image-denied", f"the registry does not give the image {image}: {words}", IMAGE_DENIED_HINT, is_fatal
            )
        if any(word in low for word in _MISSING):
            return Finding("image-not-found", f"there is no image {image}: {words}", IMAGE_MISSING_HINT, is_fatal)
    return Finding("image-unavailable", f"the image {image} could not be pulled: {words}", IMAGE_AWAY_HINT)


def of_creation(pod: Manifest, container: Container, events: Events, now: datetime) -> Finding | None:
    """It is being made; that takes long when a volume or the image does not come."""
    for kinds, code, what, hint in (
        (("FailedMount", "FailedAttachVolume", "FailedMapVolume"), "mount-failed", "a volume", VOLUME_HINT),
        (("FailedCreatePodSandBox", "FailedCreatePodContainer"), "start-failed", "the container", OPERATOR_HINT),
    ):
        found = events.of_pod(pod, *kinds)
        if found:
            return Finding(code, f"{what} could not be set up: {own_words(found[-1].note)}", hint)
    pulls = events.of_pod(pod, "Pulling", "Pulled", "Failed", container=container.name)
    if not pulls or pulls[-1].reason != "Pulling":
        return None
    seconds = max(0, int((now - pulls[-1].last).total_seconds()))
    text = f"the image {_image_of(pod, container)} is still being pulled after {seconds} s"
    return Finding("image-slow", text, IMAGE_SLOW_HINT, is_patient=True)


def of_settings(container: Container) -> Finding:
    """Its settings are not there (CreateContainerConfigError)."""
    text = own_words(container.waiting.get("message"))
    if "runAsNonRoot" in text or "non-root" in text:
        return Finding("config-error", f"it may not run as root: {text}", ROOT_HINT, True)
    # Said of a kubelet that has not read a Secret yet.
    is_fatal = "cache" not in text and "timed out" not in text
    return Finding("config-error", f"its settings are not complete: {text}", CONFIG_HINT, is_fatal)


def of_start_error(text: str, ends: int, *, patience: int) -> Finding:
    """The machine could not start the command; what other reason there is may pass until it was tried often."""
    words = own_words(_RUNTIME_NOISE.sub("", text)).removesuffix(": unknown")
    if "error mounting" in text:
        return Finding("mount-failed", f"a volume could not be set up: {words}", VOLUME_HINT, ends >= patience)
    if _NO_PROGRAM.search(words):
        return Finding("command-not-found", f"the command was not found: {words}", COMMAND_HINT, True)
    if _NO_RIGHT.search(words):
        return Finding("command-not-found", f"the command cannot be executed: {words}", COMMAND_HINT, True)
    return Finding("start-failed", f"it could not be started: {words}", OPERATOR_HINT, ends >= patience)


def of_unknown(reason: str, message: object) -> Finding:
    """A state that is not known here, in the words of the cluster."""
    return Finding("start-failed", own_words(f"{reason}: {message}" if message else reason), OPERATOR_HINT)


def _tried_twice(pod: Manifest, container: Container, events: Events, now: datetime) -> bool:
    tries = events.of_pod(pod, "Pulling", container=container.name)
    if tries:
        return sum(happening.count for happening in tries) >= _PULL_TRIES
    return container.waiting.get("reason") == "ImagePullBackOff" and now - created_at(pod) >= _TRIED_TWICE_AFTER


def _pull_words(pod: Manifest, container: Container, events: Events) -> str:
    """The end of a chain of `failed to ...: `, which is what happened. While it waits for the next try, older kubelets
    tell that in an event only."""
    words = own_words(container.waiting.get("message"))
    if container.waiting.get("reason") == "ImagePullBackOff" and "ErrImagePull: " not in words:
        failed = events.of_pod(pod, "Failed", container=container.name)
        told = [happening.note for happening in failed if happening.note.startswith("Failed to pull image")]
        words = own_words(told[-1]) if told else words
    for mark in ("failed to resolve reference ", "failed to pull and unpack image "):
        if mark in words:
            return words.rpartition(mark)[2].partition(": ")[2] or words
    return words


def _image_of(pod: Manifest, container: Container) -> str:
    spec = pod.get("spec") or {}
    listed = spec.get("initContainers" if container.is_init else "containers") or ()
    return next((str(one.get("image", "")) for one in listed if one.get("name") == container.name), "")
