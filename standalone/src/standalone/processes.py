"""Find and end the processes that carry a platform's mark, whoever their parent is by now."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

import psutil

MARK = "WORKFLOW_HOME_ID"


def marked(mark: str, *, spare: Iterable[int] = ()) -> list[psutil.Process]:
    """Processes with this mark in their environment, without ourselves and those to spare."""
    spared = {os.getpid(), *spare}
    found = []
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end_marked(mark: str, *, spare: Iterable[int] = (), grace_seconds: float = 3.0) -> int:
    """Ask every marked process to end, then kill what is left. Returns how many there were.

    PostgreSQL's SIGTERM waits for its clients, so the server gets SIGINT, its fast shutdown.
    """
    victims = marked(mark, spare=spare)
    for process in victims:
        _signal(process, _polite_signal(process))
    _, alive = psutil.wait_procs(victims, timeout=grace_seconds)
    for process in {*alive, *marked(mark, spare=spare)}:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=grace_seconds)
    return len(victims)


def _polite_signal(process: psutil.Process) -> signal.Signals:
    try:
        return signal.SIGINT if process.name() == "postgres" else signal.SIGTERM
    except psutil.Error:
        return signal.SIGTERM


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return
