"""The engine port: what the reconciler and the API ask of whatever runs the apps.

Adapters: `engine.memory` (instant, scriptable), `engine.local` (processes of this machine) and `engine.kubernetes`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import ClassVar, Literal, Protocol

from controller.domain.spec import AppObservation, AppSpec, EngineEvent, Failure, JobSpec, JobState, ProcessSpec
from controller.domain.spec_network import NetworkObservation, NetworkSpec
from controller.domain.spec_storage import FileEntry, VolumeSpec
from shared.errors import SuiteError, UnavailableError

Feature = Literal["acme", "autoscale", "gateways", "lifecycle", "quota", "tags", "tls", "volumes", "wildcards"]
"""What an adapter may be unable to do; the services refuse a request for a feature that the engine lacks.
`gateways`: services, gateways and routes beyond the one that every web process has. `wildcards`: domains
that begin with `*.`. `tls`: HTTPS for apps, with certificates that users bring. `acme`: certificates that come by
themselves."""


class NotSupportedError(SuiteError):
    """This engine cannot do what was asked; the text says what and what to do instead."""

    code: ClassVar[str] = "not-supported"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "Not supported by this engine"


class StillThereError(SuiteError):
    """Something of an app that is to go is still there; try again."""

    code: ClassVar[str] = "still-there"
    status: ClassVar[int] = 503
    title: ClassVar[str] = "The app is not gone yet"


class EngineAwayError(UnavailableError):
    """What runs the apps cannot be reached, so that nothing is known of them: no deadline passes meanwhile."""

    code: ClassVar[str] = "engine-away"
    title: ClassVar[str] = "What runs the apps cannot be reached"


class ExecSession(Protocol):
    """A command in a running instance, joined to the caller until one side ends it."""

    async def read(self) -> tuple[int, bytes] | None:
        """The next output: (1, stdout) or (2, stderr); None when the command has ended and all was read."""

    async def write(self, data: bytes) -> None:
        """Bytes for stdin; ignored when the command has ended or was started without stdin."""

    async def resize(self, *, height: int, width: int) -> None:
        """New size of the terminal, in character cells; nothing without a tty."""

    async def wait(self) -> int:
        """The exit code, as soon as there is one; 128 + n for signal n."""

    async def close(self) -> None:
        """End the command if it still runs; safe to call twice."""


class FileStore(Protocol):
    """The files of one volume. Paths are relative to its root, without a slash in front; the root is the empty path.

    All raise NotFoundError for a path that is not there.
    """

    async def list(self, path: str) -> Sequence[FileEntry]:
        """What a directory holds; a file's own path gives that file."""

    async def read(self, path: str) -> tuple[int, AsyncIterator[bytes]]:
        """A file: its size in bytes and its content."""

    async def write(self, path: str, content: AsyncIterator[bytes]) -> None:
        """Make or replace a file, with the directories above it; it has its new content at once or not at all."""

    async def delete(self, path: str) -> None:
        """Remove a file, or a directory with all that is in it."""


class Engine(Protocol):
    """Runs apps. Every call has a deadline of the adapter's own and raises `UnavailableError` when it passes."""

    @property
    def features(self) -> frozenset[Feature]:
        """What this adapter can do beyond running processes and routing to them."""

    def why_not(self, what: str) -> str | None:
        """Why apps cannot have a feature or a kind of route here, in one line that says what to do; None when they can,
        or when nothing is known but that `features` lacks it."""

    async def start(self) -> None:
        """Become ready for the other calls."""

    async def close(self) -> None:
        """Stop working; an adapter that owns the processes (local) ends them all."""

    async def apply(self, spec: AppSpec) -> None:
        """Record what the app should be and return; converges in the background. Idempotent.

        An error that is about one process type has that as the fact `ptype`.

        Raises:
            NotSupportedError: the spec asks for what this adapter cannot do.
            EngineAwayError: nothing can be told or seen now.
        """

    async def remove(self, app: str) -> None:
        """Take everything of the app away; it is gone when this returns. Unknown apps are gone already.

        Raises:
            StillThereError: not all is gone; call again later.
        """

    def watch(self) -> AsyncIterator[str]:
        """Names of apps whose observation (a job's included) has changed, until closed. Doubles are possible."""

    async def observe(self, app: str) -> AppObservation:
        """What is there now; an empty observation for an unknown app."""

    async def explain(self, app: str, ptype: str) -> Failure | None:
        """Why new instances of that type are not ready by now, as far as can be told before their own deadline.

        None when nothing can be told, because they are ready or because there are none.
        """

    async def events(self, app: str, *, instance: str | None = None, ptype: str | None = None) -> Sequence[EngineEvent]:
        """What the engine has noted of an instance or of a process type, the oldest first; empty when it notes nothing
        beyond what `observe` tells."""

    async def network(self, app: str) -> NetworkObservation:
        """The addresses of the app's gateways and how its certificates fare; empty without either."""

    async def check_volume(self, app: str, volume: VolumeSpec) -> None:
        """Refuse at once a volume, or a new size of one, that can never be.

        Raises:
            SuiteError: in the words of whatever refuses it, as a 4xx; NotSupportedError: this engine has no volumes.
        """

    async def files(self, app: str, volume: str) -> FileStore:
        """The files of a volume.

        Raises:
            NotSupportedError: this engine has no volumes.
            NotFoundError: the app has no such volume.
        """

    async def run(self, job: JobSpec) -> None:
        """Start a one-off; a job of that name that exists already is left as it is.

        Raises:
            NotSupportedError: as for apply.
            UnavailableError: it could not be started.
        """

    async def job(self, app: str, name: str) -> JobState | None:
        """Where that one-off stands; None when there is none of that name (any more)."""

    async def stop_job(self, app: str, name: str) -> None:
        """End a one-off before its time; its outcome is `crashed` with the reason `stopped`.

        One that has ended or that the engine does not know is not an error.
        """

    def logs(self, app: str, *, instance: str | None, lines: int, follow: bool) -> AsyncIterator[bytes]:
        """Output of one instance, or of all of them in order of time; `lines` <= 0 means everything kept."""

    async def exec(self, app: str, instance: str, *, command: Sequence[str], tty: bool, stdin: bool) -> ExecSession:
        """Start a command beside a running instance, in its environment.

        Raises:
            NotFoundError: no such instance runs.
        """

    async def stop_instance(self, app: str, instance: str) -> None:
        """End one instance; another takes its place. An unknown instance is not an error."""

    def has_machine(self, tags: Mapping[str, str]) -> bool:
        """Whether some machine has all of these labels, so that a process with these tags can run somewhere."""

    def check(self, process: ProcessSpec) -> None:
        """Refuse at once what can never run here.

        Raises:
            NotSupportedError: says what this adapter cannot do.
        """

    def check_network(self, app: str, network: NetworkSpec) -> None:
        """Refuse at once a network that an app can never have here.

        Raises:
            NotSupportedError: says what stands against it and what to do.
        """
