"""A small web app: says which app and release answers, and greets with the config variable GREETING."""

from __future__ import annotations

import os
import signal
import socketserver
import threading
from types import FrameType
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from bottle import Bottle, response

app = Bottle()


@app.get("/")
def index() -> str:
    response.content_type = "text/plain; charset=utf-8"
    name = os.environ.get("DRYCC_APP", "this app")
    release = os.environ.get("WORKFLOW_RELEASE", "no release")
    source = os.environ.get("SOURCE_VERSION", "")[:7] or "no source"
    return f"{os.environ.get('GREETING', 'Hello')} from {name} {release} ({source})\n"


@app.get("/healthz")
def healthz() -> str:
    response.content_type = "text/plain; charset=utf-8"
    return "ok\n"


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each request; closing the server waits for those that run."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128


class Handler(WSGIRequestHandler):
    """One line to the app's log for each request."""

    def address_string(self) -> str:
        return str(self.client_address[0])


def main() -> None:
    port = int(os.environ.get("PORT", "5000"))
    host = os.environ.get("HOST", "0.0.0.0")
    with make_server(host, port, app, server_class=Server, handler_class=Handler) as server:

        def stop(_number: int, _frame: FrameType | None) -> None:
            # shutdown() waits for the serving loop, which is what this handler interrupts.
            threading.Thread(target=server.shutdown).start()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        print(f"listening on {host}:{port}", flush=True)
        server.serve_forever(poll_interval=0.1)
    print("stopped", flush=True)


if __name__ == "__main__":
    main()
