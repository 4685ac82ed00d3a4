"""Errors of the builder: what a pusher or a caller of its HTTP interface can be told."""

from __future__ import annotations

from datetime import datetime

from shared.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError, UnavailableError


class UnknownCommandError(InvalidInputError):
    """An SSH command other than ping and the two git ones."""

    code = "unknown-command"
    title = "No such command"


class RepositoryNameError(InvalidInputError):
    """A repository path that cannot name an app."""

    code = "bad-repository-name"
    title = "No such repository"


class PushNotAllowedError(ForbiddenError):
    """The app does not exist for this user: absent and forbidden look the same."""

    code = "push-not-allowed"

    def __init__(self, app: str, username: str) -> None:
        super().__init__(
            f"{app} does not exist, or {username} may not push to it; `drycc apps list` shows yours", app=app
        )


class PushInProgressError(ConflictError):
    """Another push to the same app has not ended yet."""

    code = "push-in-progress"
    title = "Another git push is ongoing"

    def __init__(self, app: str, username: str, since: datetime) -> None:
        super().__init__(
            f"Another git push is ongoing: {username} pushes {app} since {since:%H:%M:%S} UTC",
            app=app,
            username=username,
            since=since.isoformat(),
        )


class TooManyCommandsError(UnavailableError):
    """One address, key or app has as many git commands under way as it may have."""

    code = "too-many-commands"
    title = "Too many git commands at once"

    def __init__(self, whose: str, limit: int) -> None:
        super().__init__(
            f"Too many git commands run {whose} at once ({limit}); try again when one of them has ended", limit=limit
        )


class ControllerUnavailableError(UnavailableError):
    """The controller did not answer, or answered nonsense: nobody's rights can be checked now."""

    code = "controller-unavailable"
    title = "The controller does not answer"

    def __init__(self) -> None:
        super().__init__("Workflow cannot check your access right now: its controller does not answer; try again soon")


class BuildNotFoundError(NotFoundError):
    """No build of that id."""

    code = "build-not-found"

    def __init__(self, build_id: object) -> None:
        super().__init__(f"there is no build {build_id}")


class BuildEndedError(ConflictError):
    """The build has ended, so it cannot be cancelled any more."""

    code = "build-ended"

    def __init__(self, build_id: object, state: str) -> None:
        super().__init__(f"build {build_id} has {state} already", state=state)


class StorageUnavailableError(UnavailableError):
    """Object storage does not answer, or refuses what we may do by its settings. The detail has its own words."""

    code = "storage-unavailable"
    title = "The storage of source archives cannot be used"

    def __init__(self, doing: str, place: str, words: str) -> None:
        super().__init__(f"{doing} failed: {words} (storage {place})")
        self.words = words


class ArchiveNotFoundError(NotFoundError):
    """No source archive of that key."""

    code = "archive-not-found"

    def __init__(self, key: str) -> None:
        super().__init__(f"there is no source archive {key}")


class ArchiveTooLargeError(InvalidInputError):
    """The source does not fit into what a source archive may hold."""

    code = "archive-too-large"
    title = "The source is too large"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(
            f"the source is larger than {max_bytes / 1024**2:g} MiB when it is packed; "
            "keep large files out of the repository",
            max_bytes=max_bytes,
        )
