"""An app that does as it is told, for tests of whole deployments. `sample web` listens on $PORT, `sample worker`
(or any other word) does not. It needs nothing but the interpreter, and listens some 30 ms after its start.

Variables:
    START_DELAY      seconds before it listens
    LISTEN=no        it never does
    READY_STATUS     status of /ready (200)
    EXIT_CODE        ends with this code after EXIT_AFTER seconds, with EXIT_LINES lines (3) on stderr before; without
                     EXIT_AFTER before it listens
    EAT_MEMORY_MB    takes so much memory, a megabyte at a time
    IGNORE_TERM=yes  takes no notice of SIGTERM
    FILES            directory of /files (/data)

Paths:
    /                the release, the host name and the word that it was started with, separated by spaces
    /env/NAME        the value of a variable, 404 when it is not set
    /ready           READY_STATUS
    /burn?ms=N       uses a core for so long
    /slow?ms=N       answers after so long
    /say/TEXT        puts the text into the log
    /files/NAME      GET reads, PUT and POST write a file
    /exit/CODE       ends the process with that code, without an answer
"""

# pathlib takes longer to load than all the rest; what is printed is the log of the app.
# ruff: noqa: PTH118, PTH123, T201

import _thread
import os
import signal
import socket
import sys
import time

ENVIRON = os.environ
MOST_HEAD_BYTES = 65536
DRAIN_SECONDS = 10.0


def main() -> None:
    """Start as the environment says, then answer or idle until SIGTERM."""
    word = sys.argv[1] if len(sys.argv) > 1 else "web"
    if ENVIRON.get("IGNORE_TERM") == "yes":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: leave())
    print(f"{word} of {ENVIRON.get('WORKFLOW_RELEASE', 'nothing')} starts", flush=True)
    time.sleep(float(ENVIRON.get("START_DELAY") or 0))
    if ENVIRON.get("EXIT_CODE"):
        fall_later(int(ENVIRON["EXIT_CODE"]), float(ENVIRON.get("EXIT_AFTER") or 0))
    if ENVIRON.get("EAT_MEMORY_MB"):
        _thread.start_new_thread(eat, (int(ENVIRON["EAT_MEMORY_MB"]),))
    if word == "web" and ENVIRON.get("LISTEN") != "no":
        Server(word).run()
    while True:
        signal.pause()


def fall_later(code: int, seconds: float) -> None:
    """End with that code when it is time; at once, and so before it listens, without any."""
    if seconds:
        _thread.start_new_thread(fall, (code, seconds))
    else:
        fall(code, seconds)


def fall(code: int, seconds: float) -> None:
    """End with that code after so long."""
    time.sleep(seconds)
    for number in range(int(ENVIRON.get("EXIT_LINES") or 3)):
        print(f"line {number + 1} before the end", file=sys.stderr, flush=True)
    os._exit(code)


def eat(megabytes: int) -> None:
    """Take memory and keep it."""
    eaten = []
    for _ in range(megabytes):
        eaten.append(bytearray(os.urandom(1024)) * 1024)
    print(f"ate {megabytes} MB", flush=True)
    while True:
        time.sleep(1000.0)


UNANSWERED: set[int] = set()
"""The threads that have a request to answer."""


def leave() -> None:
    """End as soon as everything that was asked has been answered."""
    print("told to stop", flush=True)
    end = time.monotonic() + DRAIN_SECONDS
    while UNANSWERED and time.monotonic() < end:
        time.sleep(0.005)
    os._exit(0)


class Server:
    """HTTP/1.1 with connections that stay, a thread for each."""

    def __init__(self, word: str) -> None:
        self.hello = f"{ENVIRON.get('WORKFLOW_RELEASE', 'none')} {socket.gethostname()} {word}\n"

    def run(self) -> None:
        """Accept until the process ends."""
        listener = socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::" if listener.family == socket.AF_INET6 else "0.0.0.0", int(ENVIRON.get("PORT") or 5000)))
        listener.listen(1024)
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            _thread.start_new_thread(self.serve, (connection,))

    def serve(self, connection: socket.socket) -> None:
        """Answer what comes on one connection."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        try:
            while True:
                received = self.exchange(connection, received)
        except (OSError, EOFError, ValueError):
            connection.close()

    def exchange(self, connection: socket.socket, received: bytes) -> bytes:
        """Answer one request; gives what came after it."""
        while b"\r\n\r\n" not in received:
            received += more(connection)
            if len(received) > MOST_HEAD_BYTES:
                raise ValueError("the head does not end")
        UNANSWERED.add(_thread.get_ident())
        try:
            head, _, rest = received.partition(b"\r\n\r\n")
            line, _, fields = head.decode("latin-1").partition("\r\n")
            method, target, _ = line.split(" ", 2)
            rows = (row.partition(":") for row in fields.split("\r\n"))
            size = next((int(value) for name, _, value in rows if name.lower() == "content-length"), 0)
            while len(rest) < size:
                rest += more(connection)
            status, body = self.answer(method, target, rest[:size])
            answer = f"HTTP/1.1 {status} -\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            connection.sendall(answer + (b"" if method == "HEAD" else body))
            return rest[size:]
        finally:
            UNANSWERED.discard(_thread.get_ident())

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Status and body."""
        path, _, query = target.partition("?")
        kind, _, name = path[1:].partition("/")
        seconds = int(query.removeprefix("ms=") or 0) / 1000
        status, text = 200, self.hello
        if kind == "env":
            status, text = (200, ENVIRON[name]) if name in ENVIRON else (404, "not set\n")
        elif kind == "ready":
            status = int(ENVIRON.get("READY_STATUS") or 200)
        elif kind == "burn":
            burn(seconds)
        elif kind == "slow":
            time.sleep(seconds)
        elif kind == "say":
            print(name, flush=True)
        elif kind == "exit":
            os._exit(int(name))
        elif kind == "files":
            return files(method, name, body)
        elif kind:
            status, text = 404, "there is no such thing\n"
        return status, text.encode()


def burn(seconds: float) -> None:
    """Use a core."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(1000))


def files(method: str, name: str, body: bytes) -> tuple[int, bytes]:
    """Read or write a file below the mount path."""
    path = os.path.join(ENVIRON.get("FILES") or "/data", name)
    try:
        if method in ("PUT", "POST"):
            with open(path, "wb") as file:
                file.write(body)
            return 200, b"written\n"
        with open(path, "rb") as file:
            return 200, file.read()
    except OSError as error:
        return 404 if isinstance(error, FileNotFoundError) else 500, f"{error}\n".encode()


def more(connection: socket.socket) -> bytes:
    """The next bytes of a connection."""
    data = connection.recv(65536)
    if not data:
        raise EOFError
    return data


if __name__ == "__main__":
    main()
