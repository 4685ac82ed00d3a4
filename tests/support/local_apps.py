"""Small apps that behave and misbehave, for tests of the local engine. Each is one Python script."""

from __future__ import annotations

_SERVER = """
import asyncio, os, signal, sys

NAME = os.environ.get("NAME", "v1")
DELAY = float(os.environ.get("DELAY", "0"))

async def serve_one(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode()
            lengths = [line.split(":")[1] for line in head.lower().splitlines() if line.startswith("content-length:")]
            length = int(lengths[0]) if lengths else 0
            if length:
                await reader.readexactly(length)
            await asyncio.sleep(DELAY)
            path = head.split()[1]
            status = os.environ.get("HEALTH", "200 OK") if path == "/health" else "200 OK"
            body = (NAME + " " + os.environ["WORKFLOW_INSTANCE"] + "\\n").encode()
            writer.write(b"HTTP/1.1 %b\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (status.encode(), len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()

async def main(port):
    server = await asyncio.start_server(serve_one, HOST, port)
    print("listening", flush=True)
    await asyncio.Event().wait()
"""

GOOD = 'HOST = "127.0.0.1"\n' + _SERVER + '\nasyncio.run(main(int(os.environ["PORT"])))\n'

ON_IPV6 = 'HOST = "::1"\n' + _SERVER + '\nasyncio.run(main(int(os.environ["PORT"])))\n'

SLOW_START = "import time\ntime.sleep(0.7)\n" + GOOD

WRONG_PORT = 'HOST = "127.0.0.1"\n' + _SERVER + "\nasyncio.run(main(int(os.environ['WRONG'])))\n"

WORKER = """
import os, time
print("working as", os.environ.get("NAME", "v1"), flush=True)
while True:
    time.sleep(60)
"""

CRASH = """
import sys
print("about to fail")
print("Traceback: no such table", file=sys.stderr)
sys.exit(3)
"""

EXIT_ZERO = "print('nothing to do')\n"

IGNORES_SIGTERM = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ignoring", os.getpid(), flush=True)
while True:
    time.sleep(60)
"""

DOUBLE_FORK = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("daemon", os.getpid(), flush=True)
        while True:
            time.sleep(60)
    os._exit(0)
while True:
    time.sleep(60)
"""

FLOOD = """
import sys
line = "x" * 200 + "\\n"
while True:
    sys.stdout.write(line * 1000)
"""

MEMORY_HOG = """
import time
print("growing", flush=True)
held = []
while True:
    held.append(bytearray(8 * 1024 * 1024))
    time.sleep(0.002)
"""

TALKS = """
import sys, time
sys.stdout.write("a partial line")
sys.stdout.flush()
time.sleep(1.5)
sys.stdout.write(" that goes on\\r\\n")
print("y" * 1_000_000)
print("the end", flush=True)
time.sleep(600)
"""

SHOWS_ENVIRONMENT = """
import json, os, time
print(json.dumps(dict(os.environ)), flush=True)
print("cwd", os.getcwd(), flush=True)
print("stdin", repr(os.read(0, 10)), flush=True)
while True:
    time.sleep(60)
"""
