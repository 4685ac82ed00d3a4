"""What can go wrong when the platform is started or asked for on one machine."""

from __future__ import annotations

from shared.errors import SuiteError


class StandaloneError(SuiteError):
    """Base: a one-line reason that says what to do."""

    code = "standalone"
    status = 500
    title = "The platform cannot do that"


class HomeNotUsableError(StandaloneError):
    """The data directory cannot be made, written or trusted."""

    code = "home-not-usable"
    title = "The data directory is not usable"


class AlreadyRunningError(StandaloneError):
    """Another platform runs on this data directory."""

    code = "already-running"
    title = "The platform runs already"


class NotRunningError(StandaloneError):
    """No platform runs on this data directory."""

    code = "not-running"
    title = "The platform does not run"


class PortTakenError(StandaloneError):
    """A port that the platform needs is in use."""

    code = "port-taken"
    title = "A port is taken"


class StartFailedError(StandaloneError):
    """A component did not start or did not become healthy in time."""

    code = "start-failed"
    title = "The platform did not start"


class CommandFailedError(StandaloneError):
    """A command that we ran for the user (git, ssh-keygen) or a request to the platform failed."""

    code = "command-failed"
    title = "A step failed"
