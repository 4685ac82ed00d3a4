"""Errors of the builder: what a pusher or a caller of its HTTP interface can be told."""

from __future__ import annotations

from shared.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)


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


class PushCancelledError(ConflictError):
    """Somebody has ended a push before it was built; the reason is one sentence that says who."""

    code = "push-cancelled"
    title = "The push was cancelled"

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; nothing of this push was stored")


class BranchMovedError(ConflictError):
    """While a push was sent or waited, another one was deployed that it does not contain."""

    code = "branch-moved"
    title = "The branch has moved"

    def __init__(self, branch: str, tip: str) -> None:
        super().__init__(
            f"{branch} has moved to {tip[:12]} meanwhile, which this push does not contain; nothing was changed: "
            "fetch it, merge it and push again",
            branch=branch,
            tip=tip,
        )


class BranchBlockedError(ConflictError):
    """git cannot make a branch beside another whose name goes on from it, or from which its own goes on."""

    code = "branch-blocked"
    title = "The branch cannot be made"

    def __init__(self, branch: str, other: str) -> None:
        super().__init__(
            f"git cannot keep {branch} beside {other}, which is there already; nothing was changed: "
            f"remove that one with `git push <remote> --delete {other}` and push again",
            branch=branch,
        )


class BranchNotSetError(UnavailableError):
    """A push was deployed, and git cannot move its branch: a full disk, for example."""

    code = "branch-not-set"
    title = "git cannot move the branch"

    def __init__(self, app: str, branch: str, words: str) -> None:
        super().__init__(
            f"{app} is deployed, but git cannot move {branch} ({words}); push again when it can: nothing is built then",
            app=app,
            branch=branch,
        )


class RepositoryUnavailableError(UnavailableError):
    """The app's repository cannot be made."""

    code = "repository-unavailable"
    title = "The repository cannot be used"

    def __init__(self, app: str, words: str) -> None:
        super().__init__(
            f"the repository of {app} cannot be made: {words}; nothing was changed, tell the platform's operator",
            app=app,
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


class BuildStoppingError(UnavailableError):
    """A build was told to stop and takes its time: the database is away, for example."""

    code = "build-stopping"
    title = "The build is being stopped"

    def __init__(self, build_id: object) -> None:
        super().__init__(f"build {build_id} is being stopped, which takes longer than usual; look again in a moment")


class RegistryLoginError(UnauthenticatedError):
    """An account of the registry that we do not know, or not with this password. `errors` is what its clients print."""

    code = "registry-login-failed"

    def __init__(self, detail: str) -> None:
        super().__init__(
            detail,
            headers={"WWW-Authenticate": 'Basic realm="registry"'},
            errors=[{"code": "UNAUTHORIZED", "message": detail}],
        )


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


class AppGoneError(NotFoundError):
    """The controller knows no app of that name."""

    code = "app-gone"

    def __init__(self, app: str) -> None:
        super().__init__(f"the controller knows no app {app}", app=app)


class RegistryUnavailableError(UnavailableError):
    """The registry of images does not answer, or not to us."""

    code = "registry-unavailable"
    title = "The registry of images cannot be used"

    def __init__(self, host: str, words: str) -> None:
        super().__init__(f"the registry {host} cannot be used: {words}")


class RegistryRefusesDeletesError(ConflictError):
    """The registry is set up to delete nothing."""

    code = "registry-refuses-deletes"
    title = "The registry deletes nothing"

    def __init__(self, host: str) -> None:
        super().__init__(f"the registry {host} deletes nothing; have it allow that (storage.delete.enabled)")
