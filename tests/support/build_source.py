"""The source of builds in a cluster, served by a test as the builder does it."""

from __future__ import annotations

import http.server
import io
import socket
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

TOKEN: Final = "the-token-of-this-build"  # of a server that lives as long as its test


def archive(files: Mapping[str, str]) -> bytes:
    """A source archive with those files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as target:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o644
            target.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


@contextmanager
def served(content: bytes, *, needs_token: bool = True, failures: Sequence[int] = ()) -> Iterator[str]:
    """URL, good in pods, of a source archive; the first requests are answered with `failures` (HTTP status codes).

    It is given to those who send `TOKEN`, or to all.
    """
    waiting = list(failures)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if needs_token and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.send_error(401)
            elif waiting:
                self.send_error(waiting.pop(0))
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{address_of_machine()}:{server.server_port}/source"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def address_of_machine() -> str:
    """An address of this machine that its pods reach."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.254", 9))  # sends nothing: only asks which address would be used
        return str(probe.getsockname()[0])
