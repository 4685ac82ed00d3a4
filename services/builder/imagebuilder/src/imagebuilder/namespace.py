"""The user namespace that images are built in: its root is a user of the node who owns nothing there.

Making it takes the capabilities SETUID and SETGID and nothing else; inside it buildah may mount and change owners.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from imagebuilder.result import BuildFailed

# As /etc/subuid and /etc/subgid of the image have it: users 0 to 65535 inside are these outside.
FIRST_ID: Final = 100_000
IDS: Final = 65_536
_MARK: Final = "IMAGEBUILDER_NAMESPACE"


def entering(argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` as root of a new user namespace, with mounts of its own."""
    ids = f"{FIRST_ID},0,{IDS}"
    maps = (f"--map-users={ids}", f"--map-groups={ids}")
    return ["unshare", "--user", "--mount", *maps, "--setuid=0", "--setgid=0", "--", *argv]


def enter(arguments: Sequence[str]) -> None:
    """Go on in the namespace: start this program anew with the same arguments, once, in the same process.

    Raises:
        BuildFailed: internal, when the pod may not make such a namespace.
    """
    if os.environ.get(_MARK):
        return
    # Without maps: with them, an unshare that fails leaves a helper behind that waits for ever with our pipes open.
    done = subprocess.run(["unshare", "--user", "--mount", "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildFailed(
            "internal",
            f"the pod of this build may not make a user namespace: {done.stderr.strip()}",
            "Builds of Dockerfiles need SETUID, SETGID and a seccomp profile that allows unshare and mount.",
        )
    os.environ[_MARK] = "1"
    command = entering([sys.executable, "-m", "imagebuilder", *arguments])
    os.execvp(command[0], command)  # noqa: S606  # no shell is wanted
