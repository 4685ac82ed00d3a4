"""Nothing of a platform outlives it: the keeper ends what is left when the platform is killed."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator

import psutil
import pytest

from standalone.keeper import keeper_pids
from standalone.processes import MARK, end_marked, marked

# A stand-in for the platform: holds a keeper, starts a child that forks, leaves its session and ignores SIGTERM.
_PLATFORM = """
import os, subprocess, sys, time
from standalone.keeper import Keeper
mark = sys.argv[1]
stubborn = '''
import os, signal, time
if os.fork(): os._exit(0)
os.setsid()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(600)
'''
with Keeper(mark) as keeper:
    environment = os.environ | {"WORKFLOW_HOME_ID": mark}
    subprocess.Popen([sys.executable, "-c", stubborn], env=environment, stdout=subprocess.DEVNULL).wait()
    print("started", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def mark() -> Iterator[str]:
    value = uuid.uuid4().hex
    yield value
    end_marked(value, grace_seconds=0.2)


def _start(mark: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PLATFORM, mark], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def test_kill_9_of_the_platform_takes_everything_along(mark: str) -> None:
    platform = _start(mark)
    keepers = [psutil.Process(pid) for pid in keeper_pids(mark)]
    children = marked(mark)
    assert len(children) == 1
    assert len(keepers) == 1
    platform.kill()
    platform.communicate()
    _, alive = psutil.wait_procs([*children, *keepers], timeout=20)
    assert alive == []


def test_an_orderly_end_leaves_the_work_to_the_platform(mark: str) -> None:
    platform = _start(mark)
    platform.communicate("\n")
    assert platform.returncode == 0
    assert keeper_pids(mark) == []
    assert len(marked(mark)) == 1


def test_only_processes_with_the_mark_are_ended(mark: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        ours = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=os.environ | {MARK: mark})
        assert end_marked(mark) == 1
        ours.wait()
        assert other.poll() is None
        other.communicate(b"\n")
