"""What was found out about something that does not run, in words for the person who deployed it.

Codes are those of the local engine where it knows the same; messages of the cluster are passed on in its own words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from controller.domain.spec import Failure
from controller.engine.exits import crash_hint

_MOST_CHARACTERS: Final = 1000
# `_<namespace>(<uid>)` behind the name of a pod says nothing to people.
_POD_NOISE: Final = re.compile(r"_[a-z0-9-]+\([0-9a-z-]+\)")


@dataclass(frozen=True)
class LogSource:
    """Where the last lines are: of a container as it is now, or of the one that ended before it (`previous`)."""

    pod: str
    container: str
    previous: bool


@dataclass(frozen=True)
class Finding:
    """Why something does not run.

    `is_fatal`: it will not get better by itself, a rollout should fail now. `is_patient`: it only takes long, and no
    deadline of the cluster makes a failure of it. `log_source` is None where there can be no output.
    """

    code: str
    message: str
    hint: str = ""
    is_fatal: bool = False
    is_patient: bool = False
    log_source: LogSource | None = None
    exit_code: int | None = None

    def fatal(self, is_fatal: bool = True) -> Finding:
        """The same, fatal or not."""
        return replace(self, is_fatal=is_fatal)

    def failure(self, ptype: str, log: Sequence[str] = ()) -> Failure:
        """It as the engine port tells it; `log` holds the last lines of `log_source`."""
        hint = crash_hint(log, self.exit_code) if self.code == "process-crashed" else self.hint
        return Failure(self.code, ptype, self.message, tuple(log), hint)


def own_words(text: object) -> str:
    """What the cluster says, in one line and without what only machines read."""
    line = " ".join(_POD_NOISE.sub("", str(text or "")).split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}..."


COMMAND_HINT: Final = (
    "Check the spelling in the Procfile, that the image has the program, and for a script of your own that it is "
    "executable (`git update-index --chmod=+x FILE`)."
)
ROOT_HINT: Final = "Let the image run as another user: `USER 1000` in the Dockerfile; then push again."
CONFIG_HINT: Final = "The platform made its settings; deploy again, and tell the operator when it stays like this."
IMAGE_NAME_HINT: Final = "Correct the name of the image and deploy again."
IMAGE_MISSING_HINT: Final = (
    "Check the name and the tag of the image, and that it was pushed; of an app that is built here, push again."
)
IMAGE_DENIED_HINT: Final = (
    "Check the name of the image, and give the credentials of its registry: "
    "`drycc registry set username=... password=...`."
)
IMAGE_AWAY_HINT: Final = (
    "The registry did not answer as it should; it is tried again all the time. Check its address, and whether it works."
)
IMAGE_SLOW_HINT: Final = "Make the image smaller, or give it more time with DRYCC_DEPLOY_TIMEOUT."
MEMORY_HINT: Final = (
    "Choose a larger plan (`drycc limits plans`, `drycc limits set {ptype}=PLAN`), or run fewer workers."
)
FOREGROUND_HINT: Final = (
    "A process type must keep running in the foreground: no `&`, no daemon mode. For a command that ends by design "
    "use `drycc run`."
)
READINESS_HINT: Final = (
    "Let the app answer its readiness check when it is ready, or change the check: `drycc healthchecks info`."
)
LISTEN_HINT: Final = (
    "Let the app listen on the port in the environment variable PORT, on all addresses. A process that serves no "
    "requests belongs under another name than `web`, for instance `worker`."
)
LIVENESS_HINT: Final = (
    "It was ended because it did not pass its check; change the check or give it more time: `drycc healthchecks info`."
)
HANDLER_HINT: Final = "Correct the postStart command: `drycc lifecycle`."
PLACE_HINT: Final = "No machine has that much free: choose a smaller plan (`drycc limits set`) or fewer processes."
TAGS_HINT: Final = "No machine has these labels: `drycc tags list` shows them, `drycc tags unset` removes them."
VOLUME_HINT: Final = "`drycc volumes list` shows the volumes; the operator can see why the storage does not come."
QUOTA_HINT: Final = "The app may use no more: scale down, choose smaller plans, or ask the operator for a higher quota."
ADMISSION_HINT: Final = "The rules of the cluster forbid it; change what they name, or ask the operator."
EVICTED_HINT: Final = (
    "Another one takes its place. One that needs more disk or memory than it may have needs another plan."
)
NODE_HINT: Final = "Another one takes its place on another machine."
DEADLINE_HINT: Final = (
    "See its output with `drycc apps logs`; a slow start needs a startup probe: `drycc healthchecks set`."
)
OPERATOR_HINT: Final = "The operator can see more: `kubectl describe pod`."
