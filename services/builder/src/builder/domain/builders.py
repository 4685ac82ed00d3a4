"""Which image builds an app that has no Dockerfile: what the app asks for, and whether this platform lets it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from shared.errors import InvalidInputError

FILES: Final = (".pack-builder", ".packbuilder")
"""Both names of the file that names a builder image (builder.md 13.2 (5) and 13.4)."""
DESCRIPTOR: Final = "project.toml"
"""The project descriptor of Cloud Native Buildpacks."""
SETTING: Final = "BUILDER_BUILDER_IMAGES"

# Where versions of the project descriptor have it: 0.2, a draft of 0.2, 0.1.
_KEYS: Final = (("io", "buildpacks", "builder"), ("io", "buildpacks", "build", "builder"), ("build", "builder"))
# The grammar of the distribution project: host, path, tag, digest.
_REFERENCE: Final = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+(?:(?::[0-9]{1,5})?/[A-Za-z0-9._/-]+)?)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_PATH: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_HUB: Final = "docker.io"
_LONGEST: Final = 255


class BuilderImageError(InvalidInputError):
    """The builder image that the app asks for cannot be used; the detail names the file and says what to do."""

    code: ClassVar[str] = "bad-builder"
    title: ClassVar[str] = "The builder image cannot be used"


@dataclass(frozen=True)
class Reference:
    """The complete name of an image: `host`, `path`, and a tag or a digest (or both)."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a name as container tools do: without a registry it is one of Docker Hub, without a tag `latest`.

        Raises:
            ValueError: it names no image.
        """
        match = _REFERENCE.fullmatch(text) if len(text) <= _LONGEST else None
        if match is None:
            raise ValueError(text)
        host, slash, path = match["name"].partition("/")
        if not slash or not (set(host) & set(".:") or host == "localhost"):
            host, path = _HUB, match["name"] if slash else f"library/{match['name']}"
        if _PATH.fullmatch(path) is None:
            raise ValueError(text)
        digest = match["digest"] or ""
        return cls(host, path, match["tag"] or ("" if digest else "latest"), digest)

    @property
    def repository(self) -> str:
        """Host and path."""
        return f"{self.host}/{self.path}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


@dataclass(frozen=True)
class Wish:
    """A builder image that an app asks for, and the file in which it does."""

    file: str
    image: Reference


def is_asked(names: Collection[str]) -> bool:
    """Whether one of those names in the root of an app may say which builder image builds it."""
    return any(name in names for name in (*FILES, DESCRIPTOR))


def wish_of(files: Mapping[str, bytes | None]) -> Wish | None:
    """What those files ask for; None when that is nothing. A file of its own wins over project.toml.

    `files` has those of `FILES` and `DESCRIPTOR` that are there; None is one that is no regular file of modest size.

    Raises:
        BuilderImageError: a file cannot be read, the two files say different things, or what they say is no image.
    """
    wishes = [_named(name, files[name]) for name in FILES if name in files]
    if len({wish.image for wish in wishes}) > 1:
        raise BuilderImageError(f"{' and '.join(FILES)} name different builder images: remove one of them")
    if wishes:
        return wishes[0]
    return _described(files[DESCRIPTOR]) if DESCRIPTOR in files else None


def check_allowed(wish: Wish, patterns: Sequence[str]) -> None:
    """Let pass what one of the patterns allows.

    `*` in a pattern stands for anything but `/`; one without a tag allows all tags; `*` alone allows every image.

    Raises:
        BuilderImageError: none does.
    """
    if any(_fits(wish.image, pattern) for pattern in patterns):
        return
    allowed = f"allowed are {', '.join(patterns)}" if patterns else "it allows none but its own"
    raise BuilderImageError(
        f"{wish.file} asks for the builder image {wish.image}, which this platform does not allow ({allowed}; its "
        f"operator sets {SETTING}): remove it from {wish.file} and push again"
    )


def matching(image: Reference, table: Mapping[str, str]) -> str:
    """The value of the first pattern that the image fits; empty when it fits none."""
    return next((value for pattern, value in table.items() if _fits(image, pattern)), "")


def check_pattern(pattern: str) -> str:
    """A pattern as an operator wrote it.

    Raises:
        ValueError: it could not fit any image.
    """
    host, slash, _ = pattern.partition("/")
    if pattern != "*" and not (slash and (set(host) & set(".:*") or host == "localhost")):
        raise ValueError(f"{pattern!r} lacks the registry: write e.g. docker.io/paketobuildpacks/*")
    return pattern


def _fits(image: Reference, pattern: str) -> bool:
    if pattern == "*":
        return True
    last = pattern.rpartition("/")[2]
    if "@" in last:
        name = f"{image.repository}@{image.digest}"
    elif ":" in last:
        # A digest wins over the tag, which then says nothing.
        name = f"{image.repository}:{image.tag}" + (f"@{image.digest}" if image.digest else "")
    else:
        name = image.repository
    return re.fullmatch("[^/]*".join(re.escape(part) for part in pattern.split("*")), name) is not None


def _named(file: str, content: bytes | None) -> Wish:
    text = "".join(_text(file, content).split())
    if not text:
        raise BuilderImageError(f"{file} is empty: name a builder image in it, or remove it")
    return Wish(file, _reference(file, text))


def _described(content: bytes | None) -> Wish | None:
    try:
        table: object = tomllib.loads(_text(DESCRIPTOR, content))
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise BuilderImageError(f"{DESCRIPTOR} is not valid TOML: {exc}") from exc
    for keys in _KEYS:
        value = table
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            if not isinstance(value, str):
                raise BuilderImageError(f"{DESCRIPTOR}: {'.'.join(keys)} is not a string: write the name of an image")
            return Wish(DESCRIPTOR, _reference(DESCRIPTOR, value.strip()))
    return None


def _text(file: str, content: bytes | None) -> str:
    if content is None:
        raise BuilderImageError(f"{file} is not a regular file of at most 1 MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise BuilderImageError(f"{file} is not valid UTF-8; save the file as UTF-8") from exc


def _reference(file: str, text: str) -> Reference:
    try:
        return Reference.parse(text)
    except ValueError as exc:
        shown = "".join(char if char.isprintable() else "?" for char in text[:80])
        raise BuilderImageError(
            f"{file}: `{shown}` is no image name; write one such as docker.io/example/builder:1"
        ) from exc
