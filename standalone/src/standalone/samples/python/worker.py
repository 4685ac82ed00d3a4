"""A background process: tells every ten seconds that it is there, and ends when it is asked to."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

INTERVAL_SECONDS = 10.0


def main() -> None:
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    beats = 0
    while True:
        beats += 1
        print(f"worker of {os.environ.get('WORKFLOW_RELEASE', 'no release')}: beat {beats}", flush=True)
        if stopping.wait(INTERVAL_SECONDS):
            break
    print("worker stopped", flush=True)


if __name__ == "__main__":
    main()
