"""The pre-receive hook: a program of its own, run by git with `python -I -S`.

It hands what git says to the builder over a unix socket and copies the answer to the pusher. A line that starts with
NUL holds the exit status; an end without one means that the builder has gone, which declines the push.

It runs once for every push, so it loads next to nothing: `socket` and `json` would cost more than all that it does.
What it sends is lines, each a word and what it is about, and an empty line: none of it can hold a line break
(git-push(1) and gitprotocol-pack(5) forbid it in options and refs).
"""

import os
import sys
from _socket import AF_UNIX, SOCK_STREAM, socket

STATUS_MARK = b"\0"
_CHUNK_BYTES = 64 * 1024


def main() -> int:
    try:
        connection = socket(AF_UNIX, SOCK_STREAM)
        connection.connect(os.environb.get(b"BUILDER_SOCKET", b""))
        connection.sendall(_request())
        return _copy(connection)
    except OSError:
        return _gone()


def _request() -> bytes:
    environment = os.environb
    lines = [b"token " + environment.get(b"BUILDER_TOKEN", b"")]
    if b"GIT_QUARANTINE_PATH" in environment:
        lines.append(b"quarantine " + environment[b"GIT_QUARANTINE_PATH"])
    for number in range(int(environment.get(b"GIT_PUSH_OPTION_COUNT", b"0"))):
        lines.append(b"option " + environment.get(b"GIT_PUSH_OPTION_%d" % number, b"").replace(b"\n", b" "))
    lines += [b"ref " + line for line in sys.stdin.buffer.read().split(b"\n") if line]
    return b"\n".join(lines) + b"\n\n"


def _copy(connection: socket) -> int:
    """Copy the answer as it comes; whole lines only, as a status may stand at the start of each."""
    kept = b""
    while data := connection.recv(_CHUNK_BYTES):
        *lines, kept = (kept + data).split(b"\n")
        for number, line in enumerate(lines):
            if line.startswith(STATUS_MARK):
                _write(lines[:number])
                return int(line[1:])
        _write(lines)
    return _gone()


def _write(lines: list[bytes]) -> None:
    data = memoryview(b"".join(line + b"\n" for line in lines))
    while data:
        data = data[os.write(1, data) :]


def _gone() -> int:
    try:
        _write([b"!     The builder went away, so git keeps things as they were; push again in a moment."])
    except OSError:  # git may have gone as well
        return 1
    return 1


if __name__ == "__main__":
    sys.exit(main())
