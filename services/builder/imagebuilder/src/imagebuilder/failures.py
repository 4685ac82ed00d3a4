"""What went wrong in buildah, in words for the person who pushed: read from its last lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from imagebuilder.output import Finished
from imagebuilder.result import BuildFailed

# `STEP 3/7: RUN make`, with `[1/2] ` before it when there are several stages. The last step of all is a label of ours.
STEP: Final = re.compile(r"(?:\[(?P<stage>\d+)/\d+\] )?STEP (?P<number>\d+)/\d+: (?P<instruction>.*)")
_MAX_WORDS: Final = 400
_DISK = re.compile(r"no space left on device|disk quota exceeded|ENOSPC", re.IGNORECASE)
_DENIED = re.compile(r"\bdenied\b|unauthorized|authentication required|forbidden", re.IGNORECASE)
_MISSING = re.compile(r"manifest unknown|name unknown|not found|no such image|repository name not known", re.IGNORECASE)
_NETWORK = re.compile(
    r"no such host|i/o timeout|connection refused|connection reset|network is unreachable|no route to host|"
    r"TLS handshake|x509:|server gave HTTP response|context deadline exceeded|EOF$|server misbehaving|50[0234] ",
    re.IGNORECASE,
)
_AWAY = re.compile(
    r"i/o timeout|connection refused|connection reset|no route to host|context deadline exceeded|EOF$|50[0234] ",
    re.IGNORECASE,
)
_RUN_NETWORK = re.compile(
    r"Temporary failure in name resolution|Could not resolve|Name or service not known|bad address|EAI_AGAIN|"
    r"Temporary failure resolving|Network is unreachable",
    re.IGNORECASE,
)
_AT_STEP = re.compile(r'building at STEP "(?P<instruction>.*?)": (?P<cause>.*)', re.DOTALL)
_STATUS = re.compile(r"exit status (\d+)")
_PULL = re.compile(
    r"creating build container|initializing source|pulling image|reading manifest|short-name", re.IGNORECASE
)
_CACHE = re.compile(r"(push|pull)ing cache|failed.*\bcache\b.*\b(push|pull|repo)", re.IGNORECASE)
_SYNTAX = re.compile(r"dockerfile parse error|unknown instruction|parsing Dockerfile|syntax error", re.IGNORECASE)
_COPY_MISSING = re.compile(r"no such file or directory|no items matching glob|not found", re.IGNORECASE)


def cache_failed(finished: Finished) -> bool:
    """Whether it was only the cache that could not be used."""
    return finished.status != 0 and _CACHE.search(_complaint(finished.tail)) is not None


def may_heal(finished: Finished) -> bool:
    """Whether a push failed because the registry, or who says what we may do there, did not answer just then."""
    return finished.status > 0 and _AWAY.search(_complaint(finished.tail)) is not None


def explain_build(path: str, finished: Finished) -> BuildFailed:
    """Why the image of that Dockerfile was not built."""
    complaint = _complaint(finished.tail)
    if any(_DISK.search(line) for line in finished.tail):
        return disk_full(f"building {path}")
    if finished.status < 0:
        return _killed(f"building {path}", finished.status)
    if match := _AT_STEP.search(complaint):
        return _step_failed(path, finished, match["instruction"], match["cause"])
    if _SYNTAX.search(complaint):
        return BuildFailed(
            "build-failed", f"{path} cannot be read: {_short(complaint)}", f"Correct {path} and push again."
        )
    if _PULL.search(complaint):
        return _base_image(path, finished, complaint)
    return BuildFailed("build-failed", f"building {path} failed: {_short(complaint)}", _try_locally(path))


def explain_push(image: str, finished: Finished) -> BuildFailed:
    """Why an image that was built did not get into the registry."""
    complaint = _complaint(finished.tail)
    if any(_DISK.search(line) for line in finished.tail):
        return disk_full(f"pushing {image}")
    if finished.status < 0:
        return _killed(f"pushing {image}", finished.status)
    if _DENIED.search(complaint):
        return BuildFailed(
            "internal",
            f"the registry does not let this build push {image}: {_short(complaint)}",
            "Push again. If it stays, the platform's credentials for the registry need a look.",
        )
    if _NETWORK.search(complaint):
        return BuildFailed(
            "internal", f"the registry cannot be reached to push {image}: {_short(complaint)}", "Push again."
        )
    return BuildFailed("internal", f"pushing {image} failed: {_short(complaint)}", "Push again.")


def disk_full(doing: str) -> BuildFailed:
    """The failure of a node or a volume without free space."""
    return BuildFailed(
        "disk-full",
        f"{doing} ran out of disk space",
        "Make the image smaller, or ask for more room for builds; then push again.",
    )


def _step_failed(path: str, finished: Finished, instruction: str, cause: str) -> BuildFailed:
    step = STEP.match(finished.step)
    where = path
    if step:
        stage = f"stage {step['stage']}, " if step["stage"] else ""
        where = f"{path}, {stage}step {step['number']}"
    words = instruction.split(maxsplit=1)[0].upper() if instruction.strip() else ""
    message = f"{where} failed: {_short(instruction, 200)}: {_short(_status(cause))}"
    if words in ("COPY", "ADD") and _COPY_MISSING.search(cause):
        return BuildFailed(
            "build-failed", message, "What is copied must be in the repository and not in .dockerignore."
        )
    if words == "RUN" and any(_RUN_NETWORK.search(line) for line in finished.tail):
        return BuildFailed("build-failed", message, "The step did not reach the network; push again if it should have.")
    if words == "RUN" and (match := _STATUS.search(cause)):
        return BuildFailed("build-failed", message, _STATUS_HINTS.get(match[1]) or _try_locally(path))
    return BuildFailed("build-failed", message, _try_locally(path))


_STATUS_HINTS: Final = {
    "127": "A program that the step calls is not in the image: install it in a step before.",
    "126": "A file that the step calls is not executable: `git update-index --chmod=+x FILE`, commit and push.",
    "137": "The step was killed, most likely for want of memory: let it use less, or ask for more for builds.",
}


def _base_image(path: str, finished: Finished, complaint: str) -> BuildFailed:
    step = STEP.match(finished.step)
    words = step["instruction"].split() if step else []
    names = [word for word in words[1:] if not word.startswith("--")]
    image = names[0] if names else "the base image"
    # A registry that hides what is private says `denied` for what does not exist, too.
    if _DENIED.search(complaint):
        what, hint = (
            "the registry denies access to it",
            "Check the name; a private base image needs to be made accessible.",
        )
    elif _MISSING.search(complaint):
        what, hint = "it does not exist in its registry", "Check the name and the tag after FROM."
    elif _NETWORK.search(complaint):
        what, hint = "its registry cannot be reached", "Check the registry's name; if it is right, push again later."
    else:
        what, hint = "it cannot be pulled", "Check the name after FROM."
    return BuildFailed("build-failed", f"{path}: base image {image}: {what}: {_short(complaint)}", hint)


def _killed(doing: str, status: int) -> BuildFailed:
    return BuildFailed(
        "build-failed", f"{doing} was ended by signal {-status}", "The node may be short of memory; push again later."
    )


def _complaint(tail: Iterable[str]) -> str:
    """buildah's own last words: the last line that begins with `Error:`, with what follows it, else the last line."""
    lines = list(tail)
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].startswith("Error:"):
            return " ".join(lines[index:]).removeprefix("Error:").strip()
    return lines[-1].strip() if lines else "it said nothing"


def _status(cause: str) -> str:
    return cause.removeprefix("while running runtime: ")


def _short(text: str, length: int = _MAX_WORDS) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _try_locally(path: str) -> str:
    return f"The lines above say why; `docker build -f {path} .` shows the same on your machine."
