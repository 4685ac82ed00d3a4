"""The pre-receive hook: a program of its own, run by git with `python -I -S`, standard library only.

It hands what git says to the builder over a unix socket and copies the answer to the pusher. A line that starts with
NUL holds the exit status; an end without one means that the builder has gone, which declines the push.
"""

import contextlib
import json
import os
import socket
import sys

STATUS_MARK = b"\0"


def main() -> int:
    request = {
        "token": os.environ.get("BUILDER_TOKEN", ""),
        "refs": [_words(line) for line in sys.stdin.buffer.read().split(b"\n") if line],
        "quarantine": os.environ.get("GIT_QUARANTINE_PATH"),
        "options": [
            _text(os.environb.get(b"GIT_PUSH_OPTION_%d" % number, b""))
            for number in range(int(os.environ.get("GIT_PUSH_OPTION_COUNT", "0")))
        ],
    }
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(os.environ.get("BUILDER_SOCKET", ""))
            connection.sendall(json.dumps(request).encode() + b"\n")
            return _copy(connection)
        except OSError:
            return _gone()


def _words(line: bytes) -> list[str]:
    """`<old> <new> <ref>`: a ref is any bytes but a few, so that only these two blanks separate."""
    return [_text(word) for word in line.split(b" ", 2)]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _copy(connection: socket.socket) -> int:
    """Copy the answer as it comes; whole lines only where a status may stand."""
    with connection.makefile("rb") as answer:
        for line in answer:
            if line.startswith(STATUS_MARK):
                return int(line[1:])
            os.write(1, line)
    return _gone()


def _gone() -> int:
    with contextlib.suppress(OSError):  # git may have gone as well
        os.write(1, b"!     The builder went away, so git keeps things as they were; push again in a moment.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
